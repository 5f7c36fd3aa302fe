//! A turn: after the inputs, every part works until nothing is left to do.
//!
//! ```text
//! propose -> Raft's output (send, write, commit) -> execute -> certify -> again, until all are idle
//! ```
//!
//! What others wait for goes out first. If Raft has something to send or to write, and
//! there are blocks to execute, these have the next turn; so does what is left to
//! certify when own votes were signed.

use std::sync::Arc;

use consilium_consensus::LogPosition;
use consilium_consensus::{
    EntryKind, LeaderChange, LogEntry, LogReader, Membership, MembershipOutcome, Output as RaftOutput, Persist, Role,
    SnapshotMeta,
};
use consilium_ledger::Executed;
use consilium_proto::ids::NodeId;

use super::Replica;
use super::inputs::raft_id;
use crate::alarm::Alarm;
use crate::block::CheckedBlock;
use crate::catch_up::{CertifiedBlock, Goal, Step};
use crate::certify::{Around, CertifyInput};
use crate::fault::Fault;
use crate::io::{ExecutedBlock, Output};
use crate::notice::Notice;
use crate::order::proposing::Moment;
use crate::peer::PeerMessage;
use crate::ports::{Ledger, PortFault};
use crate::submission::Refused;
use crate::topology::{Topology, concerns_topology};

/// Blocks executed in one turn: the vote on one, and what came in meanwhile, do not
/// wait for the next.
const BLOCKS_MAX: usize = 1;
/// Bytes of committed entries that wait to be executed. Beyond it Raft waits.
const COMMITTED_BYTES_MAX: usize = 64 * 1024 * 1024;

impl<L: Ledger, R: LogReader> Replica<L, R> {
    pub(super) fn turn(&mut self) -> Result<(), Fault> {
        self.ask_back();
        self.reads.ask(&mut self.core, &mut self.out);
        let paused = self.work()?;
        self.log_pace.look(self.now.monotonic_ms, |index| self.core.held_by_others(index));
        self.forward();
        self.entries.hand_out(&mut self.out);
        if paused && !self.continuing {
            self.continuing = true;
            self.out.push(Output::Continue);
        }
        Ok(())
    }

    /// Works until all parts are idle, or there is reason to pause: returns which.
    fn work(&mut self) -> Result<bool, Fault> {
        self.follow_electors()?;
        self.propose();
        self.drain()?;
        // Once: what is ordered meanwhile must not put off execution for ever.
        if !self.deferred && !self.committed.is_empty() && self.is_awaited() {
            self.deferred = true;
            return Ok(true);
        }
        self.deferred = false;
        let mut blocks = BLOCKS_MAX;
        loop {
            self.propose();
            let mut busy = self.drain()?;
            busy |= self.execute(&mut blocks)?;
            busy |= self.certify()?;
            if blocks == 0 || self.certifier.may_pause() {
                return Ok(true);
            }
            if !busy {
                return Ok(false);
            }
        }
    }

    /// Whether the disk, or followers that learn what is committed, could be at work
    /// while this node executes.
    fn is_awaited(&self) -> bool {
        let leads = self.core.role() == Role::Leader;
        self.out.iter().any(|output| match output {
            Output::WriteLog(_) => true,
            Output::Send { message: PeerMessage::Raft(_), .. } => leads,
            _ => false,
        })
    }

    /// Cuts blocks from the queue while there is room for more under way.
    fn propose(&mut self) {
        let moment = Moment {
            me: self.me,
            monotonic_ms: self.now.monotonic_ms,
            wall: self.now.wall,
            apart: self.clocks.skew().is_some(),
            applied: self.executor.applied(),
            certified: self.certifier.certified(),
            topology: &self.topology,
        };
        while !self.stopping && self.proposing.is_due(&self.core, &moment) {
            let observed = self.certifier.observed(&self.topology);
            let (core, entries, out) = (&mut self.core, &mut self.entries, &mut self.out);
            if let Err(lost) = self.proposing.propose(core, &moment, observed, entries, out) {
                for id in lost {
                    self.waiters.refuse(&id, Refused::Overloaded, &mut self.out);
                }
                return;
            }
        }
        if !self.stopping {
            let ms = self.proposing.take_turn_in(&self.core, &moment);
            self.out.extend(ms.map(|ms| Output::TurnIn { ms }));
        }
    }

