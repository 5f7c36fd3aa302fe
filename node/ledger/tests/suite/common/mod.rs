//! A network of members, nodes and administrators over the rules alone: blocks
//! in, rows and headers out, and checked after every block: the header's chain,
//! the state root against all rows, and a replica that executes the same.
#![allow(unreachable_pub)]

pub mod topics;

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{
    BlockInput, CheckedTransaction, Event, Executed, IdentityRules, RevocationList, StateReader, StoreFault, Table,
    Tip, VerifiedIdentity, execute, genesis_block, keys,
};
use consilium_proto::genesis::Genesis;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, Fingerprint, NodeId, TimeMs};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::observed::Observed;
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::signing::{SignatureAlgorithm, SigningKey, VerifyingKey};
use consilium_proto::state_tree::{KeyHash, ValueHash, root_of_sorted};
use consilium_proto::transaction::{self, Transaction};
use consilium_proto::vote::{BlockCertificate, Vote};
use prost::Message;

pub use pb::action::Action;

/// Time of the genesis; each block is a second later.
pub const START: u64 = 1_800_000_000_000;

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Store(pub BTreeMap<(Table, Vec<u8>), Bytes>);

impl Store {
    pub fn write(&mut self, executed: &Executed) {
        for row in &executed.rows {
            match &row.value {
                Some(value) => drop(self.0.insert((row.table, row.key.clone()), value.clone())),
                None => drop(self.0.remove(&(row.table, row.key.clone()))),
            }
        }
    }

    pub fn message<M: Message + Default>(&self, table: Table, key: &[u8]) -> Option<M> {
        self.0.get(&(table, key.to_vec())).map(|v| M::decode(v.clone()).unwrap())
    }

    pub fn state_root(&self) -> Hash {
        let rows = self.0.iter().filter(|((table, _), _)| *table == Table::State);
        let pairs: BTreeMap<_, _> = rows.map(|((_, key), value)| (KeyHash::of(key), ValueHash::of(value))).collect();
        root_of_sorted(pairs).unwrap()
    }
}

impl TrieStore for Store {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.get(Table::Trie, &path.to_bytes())
    }
}

impl StateReader for Store {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }
}

/// Certificates of these tests are `member/role/name/` and the public point.
pub struct Rules;

impl IdentityRules for Rules {
    fn claimed_member(&self, chain: &[Bytes]) -> Option<MemberId> {
        let text = String::from_utf8_lossy(&chain[0]).into_owned();
        text.split('/').next()?.parse().ok()
    }

    fn verify(&self, chain: &[Bytes], _: &[Bytes], crls: &[Bytes], _: u64) -> Option<VerifiedIdentity> {
        let (name, point) = chain[0].split_at(chain[0].len() - 65);
        let parts: Vec<_> = std::str::from_utf8(name).ok()?.split('/').collect();
        let serial = sha256(&[&chain[0]])[..8].to_vec();
        let revoked = crls.iter().any(|crl| crl[1..].chunks(8).any(|s| s == serial));
        let spiffe_id = SpiffeId::new(parts[0].parse().ok()?, parts[1].parse().ok()?, parts[2]).ok()?;
        (!revoked).then(|| VerifiedIdentity {
            spiffe_id,
            key: VerifyingKey::from_raw(SignatureAlgorithm::Es256, point).ok(),
            serial,
            not_before_s: 0,
            not_after_s: START / 1_000 + 86_400,
            issuer_key_id: vec![7],
        })
    }

    /// The name of a CA starts with "ca".
    fn check_bundle(&self, _: &MemberId, bundle: &[Bytes]) -> bool {
        bundle.iter().all(|ca| ca.starts_with(b"ca"))
    }

    /// A list is its number and the serials; its issuer is the CA "ca".
    fn verify_revocations(&self, crl: &[u8], bundle: &[Bytes]) -> Option<RevocationList> {
        let serials = crl[1..].chunks(8).map(<[u8]>::to_vec).collect();
        let list = RevocationList { issuer_key_id: vec![7], number: vec![crl[0]], serials };
        bundle.iter().any(|ca| ca.as_ref() == b"ca").then_some(list)
    }
}

pub struct Identity {
    pub certificate: Bytes,
    pub certificate_key: SigningKey,
    pub key: SigningKey,
}

