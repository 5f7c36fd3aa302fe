//! Clients and administrators: what they submit, to whom, and what they were
//! told. Most retry the same transaction at other nodes until they are answered; some
//! stay with one node, so that what it loses is seen to be lost.

use std::collections::{BTreeMap, VecDeque};

use consilium_kit::Rng;
use consilium_proto::ids::{NodeId, TransactionId};
use consilium_proto::pb::{self, action::Action};
use consilium_proto::transaction::Transaction;
use consilium_replica::topology::Topology;

use crate::care::{Care, Scene};
use crate::disk::LedgerStore;
use crate::env::Env;
use crate::fixture::{HOSPITALS, START_MS, member_id};
use crate::swarm::Fault;

/// Longest validity.
const VALID_MS: u64 = 120_000;
/// Of a thousand transactions that are no administrator's, those that are about patients.
const CARE_PER_MILLE: u64 = 750;
/// What is about patients is valid for longer, so that it can be asked for after its time.
const CARE_VALID_MS: u64 = 180_000;
/// Requests for access that may be made once more.
const ASKED_MAX: usize = 8;

/// The clients.
pub struct Client {
    rng: Rng,
    /// Submitted and not answered.
    pub open: BTreeMap<TransactionId, Transaction>,
    records: u64,
    nodes_named: u64,
    care: Care,
    /// The newest requests for access.
    asked: VecDeque<Transaction>,
    /// The transaction that shows progress in the calm phase.
    pub probe: Option<TransactionId>,
    /// It was certified.
    pub probed: bool,
}

impl Client {
    /// Nobody has submitted anything.
    #[must_use]
    pub fn new(rng: Rng, care: Care) -> Self {
        let (open, asked) = (BTreeMap::new(), VecDeque::new());
        Self { rng, open, records: 0, nodes_named: 0, care, asked, probe: None, probed: false }
    }

    /// Takes a signed transaction into the books; gives its id.
    pub fn take(&mut self, env: &Env, signed: &pb::SignedTransaction) -> TransactionId {
        let parsed = Transaction::parse(signed, env.fixture.genesis.ledger_id);
        let transaction = parsed.expect("the fixture signs well-formed transactions");
        let id = transaction.id;
        if transaction.access_request().is_some() {
            self.asked.push_front(transaction.clone());
            self.asked.truncate(ASKED_MAX);
        }
        self.open.insert(id, transaction);
        id
    }

    /// The enrolments with which every run begins.
    pub fn enrollments(&mut self, env: &mut Env) -> Vec<TransactionId> {
        let until = START_MS + 4 * VALID_MS;
        let mut ids = Vec::new();
        for member in 0..env.swarm.members as usize {
            for signed in env.fixture.enrollments(member, until) {
                ids.push(self.take(env, &signed));
            }
        }
        ids
    }

    /// A request for access whose answer may have been lost, to be made again.
    pub fn asked_before(&mut self) -> Option<Transaction> {
        let at = self.rng.below(self.asked.len() as u64) as usize;
        self.asked.get(at).cloned()
    }

    /// Something new of a random kind; `topology` and `ledger` are the network as it is.
    pub fn next(&mut self, env: &mut Env, topology: &Topology, ledger: &LedgerStore) -> TransactionId {
        let member = self.rng.below(env.swarm.members) as usize;
        let until = self.valid_until(env);
        let stake = env.swarm.has(Fault::Stake) && self.rng.chance(250);
        let nodes = env.swarm.has(Fault::Nodes) && self.rng.chance(60);
        let right = self.rng.chance(30);
        let action = if stake {
            env.stats.fault(Fault::Stake);
            self.stake_action(env, topology)
        } else if nodes {
            self.node_action(env, member, topology)
        } else if right {
            Some(ballot())
        } else {
            None
        };
        let signed = match action {
            Some(action) => env.fixture.by_admin(member, until, action),
            None if self.rng.chance(CARE_PER_MILLE) => {
                let deed = self.care.next(&Scene { fixture: &env.fixture, ledger, now_ms: env.true_ms() });
                env.fixture.by(until + CARE_VALID_MS, deed)
            }
            None => {
                self.records += 1;
                env.fixture.record(member, self.records, until)
            }
        };
        self.take(env, &signed)
    }

