//! What a run starts from: the genesis document, the identities of the members,
//! and the transactions that they sign.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consilium_kit::{Identity, MemberSpec, keys, people};
use consilium_proto::genesis::Genesis;
use consilium_proto::hash::sha256;
use consilium_proto::ids::{KeyId, NodeId};
use consilium_proto::pb::{self, action::Action};
use consilium_proto::signing::SigningKey;
use consilium_proto::transaction::encryption_key_id;

use crate::care::Deed;
use crate::swarm::Swarm;

/// Wall clock at the start of every run, in ms since 1970.
pub const START_MS: u64 = 1_800_000_000_000;
/// How long an emergency lasts: the shortest that may be set.
pub const EMERGENCY_MS: u64 = 60_000;
/// How far a block's time may be ahead of a validator's clock.
pub const SKEW_MS: u64 = 1_000;

/// The first members, which have patients and custodians.
pub const HOSPITALS: u64 = 2;
/// Names of patients' identities are opaque.
pub const ANNA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// The same person by the second hospital.
pub const ANEW: &str = "cccccccccccccccccccccccccccccccc";
/// Who may execute the patient's will.
pub const EXECUTOR: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Services of a hospital of which one is its custodian, at first the first.
pub const CUSTODIANS: [&str; 2] = ["custodian", "keeper"];
/// Member, role and name of those beside administrators and records systems.
const PEOPLE: [(u64, &str, &str); 14] = [
    (1, "service", CUSTODIANS[0]),
    (2, "service", CUSTODIANS[0]),
    (1, "service", CUSTODIANS[1]),
    (2, "service", CUSTODIANS[1]),
    (1, "clinician", "c"),
    (2, "clinician", "c"),
    (3, "clinician", "c"),
    (1, "patient", ANNA),
    (2, "patient", ANEW),
    (1, "patient", EXECUTOR),
    (1, "auditor", "p"),
    (2, "auditor", "p"),
    (1, "auditor", "q"),
    (2, "auditor", "q"),
];

/// Whether those of a role have a key for which others wrap.
fn is_keyed(role: &str) -> bool {
    role != "auditor"
}

/// The network as founded, and its people.
pub struct Fixture {
    /// The genesis document.
    pub genesis: Genesis,
    /// An administrator for each member, in order of members.
    admins: Vec<Identity>,
    /// A records system for each member.
    services: Vec<Identity>,
    /// Everybody, by SPIFFE id.
    people: BTreeMap<String, Identity>,
    nonce: u64,
}

/// The id of a member.
#[must_use]
pub fn member_id(number: u64) -> String {
    format!("m{number}.example")
}

/// Somebody's name.
#[must_use]
pub fn spiffe_id(member: u64, role: &str, name: &str) -> String {
    format!("spiffe://{}/{role}/{name}", member_id(member))
}

impl Fixture {
    /// The network that a swarm asks for.
    #[must_use]
    pub fn new(swarm: &Swarm) -> Self {
        let ids: Vec<String> = (1..=swarm.members).map(member_id).collect();
        let of_role = |role| -> Vec<_> { ids.iter().map(|member| Identity::new(member, role, "x")).collect() };
        let named = |role| (1..).map(move |member| spiffe_id(member, role, "x"));
        let (admins, services) = (of_role("admin"), of_role("service"));
        let others = PEOPLE
            .map(|(member, role, name)| (spiffe_id(member, role, name), Identity::new(&member_id(member), role, name)));
        let people = named("admin").zip(admins.clone()).chain(named("service").zip(services.clone())).chain(others);
        let people = people.collect();
        let nodes = std::iter::once(swarm.first_nodes as usize).chain(std::iter::repeat(1));
        let members = ids.iter().zip(&swarm.stakes).zip(nodes);
        let members: Vec<MemberSpec<'_>> = members.map(|((id, stake), nodes)| (id.as_str(), *stake, nodes)).collect();
        Self {
            genesis: consilium_kit::genesis("sim", START_MS - 1_000, parameters(swarm), &members),
            admins,
            services,
            people,
            nonce: 0,
        }
    }

    fn body(&mut self, valid_until_ms: u64, action: Action) -> pb::TransactionBody {
        self.nonce += 1;
        people::body(self.genesis.ledger_id.to_bytes(), self.nonce, valid_until_ms, vec![action])
    }

    /// A transaction of an administrator.
    pub fn by_admin(&mut self, member: usize, valid_until_ms: u64, action: Action) -> pb::SignedTransaction {
        let body = self.body(valid_until_ms, action);
        self.admins[member].sign(body, Vec::new())
    }