impl Identity {
    pub fn new(member: &str, role: &str, name: &str) -> Self {
        let certificate_key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap();
        let mut certificate = format!("{member}/{role}/{name}/").into_bytes();
        certificate.extend_from_slice(certificate_key.verifying_key().raw());
        let key = SigningKey::generate(SignatureAlgorithm::Ed25519).unwrap();
        Self { certificate: certificate.into(), certificate_key, key }
    }

    pub fn author(&self) -> Fingerprint {
        transaction::signing_key_fingerprint(&self.key.verifying_key())
    }

    pub fn serial(&self) -> Vec<u8> {
        sha256(&[&self.certificate])[..8].to_vec()
    }
}

pub struct Ledger {
    pub genesis: Genesis,
    pub store: Store,
    pub tip: Tip,
    /// By raft id: the keys that sign votes.
    pub vote_keys: BTreeMap<u64, SigningKey>,
    /// By member: its administrator, enrolled in block 1.
    pub admins: BTreeMap<String, Identity>,
    /// All headers, from genesis.
    pub headers: Vec<Header>,
    replica: (Store, Tip),
    nonce: u64,
}

/// A member of a genesis: id, stake, number of nodes.
pub type MemberSpec<'a> = (&'a str, u64, usize);

fn genesis(members: &[MemberSpec<'_>], parameters: pb::Parameters, keys: &mut BTreeMap<u64, SigningKey>) -> Genesis {
    let mut node = |name: usize| {
        let raft_id = keys.len() as u64 + 1;
        let key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap();
        let vote_key = key.verifying_key().raw().to_vec().into();
        keys.insert(raft_id, key);
        pb::GenesisNode {
            name: format!("n{name}"),
            raft_id,
            peer_address: "h:1".into(),
            client_address: "h:2".into(),
            vote_key,
        }
    };
    let member = |(id, stake, nodes): &MemberSpec<'_>| pb::GenesisMember {
        id: (*id).into(),
        display_name: (*id).into(),
        ca_bundle: vec![Bytes::from_static(b"ca")],
        stake: *stake,
        nodes: (1..=*nodes).map(&mut node).collect(),
    };
    let body = pb::Genesis {
        format_version: 1,
        network: "test".into(),
        time_ms: START,
        parameters: Some(parameters),
        members: members.iter().map(member).collect(),
    };
    let document = pb::GenesisDocument { body: body.encode_to_vec().into(), endorsements: Vec::new() };
    Genesis::parse(&document.encode_to_vec()).unwrap()
}

