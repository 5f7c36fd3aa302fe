//! The driver: owns the Raft core. It turns inputs (messages, ticks, reports,
//! submissions) into the core's outputs and hands these to the writer, the
//! applier and the transport. It never writes to disk and never executes.

mod leading;
mod oversight;
mod proposing;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_consensus::{
    Core, EntryKind, IncomingSnapshot, LogEntry, LogIndex, LogPosition, Membership, MembershipOutcome, Output,
    PersistSeq, ProposeError, RaftId, ReadContext, ReadOutcome, Role, SnapshotMeta, StepError,
};
use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::pb;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use prost::Message;
use tokio::sync::{mpsc, oneshot};

use super::Fault;
use super::applier::ApplierMsg;
use super::blocks::{BlockQueue, CheckedBlock};
use super::mempool::Mempool;
use super::reads::PendingReads;
use super::shared::{Shared, now_ms};
use super::verifier::VerifyJob;
use super::waiters::Refused;
use super::writer::WriterMsg;
use crate::config::Config;
use crate::storage::raft_log::RaftLog;
use crate::transport::Outbox;

/// Inputs handled before the core is asked for output.
const INPUTS_MAX: usize = 512;
/// Ticks that are made up for after a stall: more would start elections for
/// having been slow (traps 14).
const CATCH_UP_TICKS_MAX: u32 = 2;
/// Ticks between checks that the chain is being certified.
const HEALTH_TICKS: u64 = 10;

/// Inputs.
#[derive(Debug)]
pub enum DriverMsg {
    /// A Raft message from an authenticated peer.
    Raft {
        /// The peer.
        from: RaftId,
        /// The message.
        bytes: Bytes,
    },
    /// Verified transactions.
    Submit(Vec<CheckedTransaction>),
    /// The writer's report.
    Persisted(PersistSeq),
    /// The applier's report.
    Applied(LogIndex),
    /// A linearizable read.
    Read {
        /// Unpredictable, used once.
        context: ReadContext,
        /// `None`: try again.
        reply: oneshot::Sender<Option<LogIndex>>,
    },
    /// Hand leadership over.
    Transfer {
        /// To whom; `None` chooses.
        to: Option<RaftId>,
        /// The new leader, or why not.
        reply: oneshot::Sender<Result<RaftId, String>>,
    },
    /// Someone needs the ledger's time to pass this.
    TimeBlock(TimeMs),
    /// The state of an offered snapshot is in place.
    InstallSnapshot(SnapshotMeta),
    /// It is not.
    RefuseSnapshot,
    /// The writer dropped the log up to here.
    Compacted(LogPosition),
    /// Messages to a peer do not arrive.
    Unreachable(RaftId),
    /// Hand over if leader, and propose nothing more.
    Stop,
    /// End.
    Halt,
}

/// Where the driver's outputs go.
pub struct Outputs {
    /// The writer.
    pub writer: Sender<WriterMsg>,
    /// The applier.
    pub applier: Sender<ApplierMsg>,
    /// The verifiers.
    pub verifier: Sender<VerifyJob>,
    /// The peers.
    pub outbox: Outbox,
    /// Transactions for the leader, when this node is not.
    pub forward: mpsc::UnboundedSender<CheckedTransaction>,
    /// Offers of snapshots, to be fetched.
    pub snapshots: mpsc::UnboundedSender<IncomingSnapshot>,
}

/// The driver's state.
pub struct Driver {
    core: Core<RaftLog>,
    shared: Arc<Shared>,
    blocks: Arc<BlockQueue>,
    out: Outputs,
    config: Config,
    mempool: Mempool,
    reads: PendingReads,
    /// Index of the newest proposal, and the newest block time proposed.
    proposed: LogIndex,
    applied: LogIndex,
    time_wanted: Option<TimeMs>,
    stalled_since: Option<(Height, Instant)>,
    /// The leader is not listened to, for want of certificates.
    distrusting: bool,
    compacting: bool,
    /// Height at which this node became leader, for rotation.
    leading_since: Height,
    /// Version of the topology that the core knows.
    topology: tokio::sync::watch::Receiver<u64>,
    ticks: u64,
    stopping: bool,
    halted: bool,
}