    /// Takes Raft's output while there is room for what it commits.
    fn drain(&mut self) -> Result<bool, Fault> {
        let mut busy = false;
        while self.committed_bytes <= COMMITTED_BYTES_MAX {
            let Some(output) = self.core.take_output()? else { break };
            busy = true;
            self.dispatch(output)?;
        }
        Ok(busy)
    }

    fn dispatch(&mut self, output: RaftOutput) -> Result<(), Fault> {
        let RaftOutput { messages, persist, committed, reads, leadership, snapshot_wanted, snapshot_offered } = output;
        if leadership.is_some_and(|change| change.role == Role::Leader) {
            self.show_mandate();
        }
        messages.into_iter().for_each(|message| self.send_raft(message));
        if let Some(round) = persist {
            self.write(round);
        }
        for entry in committed {
            self.committed_bytes += entry.data_len();
            self.committed.push_back(entry);
        }
        let applied = self.executor.index();
        reads.into_iter().for_each(|outcome| self.reads.outcome(outcome, applied, &mut self.out));
        if let Some(change) = leadership {
            self.leadership_changed(change)?;
        }
        if !snapshot_wanted.is_empty() {
            self.offer_snapshot()?;
        }
        if let Some(offer) = snapshot_offered {
            let notice = Notice::CatchingUp { from: offer.from, index: offer.meta.index };
            self.out.push(Output::Notice(notice));
            self.follow(Goal::Offer(offer));
        }
        Ok(())
    }

    /// Messages that vouch for a write wait for its report. Entries of others are
    /// looked at before they commit.
    fn write(&mut self, round: Persist) {
        if self.core.role() != Role::Leader {
            for entry in &round.entries {
                if let EntryKind::Normal(bytes) = &entry.kind {
                    self.entries.announce(entry.position(), bytes);
                }
            }
        }
        if let Some(last) = round.entries.last() {
            self.log_pace.issued(round.seq, last.index, self.now.monotonic_ms);
        }
        self.rounds.take(round, &mut self.out).into_iter().for_each(|message| self.send_raft(message));
    }

    /// A membership comes into force if the ledger asks for it, as it stands behind all that
    /// was before: so all nodes decide the same. It is stored with the next block, so that
    /// what a restart goes on from is of one moment.
    fn apply_membership(&mut self, entry: &LogEntry) -> Result<Option<Membership>, Fault> {
        let topology = &self.topology;
        match self.core.apply_membership(entry, |step, in_force| topology.asks_for(step, in_force))? {
            MembershipOutcome::Applied(membership) => {
                let notice = Notice::MembershipChanged { index: entry.index, membership: Box::new(membership.clone()) };
                self.out.push(Output::Notice(notice));
                Ok(Some(membership))
            }
            MembershipOutcome::Refused { reason } => {
                self.out.push(Output::Notice(Notice::MembershipRefused(reason)));
                let now_ms = self.now.monotonic_ms;
                self.oversight.refuse_membership(&mut self.core, entry.term, now_ms, &mut self.out);
                Ok(None)
            }
        }
    }

    /// What clients wait for is sent to the new leader; what was queued here for
    /// others is theirs to send.
    fn leadership_changed(&mut self, change: LeaderChange) -> Result<(), PortFault> {
        let LeaderChange { leader, term, role } = change;
        self.out.push(Output::Notice(Notice::Leadership { leader, term, role }));
        if role != Role::Leader {
            self.proposing.clear();
        }
        self.leading.leadership_changed(self.executor.height());
        self.oversight.leadership_changed(leader, self.now.monotonic_ms);
        self.rights.leadership_changed(leader.and(self.core.heard_leader()), self.now.monotonic_ms);
        self.forwarding.clear();
        self.out.push(Output::Leader(leader.map(|id| NodeId(id.get()))));
        // Nobody shall read of the old role until the next tick.
        self.out.push(Output::Status(Box::new(self.status())));
        if leader.is_some() {
            let mut open = self.rights.unexecuted();
            open.extend(
                self.waiters.unanswered().into_iter().filter(|own| !self.rights.is_watched(&own.transaction.id)),
            );
            open.into_iter().try_for_each(|checked| self.order(checked))?;
        }
        Ok(())
    }

    fn forward(&mut self) {
        let leader = self.core.leader().map(|leader| NodeId(leader.get()));
        if let Some(leader) = leader.filter(|leader| *leader != self.me) {
            self.forwarding.call(leader, &mut self.calls, &mut self.out);
        }
        if !self.rights.is_empty() {
            let seats = self.topology.validators().seats().iter().map(|seat| seat.id);
            let others = seats.filter(|seat| *seat != self.me && Some(*seat) != leader);
            self.rights.call(others, self.now.monotonic_ms, &mut self.calls, &mut self.out);
        }
    }

