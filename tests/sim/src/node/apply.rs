//! The applier: executes committed blocks in order and writes each one's rows in
//! one batch.

use std::collections::VecDeque;

use bytes::Bytes;
use consilium_consensus::{EntryKind, LogEntry, LogIndex, LogPosition, Membership};
use consilium_ledger::{BlockInput, CheckedTransaction, Executed, Tip, execute};
use consilium_proto::ids::{LedgerId, NodeId, TimeMs};
use consilium_proto::observed::Observed;
use consilium_proto::pb;
use consilium_proto::transaction::Transaction;
use prost::Message;

use super::Node;
use super::certify::CertifierInput;
use super::chain::CertifiedBlock;
use super::topology::Topology;
use crate::bugs::Bug;
use crate::env::{CrashPoint, Env, Halt};
use crate::event::Timer;
use crate::fixture::rules::SimRules;
use crate::machine::Host;

/// Work for the applier.
pub enum ApplierJob {
    /// Committed entries, in order; and the memberships that entries among them
    /// put into force.
    Committed(Vec<LogEntry>, Vec<(LogIndex, Membership)>),
    /// A certified block of a peer.
    Certified(Box<CertifiedBlock>),
    /// All certified blocks up to an offered state were given.
    CaughtUp,
}

/// Where the applier stands.
pub struct Applier {
    pub(crate) queue: VecDeque<ApplierJob>,
    busy: bool,
    pub(crate) tip: Tip,
    pub(crate) applied: LogIndex,
    /// In force, and not stored with a block yet.
    membership: Option<Membership>,
}

/// A decoded proposal.
struct Block {
    time: TimeMs,
    proposer: NodeId,
    transactions: Vec<CheckedTransaction>,
    observed: Observed,
}

impl Block {
    fn decode(entry: Bytes, ledger: LedgerId) -> Option<Self> {
        let proposal = pb::BlockProposal::decode(entry).ok()?;
        let observed = Observed::of_proposal(&proposal).ok()?;
        let parsed = proposal.transactions.iter().filter_map(|t| Transaction::parse(t, ledger).ok());
        Some(Self {
            time: TimeMs(proposal.time_ms),
            proposer: NodeId(proposal.proposer),
            transactions: parsed.map(|transaction| CheckedTransaction { transaction, verified_under: None }).collect(),
            observed,
        })
    }
}

impl Applier {
    pub(crate) fn new(applied: LogIndex, tip: Tip) -> Self {
        Self { queue: VecDeque::new(), busy: false, tip, applied, membership: None }
    }
}

impl Node {
    pub(crate) fn start_applying(&mut self, host: &mut Host, env: &mut Env) {
        if !self.applier.busy && !self.applier.queue.is_empty() {
            self.applier.busy = true;
            let time = env.rng.below(4);
            host.timer(env, time, Timer::Applier);
        }
    }

    /// Does the next job.
    pub(crate) fn apply_next(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        self.applier.busy = false;
        match self.applier.queue.pop_front() {
            None => Ok(()),
            Some(ApplierJob::Committed(entries, memberships)) => self.apply_entries(host, env, entries, memberships),
            Some(ApplierJob::Certified(block)) => self.apply_certified(host, env, *block),
            Some(ApplierJob::CaughtUp) => {
                self.caught_up(host, env);
                Ok(())
            }
        }
    }

    fn apply_entries(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        entries: Vec<LogEntry>,
        memberships: Vec<(LogIndex, Membership)>,
    ) -> Result<(), Halt> {
        let Some(last) = entries.last().map(|entry| entry.index) else { return Ok(()) };
        let mut memberships = memberships.into_iter().peekable();
        for entry in entries {
            if let Some((_, membership)) = memberships.next_if(|(index, _)| *index == entry.index)
                && entry.index > self.applier.applied
            {
                self.applier.membership = Some(membership);
            }
            self.apply_entry(host, env, entry)?;
        }
        let result = self.core.applied(last);
        if env.has(Bug::LateConfChange) {
            self.apply_held_changes(host, env)?;
        }
        result.map_err(|e| Halt::Fault(format!("the applier reported an impossible index: {e}")))
    }