    /// The enrolments of a member's people. Who treats, who keeps keys and who is treated has a key.
    pub fn enrollments(&mut self, member: usize, valid_until_ms: u64) -> Vec<pb::SignedTransaction> {
        let own = PEOPLE.iter().filter(|(of, _, _)| *of == member as u64 + 1);
        let named: Vec<_> = own.map(|(of, role, name)| (spiffe_id(*of, role, name), *role)).collect();
        let others = named.iter().filter_map(|(id, role)| {
            let key = || is_keyed(role).then(|| keys::x25519(id).encode().into());
            self.people.get(id).map(|who| (who.clone(), key()))
        });
        let first = [self.admins[member].clone(), self.services[member].clone()].map(|who| (who, None));
        let all: Vec<_> = first.into_iter().chain(others).collect();
        let enroll = |(who, key): (Identity, Option<Bytes>)| {
            let enrollment = match who.enrollment(self.genesis.ledger_id) {
                Action::EnrollIdentity(enroll) => {
                    Action::EnrollIdentity(pb::EnrollIdentity { encryption_key: key.unwrap_or_default(), ..enroll })
                }
                other => other,
            };
            let body = self.body(valid_until_ms, enrollment);
            who.sign_enrollment(body)
        };
        all.into_iter().map(enroll).collect()
    }

    /// The key for which keys are wrapped, of somebody who has one.
    #[must_use]
    pub fn key_id(spiffe_id: &str) -> KeyId {
        encryption_key_id(&keys::x25519(spiffe_id))
    }

    /// Whose key that is; `None`: nobody's.
    #[must_use]
    pub fn holder(key: &KeyId) -> Option<String> {
        let keyed = PEOPLE.iter().filter(|(_, role, _)| is_keyed(role));
        let mut names = keyed.map(|(member, role, name)| spiffe_id(*member, role, name));
        names.find(|name| Self::key_id(name) == *key)
    }

    /// What somebody signs.
    ///
    /// # Panics
    /// If there is nobody of that name.
    pub fn by(&mut self, valid_until_ms: u64, deed: Deed) -> pb::SignedTransaction {
        let Deed { by, actions, attachments } = deed;
        self.nonce += 1;
        let body = people::body(self.genesis.ledger_id.to_bytes(), self.nonce, valid_until_ms, actions);
        self.people[&by].sign(body, attachments)
    }

    /// A new record of a member, of a patient of its own.
    pub fn record(&mut self, member: usize, number: u64, valid_until_ms: u64) -> pb::SignedTransaction {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let (action, attachments) = self.written(member as u64 + 1, (&id, &id), number);
        let body = self.body(valid_until_ms, action);
        self.services[member].sign(body, attachments)
    }

    /// How a record is written, with its contents. Where there are custodians it is wrapped for
    /// the member's.
    ///
    /// # Panics
    /// If the ids are not of 16 bytes.
    #[must_use]
    pub fn written(&self, member: u64, (id, patient): (&[u8], &[u8]), number: u64) -> (Action, Vec<Bytes>) {
        let payload = Bytes::from(format!("payload {number}"));
        let id = id.try_into().expect("ids of records have 16 bytes");
        let (action, descriptor) = people::write_tagged_record(id, number, &payload);
        let mut contents = vec![payload, descriptor];
        let Action::WriteRecord(write) = action else { return (action, contents) };
        let mut write = pb::WriteRecord { patient: Bytes::copy_from_slice(patient), ..write };
        if member <= HOSPITALS {
            let wrap = Bytes::from(format!("wrap of {number}"));
            let recipient_key_id = Self::key_id(&spiffe_id(member, "service", "custodian")).to_bytes();
            let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[&wrap]));
            write.wraps.push(pb::KeyWrapRef { recipient_key_id, wrap_sha256 });
            contents.push(wrap);
        }
        (Action::WriteRecord(write), contents)
    }

    /// The key that a node votes with: a founder's by its raft id, which others are
    /// only given when they join.
    #[must_use]
    pub fn vote_key(&self, member: &str, name: &str) -> Arc<SigningKey> {
        let founder = self.nodes().into_iter().find(|(_, m, n)| m == member && n == name);
        founder.map_or_else(|| keys::es256(&format!("vote {member}/{name}")), |(id, _, _)| keys::vote(id.0))
    }

    /// The description of a node that is to join.
    #[must_use]
    pub fn describe(&self, member: &str, name: &str) -> pb::NodeDescription {
        pb::NodeDescription {
            name: name.into(),
            peer_address: "h:1".into(),
            client_address: "h:2".into(),
            vote_key: Bytes::copy_from_slice(self.vote_key(member, name).verifying_key().raw()),
        }
    }

    /// Founding nodes with their members and names, ascending by raft id.
    #[must_use]
    pub fn nodes(&self) -> Vec<(NodeId, String, String)> {
        let node = |(m, n): (&consilium_proto::genesis::Member, &consilium_proto::genesis::Node)| {
            (n.raft_id, m.id.as_str().to_owned(), n.name.to_string())
        };
        self.genesis.nodes().map(node).collect()
    }
}

fn parameters(swarm: &Swarm) -> pb::Parameters {
    pb::Parameters {
        clock_skew_max_ms: SKEW_MS,
        epoch_ms: swarm.epoch_ms,
        epoch_blocks: swarm.epoch_blocks,
        max_validators: swarm.max_validators as u32,
        unbonding_epochs: 2,
        miss_window_blocks: 4,
        // 100 never jails: what a fault takes out is counted on to come back.
        jail_missed_percent: if swarm.may_jail() { 80 } else { 100 },
        rotation_blocks: swarm.rotation_blocks,
        nodes_per_member_max: 4,
        block_transactions_max: 20,
        emergency_ms: EMERGENCY_MS,
        ..consilium_proto::parameters::recommended_parameters()
    }
}
