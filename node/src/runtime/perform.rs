//! Does what the replica asks for: hands work to the threads and the network,
//! answers to those who wait, news to those who look. It decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use consilium_proto::header::Header;
use consilium_proto::ids::Height;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{CustodyDutiesState, CustodyWorkState, MemberStatus};
use consilium_proto::state::keys;
use consilium_replica::alarm::Alarm;
use consilium_replica::disk::{LogWrite, VoteWrite};
use consilium_replica::notice::{Notice, Severity};
use consilium_replica::{ExecutedBlock, Fault as ReplicaFault, Input, Output, Status};
use crossbeam_channel::Sender;

use super::audit::Audits;
use super::fetch::Fetches;
use crate::alarms::Alarms;
use crate::clock::{now_ms, record_seconds};
use crate::cuts::MemberCuts;
use crate::fault::Fault;
use crate::handle::{Handle, Stopping, VerifyJob};
use crate::identity::trust::LedgerTrust;
use crate::published::Published;
use crate::storage::ledger_store::LedgerStore;
use crate::transport::connections::Connections;
use crate::transport::{Forwarder, Outbox};

/// What it works with.
pub(super) struct Performer {
    pub(super) handle: Handle,
    /// The node's member.
    pub(super) member: MemberId,
    pub(super) published: Arc<Published>,
    pub(super) ledger: Arc<LedgerStore>,
    pub(super) trust: Arc<LedgerTrust>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) cuts: Arc<MemberCuts>,
    pub(super) connections: Arc<Connections>,
    pub(super) log_writer: Sender<LogWrite>,
    pub(super) vote_writer: Sender<VoteWrite>,
    pub(super) outbox: Outbox,
    pub(super) forwarder: Forwarder,
    pub(super) fetches: Fetches,
    pub(super) audits: Audits,
    /// When blocks were executed that are not certified yet.
    pub(super) executed_at: BTreeMap<Height, Instant>,
}

impl Performer {
    /// Who went away without waiting for an answer of the replica.
    pub(super) fn take_gone(&self) -> Option<Input> {
        self.handle.take_gone()
    }

    /// Does one thing.
    ///
    /// # Errors
    /// The replica's fault, or that a thread has ended.
    pub(super) fn perform(&mut self, output: Output) -> Result<(), Fault> {
        match output {
            Output::Send { to, message } => self.outbox.send(to, message),
            Output::WriteLog(write) => self.log_writer.send(write).map_err(|_| Fault::Stopped("log writer"))?,
            Output::WriteVote(write) => self.vote_writer.send(write).map_err(|_| Fault::Stopped("vote writer"))?,
            Output::Check { position, entry } => {
                let job = VerifyJob::Entry(position, entry);
                self.handle.verify(job).map_err(|Stopping| Fault::Stopped("verifier"))?;
            }
            Output::Forward { call, to, transactions } => self.forwarder.forward(call, to, transactions),
            Output::Fetch { call, from, first } => self.fetches.start(call, from, first),
            Output::StopFetch(call) => self.fetches.stop(call),
            Output::FetchAttachments { call, from, slots } => self.fetches.attachments(call, from, slots),
            Output::Audit(run) => self.audits.look(run),
            Output::Answer { request, result } => self.handle.answer(request, result),
            Output::ForwardedAnswer { request, results } => self.handle.answer_forwarded(request, results),
            Output::ReadAnswer { request, ready } => self.handle.answer_read(request, ready),
            Output::TransferAnswer { request, result } => self.handle.answer_transfer(request, result),
            Output::Executed(block) => self.executed(&block)?,
            Output::Applied(applied) => self.published.set_applied(applied),
            Output::Certified(certified) => {
                self.certified(&certified.header);
                self.published.set_certified(certified, now_ms());
            }
            Output::Topology(topology) => self.published.topology().set(topology),
            Output::Leader(leader) => self.published.set_leader(leader),
            Output::Status(status) => self.status(*status),
            Output::Raise(alarm) => self.raise(&alarm),
            Output::Clear(alarm) => self.alarms.clear(alarm.as_str()),
            Output::Notice(notice) => log(&notice),
            // The replica's thread goes on by itself.
            Output::Continue | Output::TurnIn { .. } => {}
            Output::Halt(fault) => return Err(self.halted(fault)),
        }
        Ok(())
    }

