//! What a run starts from: the genesis document, the identities of the members,
//! and the transactions that they sign.

use std::sync::Arc;

use bytes::Bytes;
use consilium_kit::{Identity, MemberSpec, keys, people};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, action::Action};
use consilium_proto::signing::SigningKey;

use crate::swarm::Swarm;

/// Wall clock at the start of every run, in ms since 1970.
pub const START_MS: u64 = 1_800_000_000_000;
/// How far a block's time may be ahead of a validator's clock.
pub const SKEW_MS: u64 = 1_000;

/// The network as founded, and its people.
pub struct Fixture {
    /// The genesis document.
    pub genesis: Genesis,
    /// An administrator for each member, in order of members.
    admins: Vec<Identity>,
    /// A records system for each member.
    services: Vec<Identity>,
    nonce: u64,
}

/// The id of a member.
#[must_use]
pub fn member_id(number: u64) -> String {
    format!("m{number}.example")
}

impl Fixture {
    /// The network that a swarm asks for.
    #[must_use]
    pub fn new(swarm: &Swarm) -> Self {
        let ids: Vec<String> = (1..=swarm.members).map(member_id).collect();
        let people = |role| ids.iter().map(|member| Identity::new(member, role, "x")).collect();
        let nodes = std::iter::once(swarm.first_nodes as usize).chain(std::iter::repeat(1));
        let members = ids.iter().zip(&swarm.stakes).zip(nodes);
        let members: Vec<MemberSpec<'_>> = members.map(|((id, stake), nodes)| (id.as_str(), *stake, nodes)).collect();
        Self {
            genesis: consilium_kit::genesis("sim", START_MS - 1_000, parameters(swarm), &members),
            admins: people("admin"),
            services: people("service"),
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

    /// The enrolments of a member's people.
    pub fn enrollments(&mut self, member: usize, valid_until_ms: u64) -> [pb::SignedTransaction; 2] {
        [self.admins[member].clone(), self.services[member].clone()].map(|who| {
            let enrollment = who.enrollment(self.genesis.ledger_id);
            let body = self.body(valid_until_ms, enrollment);
            who.sign_enrollment(body)
        })
    }

    /// A new record of a member.
    pub fn record(&mut self, member: usize, number: u64, valid_until_ms: u64) -> pb::SignedTransaction {
        let payload = Bytes::from(format!("payload {number}"));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let (action, descriptor) = people::write_tagged_record(id, number, &payload);
        let body = self.body(valid_until_ms, action);
        self.services[member].sign(body, vec![payload, descriptor])
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
        ..consilium_proto::parameters::recommended_parameters()
    }
}