    /// A record that must be certified soon.
    pub fn probe(&mut self, env: &mut Env) -> TransactionId {
        self.records += 1;
        let until = env.true_ms() + 2 * VALID_MS;
        // Of a member that is not suspended, and has not left.
        let member = if env.swarm.has(Fault::Removal) { HOSPITALS as usize } else { 0 };
        let signed = env.fixture.record(member, self.records, until);
        let id = self.take(env, &signed);
        self.probe = Some(id);
        id
    }

    /// Something by which a member protects itself, that a client hands to one node.
    pub fn right(&mut self, env: &mut Env) -> Transaction {
        let until = env.true_ms() + VALID_MS;
        let signed = env.fixture.by_admin(0, until, ballot());
        Transaction::parse(&signed, env.fixture.genesis.ledger_id).expect("the fixture signs well-formed transactions")
    }

    /// An administrator's action of another kind.
    pub fn by_admin(&mut self, env: &mut Env, member: usize, action: Action) -> TransactionId {
        let until = env.true_ms() + VALID_MS;
        let signed = env.fixture.by_admin(member, until, action);
        self.take(env, &signed)
    }

    /// Some transactions are valid for so short that they come too late.
    fn valid_until(&mut self, env: &Env) -> u64 {
        let short = self.rng.chance(50);
        env.true_ms() + if short { self.rng.range(50, 2_000) } else { VALID_MS }
    }

    /// A client was answered.
    pub fn answered(&mut self, id: &TransactionId) {
        self.open.remove(id);
        self.probed |= self.probe == Some(*id);
    }

    fn stake_action(&mut self, _: &mut Env, topology: &Topology) -> Option<Action> {
        let nodes: Vec<NodeId> = topology.nodes().map(|node| node.id).collect();
        let (one, other) = (*self.rng.pick(&nodes)?, *self.rng.pick(&nodes)?);
        let amount = self.rng.range(1, 60);
        Some(match self.rng.below(4) {
            0 => Action::Delegate(pb::Delegate { node: one.0, amount }),
            1 => Action::Undelegate(pb::Undelegate { node: one.0, amount: amount / 4 + 1 }),
            2 => Action::ReleaseValidator(pb::ReleaseValidator { node: one.0 }),
            _ if one == other => Action::Delegate(pb::Delegate { node: one.0, amount }),
            _ => Action::Redelegate(pb::Redelegate { from: one.0, to: other.0, amount }),
        })
    }

    fn node_action(&mut self, env: &mut Env, member: usize, topology: &Topology) -> Option<Action> {
        let owner = member_id(member as u64 + 1);
        let own: Vec<NodeId> =
            topology.nodes().filter(|n| n.spiffe_id.member().as_str() == owner).map(|n| n.id).collect();
        if own.len() > 1 && self.rng.chance(400) {
            env.stats.fault(Fault::Nodes);
            let raft_id = self.rng.pick(&own)?.0;
            return Some(Action::RetireNode(pb::RetireNode { raft_id }));
        }
        if topology.nodes().count() >= 8 {
            return None;
        }
        env.stats.fault(Fault::Nodes);
        let name = self.name();
        let node = Some(env.fixture.describe(&owner, &name));
        Some(Action::RegisterNode(pb::RegisterNode { member: owner, node }))
    }

    /// A name that no node had.
    pub fn name(&mut self) -> String {
        self.nodes_named += 1;
        format!("x{}", self.nodes_named)
    }
}

/// A vote on what nobody has proposed: a right, which comes into a block and changes nothing.
fn ballot() -> Action {
    Action::CastBallot(pb::CastBallot { proposal: u64::MAX, choice: pb::BallotChoice::Approve as i32 })
}