    /// Requests for keys that wait for the own custodian: of the own records, and of those that it
    /// keeps for members that have left.
    fn waiting_for_keys(&self) -> Result<u64, Fault> {
        let own = self.member.as_str();
        let duties: Option<CustodyDutiesState> = self.ledger.state(&keys::custody_duties(own))?;
        let kept = duties.map(|duties| duties.keeper_of).unwrap_or_default();
        let mut waiting = 0_u64;
        for member in std::iter::once(own).chain(kept.iter().map(String::as_str)) {
            let work: Option<CustodyWorkState> = self.ledger.state(&keys::custody_work(member))?;
            waiting = waiting.saturating_add(work.map_or(0, |work| work.open));
        }
        Ok(waiting)
    }

    /// A block that changed a member holds from now on: handshakes are judged by it
    /// before anybody hears of the block.
    fn executed(&mut self, block: &ExecutedBlock) -> Result<(), Fault> {
        let height = block.header.height;
        if block.votable {
            self.executed_at.insert(height, Instant::now());
        }
        metrics::counter!("consilium_transactions_total").increment(block.leaves.len() as u64);
        metrics::gauge!("consilium_applied_height").set(height.0 as f64);
        metrics::gauge!("consilium_wrap_requests_waiting").set(self.waiting_for_keys()? as f64);
        let executed = Instant::now();
        let changed: Vec<_> = block.events.changed_members().collect();
        if changed.is_empty() {
            return Ok(());
        }
        let fallen = changed.iter().filter(|m| m.status != MemberStatus::Active as i32 && self.trust.is_active(&m.id));
        let fallen = fallen.filter_map(|member| member.id.parse::<MemberId>().ok());
        // By name, here and now: nothing that others keep busy stands between a block and the cut.
        let fallen: Vec<_> = fallen.map(|member| (self.connections.cut_member(&member), member)).collect();
        self.trust.reload(&self.ledger, height)?;
        for (closed, member) in fallen {
            // Those whose handshake was under way meanwhile.
            let closed = closed + self.connections.cut_member(&member);
            self.cuts.cut(member.as_str(), (height, executed), closed);
        }
        Ok(())
    }

    fn certified(&mut self, header: &Header) {
        let height = header.height;
        let age_ms = now_ms().0.saturating_sub(header.time.0);
        metrics::histogram!("consilium_block_reach_seconds").record(age_ms as f64 / 1_000.0);
        let pending = self.executed_at.split_off(&height.next());
        for at in std::mem::replace(&mut self.executed_at, pending).into_values() {
            record_seconds("consilium_certify_seconds", at);
        }
        metrics::gauge!("consilium_certified_height").set(height.0 as f64);
        self.cuts.certified(height);
    }

    fn status(&self, status: Status) {
        let raft = &status.raft;
        let leads = raft.role == consilium_consensus::Role::Leader;
        metrics::gauge!("consilium_raft_term").set(raft.term.0 as f64);
        metrics::gauge!("consilium_raft_is_leader").set(f64::from(u8::from(leads)));
        metrics::gauge!("consilium_raft_commit_index").set(raft.commit.0 as f64);
        metrics::gauge!("consilium_queued_transactions").set(status.queued as f64);
        metrics::gauge!("consilium_clock_ahead_seconds").set(status.skew.map_or(0.0, |s| s.ahead_ms as f64 / 1_000.0));
        self.published.set_status(status);
    }

    fn raise(&self, alarm: &Alarm) {
        if let Alarm::StateDiverged { .. } = alarm {
            self.published.quarantine();
        }
        self.alarms.raise(alarm.name().as_str(), alarm.to_string());
    }

    fn halted(&self, fault: ReplicaFault) -> Fault {
        if let ReplicaFault::Diverged { .. } = fault {
            self.published.quarantine();
        }
        fault.into()
    }
}

/// For the operator's log, and what is counted.
fn log(notice: &Notice) {
    if let Notice::Proposed { transactions, .. } = notice {
        metrics::histogram!("consilium_block_transactions").record(*transactions as f64);
    }
    if let Some(counter) = notice.counter() {
        metrics::counter!(counter).increment(1);
    }
    match notice.severity() {
        Severity::Debug => tracing::debug!(target: "consilium_node::replica", "{notice}"),
        Severity::Info => tracing::info!(target: "consilium_node::replica", "{notice}"),
        Severity::Warning => tracing::warn!(target: "consilium_node::replica", "{notice}"),
        Severity::Error => tracing::error!(target: "consilium_node::replica", "{notice}"),
    }
}