    /// Executes committed blocks and certified ones, while there are any and
    /// `blocks` allows it.
    fn execute(&mut self, blocks: &mut usize) -> Result<bool, Fault> {
        let before = self.executor.index();
        let mut reached = None;
        while *blocks > 0 {
            let Some(head) = self.committed.front() else { break };
            let position = head.position();
            let ahead = position.index > self.executor.index();
            let block = match &head.kind {
                EntryKind::Normal(bytes) if ahead => match self.entries.take(position) {
                    Some(block) => Some(block),
                    None => {
                        self.entries.want(position, bytes);
                        break;
                    }
                },
                EntryKind::Normal(_) | EntryKind::ConfChange(_) | EntryKind::Empty => None,
            };
            let Some(head) = self.committed.pop_front() else { break };
            self.committed_bytes -= head.data_len();
            let membership = match head.kind {
                EntryKind::ConfChange(_) => self.apply_membership(&head)?,
                EntryKind::Normal(_) | EntryKind::Empty => None,
            };
            if ahead {
                membership.into_iter().for_each(|membership| self.executor.follow_membership(membership));
                self.apply(position, block, blocks)?;
            }
            reached = Some(position.index);
        }
        if let Some(index) = reached {
            self.core.applied(index)?;
        }
        let busy = self.catch_up(blocks)?;
        let index = self.executor.index();
        if index > before {
            self.entries.forget(index);
            self.reads.applied(index, &mut self.out);
        }
        Ok(busy || reached.is_some())
    }

    /// Applies an entry: a block, or nothing.
    fn apply(
        &mut self,
        position: LogPosition,
        block: Option<Option<CheckedBlock>>,
        blocks: &mut usize,
    ) -> Result<(), Fault> {
        match block {
            Some(Some(block)) => {
                *blocks -= 1;
                let executed = self.executor.run(position, &block)?;
                self.note_rights(&block, &executed.leaves)?;
                self.executed(position, executed, true)
            }
            Some(None) => {
                self.out.push(Output::Notice(Notice::EntryIsNoBlock(position.index)));
                self.executor.pass(position.index);
                Ok(())
            }
            None => {
                self.executor.pass(position.index);
                Ok(())
            }
        }
    }

    /// Tells everyone what a block came to. It is stored already.
    fn executed(&mut self, position: LogPosition, executed: Executed, votable: bool) -> Result<(), Fault> {
        let Executed { tip, leaves, events, rows: _ } = executed;
        let next_set = events.next_set().cloned();
        if let Some(unseen) = events.unseen() {
            self.certifier.set_unseen(unseen.clone());
        }
        let changed = concerns_topology(&events);
        let certified = self.certifier.certified();
        let header = tip.header;
        let block = ExecutedBlock { header: header.clone(), position, votable, leaves, events };
        let expired: Vec<_> = block.events.expired().copied().collect();
        let unsigned: Vec<_> = block.events.unsigned().copied().collect();
        let leaves = block.leaves.clone();
        self.out.push(Output::Executed(Box::new(block)));
        self.proposing.executed(self.now.monotonic_ms);
        self.certifier.push(CertifyInput::Executed { header: Box::new(header), votable, next_set });
        if changed {
            self.follow_topology()?;
        }
        leaves.iter().for_each(|(_, leaf)| self.rights.forget(&leaf.transaction_id));
        for (_, leaf) in &leaves {
            self.waiters.executed(leaf, certified, &mut self.out);
        }
        for id in &expired {
            self.rights.forget(id);
            self.waiters.refuse(id, Refused::Expired, &mut self.out);
        }
        self.not_signed(&unsigned, position.term)
    }

    /// The block changed who takes part, and how: all parts follow at once.
    fn follow_topology(&mut self) -> Result<(), Fault> {
        let tip = &self.executor.tip().header;
        let topology = Topology::load(self.executor.ledger(), tip, self.introduction.as_ref())?;
        self.rations.retain(|peer| topology.peer(peer).is_some());
        self.topology = Arc::new(topology);
        self.core.set_known_peers(self.topology.peer_ids());
        self.certifier.push(CertifyInput::Nodes {
            keys: self.topology.vote_keys(),
            clock_skew_max_ms: self.topology.parameters().clock_skew_max_ms,
        });
        self.out.push(Output::Topology(Arc::clone(&self.topology)));
        if self.topology.node(self.me).is_none() {
            self.out.push(Output::Raise(Alarm::NodeRetired(self.me)));
        }
        Ok(())
    }