impl Ledger {
    /// A network whose administrators are enrolled by block 1. Raft ids count
    /// from 1 in the order of the members.
    pub fn new(members: &[MemberSpec<'_>], change: impl FnOnce(&mut pb::Parameters)) -> Self {
        let mut parameters = recommended_parameters();
        change(&mut parameters);
        let mut vote_keys = BTreeMap::new();
        let genesis = genesis(members, parameters, &mut vote_keys);
        let mut store = Store::default();
        let executed = genesis_block(&store, &genesis).unwrap();
        store.write(&executed);
        let admin = |(id, _, _): &MemberSpec<'_>| ((*id).to_owned(), Identity::new(id, "admin", "root"));
        let mut ledger = Self {
            genesis,
            replica: (store.clone(), executed.tip.clone()),
            store,
            headers: vec![executed.tip.header.clone()],
            tip: executed.tip,
            vote_keys,
            admins: members.iter().map(admin).collect(),
            nonce: 0,
        };
        let admins = std::mem::take(&mut ledger.admins);
        let enrollments: Vec<_> = admins.values().map(|admin| ledger.enrollment(admin)).collect();
        ledger.admins = admins;
        let outcomes = ledger.block(&enrollments, &Observed::default());
        assert!(outcomes.leaves.iter().all(|(_, leaf)| leaf.outcome == Outcome::Applied));
        ledger
    }

    fn now(&self) -> u64 {
        self.tip.header.time.0 + 1_000
    }

    pub fn body(&mut self, actions: Vec<Action>) -> pb::TransactionBody {
        self.nonce += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
        pb::TransactionBody {
            ledger_id: self.genesis.ledger_id.to_bytes(),
            nonce: Bytes::copy_from_slice(&nonce),
            valid_until_ms: self.now() + 3_600_000,
            actions: actions.into_iter().map(|action| pb::Action { action: Some(action) }).collect(),
        }
    }

    pub fn check(&self, signed: &pb::SignedTransaction) -> CheckedTransaction {
        let transaction = Transaction::parse(signed, self.genesis.ledger_id).unwrap();
        CheckedTransaction { transaction, verified_under: None }
    }

    pub fn sign(&mut self, by: &Identity, actions: Vec<Action>) -> CheckedTransaction {
        let body = self.body(actions);
        self.check(&transaction::sign(&body, by.author(), &by.key, Vec::new()).unwrap())
    }

    /// A transaction by the administrator of a member.
    pub fn by_admin(&mut self, member: &str, actions: Vec<Action>) -> CheckedTransaction {
        let body = self.body(actions);
        let admin = &self.admins[member];
        self.check(&transaction::sign(&body, admin.author(), &admin.key, Vec::new()).unwrap())
    }

    pub fn enrollment(&mut self, who: &Identity) -> CheckedTransaction {
        let fingerprint = Fingerprint::from_bytes(sha256(&[&who.certificate]));
        let proof = who.key.sign(&transaction::enrollment_proof_input(&fingerprint)).unwrap();
        let body = self.body(vec![Action::EnrollIdentity(pb::EnrollIdentity {
            certificate_chain: vec![who.certificate.clone()],
            signing_key: who.key.verifying_key().to_bytes().into(),
            encryption_key: Bytes::new(),
            signing_key_proof: Bytes::copy_from_slice(&proof),
        })]);
        self.check(&transaction::sign(&body, fingerprint, &who.certificate_key, Vec::new()).unwrap())
    }

    /// Executes a block a second after the one before.
    pub fn block(&mut self, transactions: &[CheckedTransaction], observed: &Observed) -> Executed {
        self.block_at(self.now(), transactions, observed)
    }

    pub fn block_at(&mut self, time: u64, transactions: &[CheckedTransaction], observed: &Observed) -> Executed {
        let input = BlockInput { time: TimeMs(time), proposer: NodeId(1), transactions, observed };
        let executed = execute(&self.store, &Rules, &self.tip, &input).unwrap();
        let second = execute(&self.replica.0, &Rules, &self.replica.1, &input).unwrap();
        assert_eq!((&second.rows, &second.events), (&executed.rows, &executed.events));
        self.replica.0.write(&second);
        self.replica.1 = second.tip;
        self.store.write(&executed);
        self.check_header(&executed);
        check_events(&executed);
        self.tip = executed.tip.clone();
        self.headers.push(self.tip.header.clone());
        executed
    }

    /// The header follows from its parent and the rows.
    fn check_header(&self, executed: &Executed) {
        let (parent, header) = (&self.tip.header, &executed.tip.header);
        assert_eq!(header.validators_hash, parent.next_validators_hash);
        assert_eq!(header.state_root, self.store.state_root());
        let set = executed.events.next_set().map_or(header.validators_hash, |set| set.hash());
        assert_eq!(header.next_validators_hash, set);
        let follows: Option<pb::EpochState> = self.store.message(Table::State, &keys::epoch(Epoch(header.epoch.0 + 1)));
        assert_eq!(follows.is_some(), executed.events.next_set().is_some());
        assert!(header.epoch == parent.epoch || header.epoch.0 == parent.epoch.0 + 1);
    }

    /// What a leader sees when these nodes voted for the newest block.
    pub fn seen(&self, nodes: &[u64]) -> Observed {
        self.seen_at(&self.tip.header, nodes)
    }

    pub fn seen_at(&self, header: &Header, nodes: &[u64]) -> Observed {
        let signatures = nodes.iter().map(|id| (NodeId(*id), self.vote(*id, header).signature)).collect();
        let certificate = BlockCertificate::new(header.height, header.hash(), signatures);
        Observed { certificate: (!nodes.is_empty()).then_some(certificate), ..Observed::default() }
    }

    pub fn vote(&self, node: u64, header: &Header) -> Vote {
        Vote::sign(NodeId(node), header, &self.vote_keys[&node]).unwrap()
    }

    /// Runs so many empty blocks, for which these nodes vote.
    pub fn run(&mut self, blocks: usize, voters: &[u64]) {
        for _ in 0..blocks {
            let observed = self.seen(voters);
            self.block(&[], &observed);
        }
    }

    /// Runs empty blocks, for which these nodes vote, to the end of the epoch;
    /// gives the state of the next.
    pub fn end_epoch(&mut self, voters: &[u64]) -> pb::EpochState {
        for _ in 0..1_000 {
            let observed = self.seen(voters);
            if self.block(&[], &observed).events.next_set().is_some() {
                return self.epoch(self.tip.header.epoch.0 + 1);
            }
        }
        panic!("no epoch ends within 1,000 blocks");
    }

    /// One block with one transaction by a member's administrator.
    pub fn submit(&mut self, member: &str, action: Action) -> Outcome {
        let transaction = self.by_admin(member, vec![action]);
        self.block(&[transaction], &Observed::default()).leaves[0].1.outcome
    }

    pub fn epoch(&self, epoch: u64) -> pb::EpochState {
        self.store.message(Table::State, &keys::epoch(Epoch(epoch))).unwrap()
    }

    pub fn stake(&self, member: &str) -> pb::StakeState {
        self.store.message(Table::State, &keys::stake(member)).unwrap_or_default()
    }

    pub fn member(&self, member: &str) -> pb::MemberState {
        self.store.message(Table::State, &keys::member(member)).unwrap()
    }

    pub fn standing(&self, node: u64) -> pb::ValidatorStandingState {
        self.store.message(Table::State, &keys::standing(NodeId(node))).unwrap_or_default()
    }

    pub fn participation(&self) -> pb::ParticipationState {
        self.store.message(Table::State, &keys::participation()).unwrap()
    }

    /// Delegations of a member, as (node, amount).
    pub fn delegations(&self, member: &str) -> Vec<(u64, u64)> {
        self.stake(member).delegations.iter().map(|d| (d.node, d.amount)).collect()
    }
}

/// The events tell of every row that others go by, and of nothing else.
fn check_events(executed: &Executed) {
    let written = |prefix: Vec<u8>| {
        let rows = executed.rows.iter().filter(move |row| row.table == Table::State && row.key.starts_with(&prefix));
        rows.map(|row| (row.key.clone(), row.value.clone().unwrap())).collect::<BTreeMap<_, _>>()
    };
    let events = &executed.events;
    let members = events.changed_members().map(|m| (keys::member(&m.id), m.encode_to_vec().into()));
    assert_eq!(members.collect::<BTreeMap<_, _>>(), written(keys::members()));
    let nodes = [keys::nodes(), keys::standings()].into_iter().any(|prefix| !written(prefix).is_empty());
    assert_eq!(events.iter().any(|event| *event == Event::NodesChanged), nodes);
    let parameters = !written(keys::parameters()).is_empty();
    assert_eq!(events.iter().any(|event| *event == Event::ParametersChanged), parameters);
    assert!(events.unseen().is_some() || written(keys::participation()).is_empty());
}

/// Seats of an epoch, ascending by raft id.
pub fn seats(epoch: &pb::EpochState) -> Vec<u64> {
    epoch.validators.as_ref().unwrap().seats.iter().map(|s| s.validator).collect()
}

/// Powers of an epoch, ascending by raft id.
pub fn powers(epoch: &pb::EpochState) -> Vec<(u64, u64)> {
    epoch.validators.as_ref().unwrap().seats.iter().map(|s| (s.validator, s.power)).collect()
}

/// Why a candidate has no seat.
pub fn reason(epoch: &pb::EpochState, node: u64) -> pb::NotSeatedReason {
    epoch.candidates.iter().find(|c| c.node == node).unwrap().reason()
}

pub fn delegate(node: u64, amount: u64) -> Action {
    Action::Delegate(pb::Delegate { node, amount })
}

pub fn redelegate(from: u64, to: u64, amount: u64) -> Action {
    Action::Redelegate(pb::Redelegate { from, to, amount })
}

pub fn undelegate(node: u64, amount: u64) -> Action {
    Action::Undelegate(pb::Undelegate { node, amount })
}

pub fn release(node: u64) -> Action {
    Action::ReleaseValidator(pb::ReleaseValidator { node })
}

/// Opens a proposal that ten minutes are left for.
pub fn propose(ledger: &Ledger, topic: pb::proposal_topic::Topic) -> Action {
    Action::Propose(pb::Propose {
        expires_ms: ledger.tip.header.time.0 + 600_000,
        reason: "test".into(),
        topic: Some(pb::ProposalTopic { topic: Some(topic) }),
    })
}

pub fn approve(proposal: u64) -> Action {
    Action::CastBallot(pb::CastBallot { proposal, choice: pb::BallotChoice::Approve as i32 })
}