impl Driver {
    /// Takes a started core.
    #[must_use]
    pub fn new(
        core: Core<RaftLog>,
        shared: Arc<Shared>,
        blocks: Arc<BlockQueue>,
        out: Outputs,
        config: Config,
    ) -> Self {
        let limits = &config.limits;
        let mempool = Mempool::new(limits.queued_transactions_max.get(), limits.queued_bytes_max.get());
        let applied = core.status().applied;
        let mut topology = shared.topology.changes();
        topology.mark_changed();
        Self {
            core,
            shared,
            blocks,
            out,
            config,
            mempool,
            reads: PendingReads::default(),
            proposed: LogIndex(0),
            applied,
            time_wanted: None,
            stalled_since: None,
            distrusting: false,
            compacting: false,
            leading_since: Height::GENESIS,
            topology,
            ticks: 0,
            stopping: false,
            halted: false,
        }
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn run(mut self, inputs: &Receiver<DriverMsg>) -> Result<(), Fault> {
        let tick = self.config.raft.tick;
        let mut next_tick = Instant::now() + tick;
        self.publish();
        while !self.halted {
            match inputs.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(input) => {
                    self.handle(input);
                    inputs.try_iter().take(INPUTS_MAX).for_each(|input| self.handle(input));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            next_tick = self.pass_time(next_tick, tick);
            self.propose();
            while let Some(output) = self.core.take_output().map_err(Fault::Log)? {
                self.dispatch(output)?;
            }
        }
        Ok(())
    }

    fn pass_time(&mut self, mut next: Instant, tick: Duration) -> Instant {
        let mut passed = 0;
        while next <= Instant::now() {
            next += tick;
            passed += 1;
            if passed <= CATCH_UP_TICKS_MAX {
                self.core.tick();
                self.ticks += 1;
            }
        }
        if passed > 0 {
            self.publish();
            self.follow_topology();
            self.lead();
            if self.ticks.is_multiple_of(HEALTH_TICKS) {
                self.watch_certificates();
                self.compact();
            }
        }
        next
    }

    fn handle(&mut self, input: DriverMsg) {
        match input {
            DriverMsg::Raft { from, bytes } => self.step(from, bytes),
            DriverMsg::Submit(transactions) => transactions.into_iter().for_each(|t| self.submit(t)),
            DriverMsg::Persisted(seq) => {
                if let Err(error) = self.core.persisted(seq) {
                    tracing::error!(%error, "the writer reported an unknown write");
                }
            }
            DriverMsg::Applied(index) => self.applied_to(index),
            DriverMsg::Read { context, reply } => self.read(context, reply),
            DriverMsg::Transfer { to, reply } => {
                let _ = reply.send(self.core.transfer_leadership(to).map_err(|e| e.to_string()));
            }
            DriverMsg::TimeBlock(after) => self.time_wanted = self.time_wanted.max(Some(after)),
            DriverMsg::InstallSnapshot(meta) => self.install_snapshot(&meta),
            DriverMsg::RefuseSnapshot => self.core.refuse_snapshot(),
            DriverMsg::Compacted(position) => {
                self.compacting = false;
                if let Err(error) = self.core.compact_to(position.index) {
                    tracing::warn!(%error, "compaction was not taken");
                }
            }
            DriverMsg::Unreachable(peer) => self.core.report_unreachable(peer),
            DriverMsg::Stop => self.stop(),
            DriverMsg::Halt => self.halted = true,
        }
    }

    fn step(&mut self, from: RaftId, bytes: Bytes) {
        match self.core.step(from, bytes) {
            Ok(()) => {}
            Err(StepError::Rejected { peer, reject }) => {
                metrics::counter!("consilium_raft_rejected_total").increment(1);
                tracing::warn!(peer = peer.get(), %reject, "raft message rejected");
            }
            Err(error) => tracing::debug!(%error, "raft message ignored"),
        }
    }

    fn submit(&mut self, checked: CheckedTransaction) {
        if self.core.role() == Role::Leader {
            let id = checked.transaction.id;
            if !self.mempool.push(checked) {
                self.shared.waiters.refuse(&id, Refused::Overloaded);
            }
            self.shared.queued.store(self.mempool.len(), Ordering::Relaxed);
        } else {
            // Without a leader it stays with its waiter, and goes out when
            // there is one.
            let _ = self.out.forward.send(checked);
        }
    }

    fn applied_to(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index);
        if let Err(error) = self.core.applied(index) {
            tracing::error!(%error, "the applier reported an impossible index");
        }
        self.blocks.forget(index);
    }

    fn read(&mut self, context: ReadContext, reply: oneshot::Sender<Option<LogIndex>>) {
        match self.core.read_index(context) {
            Ok(()) => self.reads.insert(context, reply),
            Err(error) => {
                tracing::debug!(%error, "read not taken");
                let _ = reply.send(None);
            }
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        if self.core.role() == Role::Leader {
            match self.core.transfer_leadership(None) {
                Ok(to) => tracing::info!(to = to.get(), "handing leadership over"),
                Err(error) => tracing::warn!(%error, "stopping without handing leadership over"),
            }
        }
    }

    fn dispatch(&mut self, output: Output) -> Result<(), Fault> {
        let Output { messages, persist, committed, reads, leadership, snapshot_wanted, snapshot_offered } = output;
        messages.into_iter().for_each(|message| self.out.outbox.send_raft(message));
        if let Some(round) = persist {
            self.announce(&round.entries);
            self.out.writer.send(WriterMsg::Persist(round)).map_err(|_| Fault::Stopped("writer"))?;
        }
        if !committed.is_empty() {
            let memberships = self.apply_memberships(&committed);
            let message = ApplierMsg::Committed(committed, memberships);
            self.out.applier.send(message).map_err(|_| Fault::Stopped("applier"))?;
        }
        for outcome in reads {
            match outcome {
                ReadOutcome::Ready { context, index } => self.reads.ready(&context, index),
                ReadOutcome::Dropped { context } => self.reads.drop_read(&context),
            }
        }
        if leadership.is_some() {
            self.leadership_changed();
        }
        if !snapshot_wanted.is_empty() {
            self.offer_snapshot();
        }
        if let Some(offer) = snapshot_offered {
            let _ = self.out.snapshots.send(offer);
        }
        Ok(())
    }

    /// Lets the verifiers look at entries of others before they commit.
    fn announce(&self, entries: &[LogEntry]) {
        if self.core.role() == Role::Leader {
            return;
        }
        for entry in entries {
            if let EntryKind::Normal(bytes) = &entry.kind {
                self.blocks.announce(entry.position());
                // If the verifiers are busy the applier looks at it itself.
                let _ = self.out.verifier.try_send(VerifyJob::Entry(entry.position(), bytes.clone()));
            }
        }
    }

    /// Puts membership entries into force; returns what they led to, for the
    /// applier to store with the next block.
    fn apply_memberships(&mut self, committed: &[LogEntry]) -> Vec<(LogIndex, Membership)> {
        let mut memberships = Vec::new();
        for entry in committed.iter().filter(|e| matches!(e.kind, EntryKind::ConfChange(_))) {
            match self.core.apply_membership(entry) {
                Ok(MembershipOutcome::Applied(membership)) => memberships.push((entry.index, membership)),
                Ok(MembershipOutcome::Refused { reason }) => tracing::warn!(reason, "membership change refused"),
                Err(error) => tracing::error!(%error, "membership change out of order"),
            }
        }
        memberships
    }

    fn leadership_changed(&mut self) {
        let status = self.core.status();
        let leader = status.leader.map(|id| NodeId(id.get()));
        tracing::info!(leader = leader.map(|l| l.0), term = status.term.0, role = ?status.role, "leadership");
        if status.role != Role::Leader {
            self.mempool.clear();
        }
        self.leading_since = self.shared.applied.borrow().height;
        self.stalled_since = None;
        self.publish();
        self.shared.leader.send_replace(leader);
        if leader.is_some() {
            for checked in self.shared.waiters.unanswered() {
                self.submit(checked);
            }
        }
    }

    fn publish(&self) {
        let status = self.core.status();
        metrics::gauge!("consilium_raft_term").set(status.term.0 as f64);
        metrics::gauge!("consilium_raft_is_leader").set(f64::from(u8::from(status.role == Role::Leader)));
        metrics::gauge!("consilium_raft_commit_index").set(status.commit.0 as f64);
        metrics::gauge!("consilium_queued_transactions").set(self.mempool.len() as f64);
        self.shared.raft.store(Some(Arc::new(status)));
    }
}