    fn apply_entry(&mut self, host: &mut Host, env: &mut Env, entry: LogEntry) -> Result<(), Halt> {
        if entry.index <= self.applier.applied {
            return Ok(());
        }
        let position = entry.position();
        let block = match entry.kind {
            EntryKind::Normal(bytes) => Block::decode(bytes, env.fixture.genesis.ledger_id),
            EntryKind::ConfChange(_) | EntryKind::Empty => None,
        };
        let Some(mut block) = block else {
            self.applier.applied = position.index;
            return Ok(());
        };
        block.transactions.iter_mut().for_each(|checked| env.verify(&host.disk.ledger, checked));
        let Block { time, proposer, transactions, observed } = block;
        let input = BlockInput { time, proposer, transactions: &transactions, observed: &observed };
        let executed = self.execute(host, &input)?;
        self.store(host, env, position, executed, true)
    }

    fn apply_certified(&mut self, host: &mut Host, env: &mut Env, block: CertifiedBlock) -> Result<(), Halt> {
        let CertifiedBlock { header, position, membership, transactions, observed } = block;
        if header.height <= self.height() {
            return Ok(());
        }
        let (time, proposer) = (header.time, header.proposer);
        let input = BlockInput { time, proposer, transactions: &transactions, observed: &observed };
        let executed = self.execute(host, &input)?;
        if executed.tip.header != header {
            return Err(Halt::Diverged(format!("certified block {} gives another header here", header.height)));
        }
        if membership.is_some() {
            self.applier.membership = membership;
        }
        self.store(host, env, position, executed, false)
    }

    fn execute(&self, host: &Host, input: &BlockInput<'_>) -> Result<Executed, Halt> {
        execute(&host.disk.ledger, &SimRules, &self.applier.tip, input).map_err(|e| Halt::Fault(e.to_string()))
    }

    fn store(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        position: LogPosition,
        executed: Executed,
        votable: bool,
    ) -> Result<(), Halt> {
        if host.honest() {
            env.oracle.executed(host.node, &self.applier.tip, &executed);
        }
        host.pass(CrashPoint::BeforeBlock)?;
        let membership = self.applier.membership.take();
        host.disk.ledger.write_block(position, &executed, membership.as_ref());
        host.pass(CrashPoint::AfterBlock)?;
        let header = executed.tip.header.clone();
        self.applier.applied = position.index;
        self.applier.tip = executed.tip;
        env.note(format_args!("{} executed {} with {} leaves", host.machine, header.height, executed.leaves.len()));
        env.stats.count("blocks executed");
        env.stats.add("transactions executed", executed.leaves.len() as u64);
        for (_, leaf) in &executed.leaves {
            env.stats.count(outcome_name(leaf.outcome));
            self.waiters.executed(leaf.transaction_id, leaf.height, leaf.outcome as i32);
        }
        let events = executed.events;
        events.expired().for_each(|id| self.waiters.forget(id));
        if let Some(unseen) = events.unseen() {
            self.unseen = unseen.clone();
        }
        let changed_nodes = events.changed_nodes() || events.changed_members().next().is_some();
        let next_set = events.next_set().cloned();
        self.certifier.inputs.push_back(CertifierInput::Executed { header, votable, next_set });
        if changed_nodes {
            self.topology = Topology::with_invitation(&host.disk.ledger, &host.invitation);
            if env.has(Bug::RetiredAtOnce) {
                self.topology.forget_departing();
            }
            for (id, node) in self.topology.nodes.iter().filter(|_| host.honest()) {
                env.oracle.named(*id, &node.vote_key);
            }
            self.core.set_known_peers(self.topology.speakers());
            self.certifier.inputs.push_back(CertifierInput::Nodes(self.topology.vote_keys()));
        }
        Ok(())
    }
}

fn outcome_name(outcome: pb::Outcome) -> &'static str {
    if outcome == pb::Outcome::Applied { "transactions applied" } else { "transactions refused" }
}