    fn certify(&mut self) -> Result<bool, Fault> {
        let around = Around {
            ledger: self.executor.ledger(),
            topology: &self.topology,
            me: self.me,
            commit: self.core.commit_index(),
            now: self.now,
        };
        let before = self.certifier.certified();
        let busy = self.certifier.run(&around, &mut self.out)?;
        for peer in self.certifier.take_forgers() {
            self.rations.forged(peer, self.now.monotonic_ms);
        }
        let certified = self.certifier.certified();
        if certified > before {
            self.proposing.certified(self.now.monotonic_ms);
        }
        if certified > before || busy {
            self.waiters.certified(certified, &mut self.out);
        }
        Ok(busy)
    }

    /// What a follower can be given that lags behind the log.
    fn offer_snapshot(&mut self) -> Result<(), PortFault> {
        let height = self.certifier.certified();
        let ledger = self.executor.ledger();
        let Some(position) = ledger.position(height)? else { return Ok(()) };
        let membership = ledger.membership_at(height)?;
        let LogPosition { index, term, hash } = position;
        let meta = SnapshotMeta { index, term, hash, membership };
        if let Err(error) = self.core.offer_snapshot(meta) {
            self.out.push(Output::Notice(Notice::SnapshotNotOffered(error.to_string())));
        }
        Ok(())
    }

    pub(super) fn follow(&mut self, goal: Goal) {
        let ledger = (self.ledger_id, self.topology.validators().clone());
        let call = (self.calls.take(), self.now.monotonic_ms);
        self.catch_up.follow(goal, self.executor.applied(), ledger, call, &mut self.out);
    }

    /// Works on blocks of a peer.
    fn catch_up(&mut self, blocks: &mut usize) -> Result<bool, Fault> {
        let mut busy = false;
        while *blocks > 0 {
            match self.catch_up.next(self.executor.applied(), &mut self.out) {
                Step::Idle => break,
                Step::Execute(block) => {
                    *blocks -= 1;
                    self.take_over(*block)?;
                }
                Step::Certify(certified) => {
                    self.certifier.push(CertifyInput::Certificate(certified));
                    self.catch_up.set_validators(self.topology.validators().clone());
                }
                Step::Reached(goal) => self.reached(goal)?,
                Step::Again(goal) => self.follow(goal),
                Step::Failed(problem) => self.refuse_offer(problem),
            }
            busy = true;
        }
        Ok(busy)
    }

    /// Not all that goes into a block is in its header: one that gives another
    /// header here may be the peer's fault. If it is this node's, the certificates
    /// will show it.
    fn take_over(&mut self, block: CertifiedBlock) -> Result<(), Fault> {
        let position = block.position;
        match self.executor.take_over(block) {
            Ok(Some(executed)) => self.executed(position, executed, false),
            Ok(None) => Ok(()),
            Err(fault @ Fault::Diverged { .. }) => {
                self.catch_up.refuse(&mut self.out);
                self.refuse_offer(fault.to_string());
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    fn refuse_offer(&mut self, problem: String) {
        self.out.push(Output::Notice(Notice::NotCaughtUp(problem)));
        self.core.refuse_snapshot();
    }

    /// The log goes on behind the newest block that was taken over.
    fn reached(&mut self, goal: Goal) -> Result<(), PortFault> {
        let meta = match goal {
            Goal::Offer(offer) => offer.meta,
            Goal::Certified { from, height } => {
                let ledger = self.executor.ledger();
                let Some(position) = ledger.position(height)? else { return Ok(()) };
                let LogPosition { index, term, hash } = position;
                let meta = SnapshotMeta { index, term, hash, membership: ledger.membership_at(height)? };
                if let Some(from) = raft_id(from) {
                    self.core.hold_certified(from, meta.clone());
                }
                meta
            }
        };
        self.install(&meta);
        Ok(())
    }

    fn install(&mut self, meta: &SnapshotMeta) {
        match self.core.install_snapshot(meta) {
            Ok(_) => {
                self.executor.pass(meta.index);
                self.out.push(Output::Notice(Notice::CaughtUp(meta.index)));
            }
            Err(error) => self.out.push(Output::Notice(Notice::NotCaughtUp(error.to_string()))),
        }
    }
}
