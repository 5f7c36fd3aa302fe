//! What a leader does: it cuts blocks from its queue, reports what it has seen of
//! the validators, moves Raft's voters to the elected set, and hands on when its
//! turn is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use consilium_consensus::reconcile::{Desired, Limits, Step, next_step, rotation_target};
use consilium_consensus::{LogIndex, ProposeError, RaftId, Role, Status};
use consilium_ledger::{CheckedTransaction, keys};
use consilium_proto::ids::{Height, NodeId, TransactionId};
use consilium_proto::limits::{EVIDENCE_PER_BLOCK_MAX, VALIDATORS_MAX};
use consilium_proto::observed::Observed;
use consilium_proto::pb::{self, JailReason, ValidatorStandingState};
use consilium_proto::vote::Equivocation;
use prost::Message;

use super::Node;
use crate::env::{Env, Halt};
use crate::machine::Host;

/// Blocks under way at a time.
const IN_FLIGHT: u64 = 4;
/// Transactions of a block.
const BLOCK_TRANSACTIONS: usize = 20;

/// What a leader keeps.
#[derive(Default)]
pub struct Leading {
    queue: VecDeque<CheckedTransaction>,
    queued: BTreeSet<TransactionId>,
    proposed: LogIndex,
    since: Height,
    pub(crate) compacting: bool,
    pub(crate) stalled_since: Option<(Height, u64)>,
    pub(crate) distrusts: bool,
    pub(crate) evidence: BTreeMap<NodeId, Equivocation>,
}

impl Leading {
    pub(crate) fn push(&mut self, checked: CheckedTransaction) {
        if self.queued.insert(checked.transaction.id) {
            self.queue.push_back(checked);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.queued.clear();
    }

    pub(crate) fn changed(&mut self, height: Height) {
        self.since = height;
        self.stalled_since = None;
    }

    fn cut(&mut self) -> Vec<CheckedTransaction> {
        let count = self.queue.len().min(BLOCK_TRANSACTIONS);
        let block: Vec<_> = self.queue.drain(..count).collect();
        block.iter().for_each(|checked| {
            self.queued.remove(&checked.transaction.id);
        });
        block
    }
}

impl Node {
    /// Cuts blocks from the queue while there is room for more under way.
    pub(crate) fn propose(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        while self.leads() && self.room() && (!self.leading.queue.is_empty() || self.time_block_due(host, env)) {
            let transactions = self.leading.cut();
            if !self.propose_block(host, env, transactions) {
                break;
            }
        }
        Ok(())
    }

    fn room(&self) -> bool {
        self.leading.proposed.0.saturating_sub(self.applier.applied.0) < IN_FLIGHT
    }

    /// Whether the epoch is over, and only a block can end it.
    fn time_block_due(&self, host: &Host, env: &Env) -> bool {
        let ends = self.topology.start_ms.saturating_add(self.topology.parameters.epoch_ms);
        self.leading.proposed <= self.applier.applied && host.wall(env).0 >= ends
    }

    fn propose_block(&mut self, host: &mut Host, env: &mut Env, transactions: Vec<CheckedTransaction>) -> bool {
        let observed = self.observed(host);
        let mut proposal = pb::BlockProposal {
            time_ms: host.wall(env).0,
            proposer: host.node.0,
            transactions: transactions.iter().map(|checked| checked.transaction.to_wire()).collect(),
            ..pb::BlockProposal::default()
        };
        observed.write_to_proposal(&mut proposal);
        if !host.honest() {
            crate::byzantine::tamper_proposal(host, env, &mut proposal);
        }
        match self.core.propose(proposal.encode_to_vec().into()) {
            Ok(proposed) => {
                self.leading.proposed = proposed.index;
                env.note(format_args!(
                    "{} proposes {} transactions at {}",
                    host.machine,
                    transactions.len(),
                    proposed.index
                ));
                true
            }
            Err(error) => {
                let lasting = !matches!(error, ProposeError::NotLeader { .. });
                env.note(format_args!("{} cannot propose: {error}", host.machine));
                if lasting {
                    transactions.into_iter().for_each(|checked| self.leading.push(checked));
                }
                false
            }
        }
    }

    /// What the ledger has not recorded yet of who is there and who lied.
    fn observed(&mut self, host: &Host) -> Observed {
        let unseen = &self.unseen;
        let mut votes = self.voting.presence(|id| unseen.contains(&id));
        votes.truncate(VALIDATORS_MAX);
        let standing = |id: NodeId| host.disk.ledger.message::<ValidatorStandingState>(&keys::standing(id));
        let jailed = |id| standing(id).is_some_and(|s| s.jailed == JailReason::Equivocation as i32);
        self.leading.evidence.retain(|id, _| !jailed(*id));
        Observed {
            certificate: self.voting.newest_certified().map(|c| c.certificate.clone()),
            votes,
            evidence: self.leading.evidence.values().take(EVIDENCE_PER_BLOCK_MAX).cloned().collect(),
        }
    }

    /// One step towards the elected set, if this node leads and one is due.
    pub(crate) fn lead(&mut self, host: &mut Host, env: &mut Env) {
        let status = self.core.status();
        if status.role != Role::Leader {
            return;
        }
        let Some(desired) = self.desired() else { return };
        let limits = Limits::default();
        match next_step(&desired, &status, &limits) {
            Step::Settled => self.rotate(host, env, &desired, &status, &limits),
            Step::Wait(reason) => env.note(format_args!("{} waits: {reason}", host.machine)),
            Step::HandOver(to) => self.hand_over(host, env, to),
            Step::Change(changes) => {
                env.note(format_args!("{} proposes {changes:?}", host.machine));
                if self.core.propose_membership(&changes).is_ok() {
                    env.stats.count("membership changes proposed");
                }
            }
        }
    }

    /// Voters are the validators of the newest epoch whose beginning is
    /// certified; before that nobody moves.
    fn desired(&self) -> Option<Desired> {
        if self.certified().next() < self.topology.first_height {
            return None;
        }
        Some(Desired { voters: self.topology.elected(), learners: self.topology.raft_ids() })
    }

    fn rotate(&mut self, host: &mut Host, env: &mut Env, desired: &Desired, status: &Status, limits: &Limits) {
        let every = self.topology.parameters.rotation_blocks;
        let led = self.height().0.saturating_sub(self.leading.since.0);
        if every == 0 || led < every {
            return;
        }
        if let Some(to) = rotation_target(desired, status, limits) {
            self.leading.since = self.height();
            env.stats.count("rotations");
            self.hand_over(host, env, to);
        }
    }

    fn hand_over(&mut self, host: &mut Host, env: &mut Env, to: RaftId) {
        env.stats.count("hand-overs");
        env.note(format_args!("{} hands over to {to}", host.machine));
        if let Err(error) = self.core.transfer_leadership(Some(to)) {
            env.note(format_args!("{} does not hand over: {error}", host.machine));
        }
    }
}
