//! A network of members, nodes and administrators over the rules alone: blocks
//! in, rows and headers out, and checked after every block: the header's chain,
//! the state root against all rows, a replica that executes the same, and one
//! that has none of the attachments and comes to the same headers.

pub mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_ledger::{BlockInput, CheckedTransaction, Event, Executed, Table, Tip, execute, genesis_block, keys};
use consilium_proto::genesis::Genesis;
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, NodeId, TimeMs};
use consilium_proto::observed::Observed;
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb::{self, BallotChoice, Outcome};
use consilium_proto::signing::SigningKey;
use consilium_proto::transaction::Transaction;
use consilium_proto::vote::{BlockCertificate, Vote};

use prost::Message;

use crate::keys::vote as vote_key;
use crate::{Identity, MemberSpec, Rows, Rules, genesis, people};

pub use pb::action::Action;

/// Time of the genesis; each block is a second later.
pub const START: u64 = 1_800_000_000_000;

pub struct Ledger {
    pub genesis: Genesis,
    pub store: Rows,
    pub tip: Tip,
    /// By raft id: the keys that sign votes.
    pub vote_keys: BTreeMap<u64, Arc<SigningKey>>,
    /// By member: its administrator, enrolled in block 1.
    pub admins: BTreeMap<String, Identity>,
    /// All headers, from genesis.
    pub headers: Vec<Header>,
    replica: (Rows, Tip),
    /// Has never had an attachment: to it, all were erased.
    pub bare: (Rows, Tip),
    vote_keys_made: u64,
    nonce: u64,
}

impl Ledger {
    /// A network whose administrators are enrolled by block 1. Raft ids count
    /// from 1 in the order of the members.
    pub fn new(members: &[MemberSpec<'_>], change: impl FnOnce(&mut pb::Parameters)) -> Self {
        let mut parameters = recommended_parameters();
        change(&mut parameters);
        let genesis = genesis("test", START, parameters, members);
        let mut store = Rows::default();
        let executed = genesis_block(&store, &genesis).unwrap();
        store.write(&executed);
        let admin = |(id, _, _): &MemberSpec<'_>| ((*id).to_owned(), Identity::new(id, "admin", "root"));
        let mut ledger = Self {
            vote_keys: genesis.nodes().map(|(_, node)| (node.raft_id.0, vote_key(node.raft_id.0))).collect(),
            genesis,
            replica: (store.clone(), executed.tip.clone()),
            bare: (store.clone(), executed.tip.clone()),
            store,
            headers: vec![executed.tip.header.clone()],
            tip: executed.tip,
            admins: members.iter().map(admin).collect(),
            vote_keys_made: 0,
            nonce: 0,
        };
        ledger.vote_keys_made = ledger.vote_keys.len() as u64;
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
        people::body(self.genesis.ledger_id.to_bytes(), self.nonce, self.now() + 3_600_000, actions)
    }

    pub fn check(&self, signed: &pb::SignedTransaction) -> CheckedTransaction {
        let transaction = Transaction::parse(signed, self.genesis.ledger_id).unwrap();
        CheckedTransaction { transaction, verified_under: None }
    }

    pub fn sign(&mut self, by: &Identity, actions: Vec<Action>) -> CheckedTransaction {
        let body = self.body(actions);
        self.check(&by.sign(body, Vec::new()))
    }

    /// A transaction by the administrator of a member.
    pub fn by_admin(&mut self, member: &str, actions: Vec<Action>) -> CheckedTransaction {
        let body = self.body(actions);
        self.check(&self.admins[member].sign(body, Vec::new()))
    }

    pub fn enrollment(&mut self, who: &Identity) -> CheckedTransaction {
        let body = self.body(vec![who.enrollment(self.genesis.ledger_id)]);
        self.check(&who.sign_enrollment(body))
    }

    /// Executes a block a second after the one before.
    pub fn block(&mut self, transactions: &[CheckedTransaction], observed: &Observed) -> Executed {
        self.block_at(self.now(), transactions, observed)
    }

    pub fn block_at(&mut self, time: u64, transactions: &[CheckedTransaction], observed: &Observed) -> Executed {
        let input = BlockInput {
            time: TimeMs(time),
            proposer: NodeId(1),
            transactions,
            observed,
            log_hash: consilium_proto::hash::Hash::from_bytes([0; 32]),
        };
        let executed = execute(&self.store, &Rules, &self.tip, &input).unwrap();
        let second = execute(&self.replica.0, &Rules, &self.replica.1, &input).unwrap();
        assert_eq!((&second.rows, &second.events), (&executed.rows, &executed.events));
        self.replica.0.write(&second);
        self.replica.1 = second.tip;
        self.block_without_attachments(&input, &executed.tip);
        self.store.write(&executed);
        self.check_header(&executed);
        check_events(&executed);
        self.tip = executed.tip.clone();
        self.headers.push(self.tip.header.clone());
        executed
    }

    /// What was erased changes nothing that a header commits to.
    fn block_without_attachments(&mut self, block: &BlockInput<'_>, tip: &Tip) {
        let mut transactions = block.transactions.to_vec();
        for checked in &mut transactions {
            checked.transaction.attachments.iter_mut().for_each(|attachment| attachment.bytes.clear());
        }
        let bare = execute(&self.bare.0, &Rules, &self.bare.1, &BlockInput { transactions: &transactions, ..*block });
        let bare = bare.unwrap();
        assert_eq!(bare.tip, *tip);
        self.bare.0.write(&bare);
        self.bare.1 = bare.tip;
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
    topics::propose(topic, ledger.tip.header.time.0 + 600_000)
}

pub fn approve(proposal: u64) -> Action {
    topics::ballot(proposal, BallotChoice::Approve)
}
