//! Which part of the replica hears what.

use std::ops::RangeInclusive;

use consilium_consensus::voting::Clock;
use consilium_consensus::{
    Judge, LogReader, Mandate, MandateError, Origin, Reject, Role, SealedPosition, StepError, Term,
};
use consilium_proto::ids::{Epoch, NodeId, TimeMs};

use super::Replica;
use crate::alarm::{Alarm, AlarmName};
use crate::block::{LATE_MS, judge};
use crate::catch_up::{Here, note_lost};
use crate::certify::CertifyInput;
use crate::disk::Written;
use crate::electors::changes_from;
use crate::fault::Fault;
use crate::io::{Input, Output};
use crate::notice::Notice;
use crate::order::leading::{Progress, candidates, desired, hand_over};
use crate::order::split::Seen;
use crate::peer::PeerMessage;
use crate::ports::{Ledger, PortFault};
use crate::rations::Verdict;

/// Ticks between looks at certificates and the length of the log.
const HEALTH_TICKS: u64 = 10;
/// Votes of others that are taken from one batch of a peer.
const RELAYED_MAX: usize = 64;
/// A node that did not look for so long did not hear its leader all the while.
const SLEPT_MS: u64 = 2_000;

impl<L: Ledger, R: LogReader> Replica<L, R> {
    pub(super) fn input(&mut self, input: Input) -> Result<(), Fault> {
        match input {
            Input::Tick => self.tick()?,
            Input::Peer { from, messages } => self.peer(from, messages)?,
            Input::Submit { request, submission, wait_for, deadline_ms } => {
                self.submit(submission, (request, wait_for, deadline_ms))?;
            }
            Input::Gone(requests) => self.waiters.leave(requests),
            Input::Forwarded { request, submissions } => self.forwarded(request, submissions)?,
            Input::ForwardAnswer { call, results } => self.forward_answered(call, &results),
            Input::Checked { position, block } => self.entries.checked(position, block),
            Input::Written(written) => self.written(written)?,
            Input::Read { request, context } => self.reads.wait(request, context, &mut self.out),
            Input::Transfer { request, to } => {
                let result = self.core.transfer_leadership(to);
                self.out.push(Output::TransferAnswer { request, result });
            }
            Input::RequestTimeBlock(after) => self.proposing.want_time(after, *self.block_times().end()),
            Input::Fetched { call, block } => self.catch_up.fetched(call, *block, self.now.monotonic_ms),
            Input::FetchEnded { call, problem } => self.catch_up.ended(call, problem),
            Input::AttachmentsFetched { call, contents } => {
                let (ledger, now_ms) = (self.executor.ledger(), self.now.monotonic_ms);
                self.attachments.fetched(ledger, call, contents, now_ms, &mut self.out)?;
            }
            Input::Audited { run, audited } => {
                self.audit.audited(run, (audited.upto, audited.bytes), self.now.monotonic_ms);
                note_lost(self.executor.ledger(), &audited.missing, &mut self.out)?;
            }
            Input::AttachmentMissed(height) => self.audit.want(height),
            Input::Unreachable(peer) => {
                if let Some(peer) = raft_id(peer) {
                    self.core.report_unreachable(peer);
                }
            }
            Input::Stop => self.stop(),
            Input::Continue => self.continuing = false,
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Fault> {
        let now_ms = self.now.monotonic_ms;
        if !self.recall.is_silent() {
            self.core.tick();
        }
        self.look_back();
        self.rounds.flush(&mut self.out);
        self.ticks += 1;
        self.certifier.tick();
        let progress = Progress {
            topology: &self.topology,
            applied: self.executor.height(),
            certified: self.certifier.certified(),
        };
        self.leading.step(&mut self.core, &progress, self.stopping, &mut self.out);
        if self.core.role() == Role::Leader && self.electors.is_outdated(self.core.mandate()) {
            self.core.renew_mandate();
        }
        if self.ticks.is_multiple_of(HEALTH_TICKS) {
            self.look_after()?;
        }
        let ledger_time = self.executor.applied().time;
        self.waiters.expire(now_ms, ledger_time, &mut self.out);
        self.rights.expire(ledger_time);
        for checked in self.forwarding.due(now_ms) {
            let id = &checked.transaction.id;
            if self.waiters.is_awaited(id) || self.rights.is_watched(id) {
                self.order(checked)?;
            }
        }
        self.catch_up.tick(now_ms, self.settings.fetch_timeout_ms, &mut self.out);
        self.look_after_attachments()?;
        let status = Box::new(self.status());
        self.out.push(Output::Status(status));
        Ok(())
    }

    fn look_after_attachments(&mut self) -> Result<(), PortFault> {
        let here = Here {
            ledger: self.executor.ledger(),
            peers: self.topology.others(self.me).collect(),
            now_ms: self.now.monotonic_ms,
            patience_ms: self.settings.fetch_timeout_ms,
        };
        self.attachments.tick(&here, &mut self.calls, &mut self.out)?;
        let pace = (self.now.monotonic_ms, self.settings.audit_ms);
        self.audit.tick(self.certifier.certified(), pace, &mut self.out);
        Ok(())
    }

    fn look_after(&mut self) -> Result<(), PortFault> {
        let (applied, certified) = (self.executor.height(), self.certifier.certified());
        let now_ms = self.now.monotonic_ms;
        self.tell_clock();
        if self.recall.is_silent() {
            return Ok(());
        }
        self.core.tell_head();
        self.watch_behind();
        self.oversight.watch_leader(&mut self.core, certified, now_ms);
        self.oversight.watch_certificates(&mut self.core, (applied, certified), now_ms, &mut self.out);
        let elected = desired(&Progress { topology: &self.topology, applied, certified }).map(|desired| desired.voters);
        self.splits.look(now_ms, &mut self.out);
        self.oversight.watch_voters(elected.as_ref(), self.core.membership(), now_ms, &mut self.out);
        let validators = self.topology.validators();
        let unheard = self.clocks.unheard(self.me, validators);
        self.oversight.watch_quorum(&mut self.core, validators, unheard, now_ms, &mut self.out);
        self.watch_rights()?;
        self.watch_log();
        self.oversight.compact(&mut self.core, self.executor.ledger(), certified, &mut self.out)
    }

    /// A log that is slow is told; a leader whose log is slower than those of the others hands
    /// over to one of them.
    fn watch_log(&mut self) {
        let now_ms = self.now.monotonic_ms;
        self.out.push(match self.log_pace.slow(now_ms) {
            Some(slow) => Output::Raise(Alarm::SlowLog(slow)),
            None => Output::Clear(AlarmName::SlowLog),
        });
        if self.core.role() != Role::Leader {
            return;
        }
        let candidates = candidates(&self.core.status(), &self.topology.elected());
        if let Some(to) = self.log_pace.hand_over_to(&candidates, now_ms) {
            self.log_pace.handed_over(now_ms);
            self.out.push(Output::Notice(Notice::LogIsSlow(to)));
            hand_over(&mut self.core, Some(to), &mut self.out);
        }
    }

    /// Times that a block may have that comes now, and that nobody else has yet: rights begin
    /// and end by the time of blocks, so a leader may no more date them back than ahead. What
    /// came late for another reason must not look like that: a block counts as dated back only
    /// if this node heard its leader all the while, and is sure of its own clock.
    pub(super) fn block_times(&self) -> RangeInclusive<TimeMs> {
        let (wall, tolerance_ms) = (self.now.wall.0, self.topology.parameters().clock_skew_max_ms);
        let late_ms = tolerance_ms.saturating_add(LATE_MS);
        let judged = self.clocks.is_confirmed() && self.oversight.followed_ms(self.now.monotonic_ms) > late_ms;
        let earliest = if judged { wall.saturating_sub(late_ms) } else { 0 };
        TimeMs(earliest)..=TimeMs(wall.saturating_add(tolerance_ms))
    }

    /// Takes the time, and compares this node's clock with the others'.
    pub(super) fn see(&mut self, now: Clock) {
        let tolerance_ms = self.topology.parameters().clock_skew_max_ms;
        let before = self.clocks.skew().is_some();
        if now.monotonic_ms.saturating_sub(self.now.monotonic_ms) > SLEPT_MS {
            self.oversight.slept(now.monotonic_ms);
        }
        self.clocks.look(self.me, self.topology.validators(), tolerance_ms, now);
        let apart = self.clocks.skew().is_some();
        self.core.set_may_lead(!apart);
        if apart != before {
            self.tell_of_skew();
        }
        (self.now, self.shown) = (self.clocks.right(now), now.wall);
    }

    /// Tells the others what the clock shows, and acts on what theirs do.
    fn tell_clock(&mut self) {
        let message = PeerMessage::WallClock(self.shown);
        self.out.extend(self.topology.others(self.me).map(|to| Output::Send { to, message: message.clone() }));
        self.tell_of_skew();
        if self.clocks.skew().is_some() && self.core.role() == Role::Leader {
            hand_over(&mut self.core, None, &mut self.out);
        }
    }

    fn tell_of_skew(&mut self) {
        self.out.push(match self.clocks.skew() {
            Some(skew) => Output::Raise(Alarm::ClockApart(skew)),
            None => Output::Clear(AlarmName::ClockApart),
        });
    }

    /// Messages of a peer that may speak here; who may is also for the transport to
    /// judge, by certificates.
    fn peer(&mut self, from: NodeId, messages: Vec<PeerMessage>) -> Result<(), Fault> {
        let mut relayed = 0;
        for message in messages {
            if let Verdict::Dropped { tell } = self.rations.take(from, &message, self.now.monotonic_ms) {
                self.out.extend(tell.then_some(Output::Notice(Notice::PeerRationed(from))));
                continue;
            }
            match message {
                PeerMessage::Raft(bytes) => self.step(from, bytes),
                PeerMessage::Vote(vote) if vote.validator == from => {
                    self.certifier.push(CertifyInput::Vote { from, vote });
                }
                PeerMessage::Vote(vote) => {
                    let notice = Notice::ForeignVote { peer: from, validator: vote.validator };
                    self.out.push(Output::Notice(notice));
                }
                // Signatures tell whose they are.
                PeerMessage::RelayedVote(vote) => {
                    relayed += 1;
                    if relayed <= RELAYED_MAX {
                        self.certifier.push(CertifyInput::Vote { from, vote });
                    }
                }
                PeerMessage::Certified(certified) => self.certifier.push(CertifyInput::Certificate(certified)),
                PeerMessage::UncertifiedFrom(height) => {
                    self.certifier.push(CertifyInput::UncertifiedFrom { peer: from, height });
                }
                PeerMessage::WallClock(wall) => self.clocks.hear(from, wall, self.now),
                PeerMessage::Mandate(mandate) => self.take_mandate(from, *mandate),
                PeerMessage::MandateWanted { term, epoch } => self.prove_mandate(from, term, epoch)?,
                PeerMessage::SetChange(change) => {
                    self.electors.change(self.ledger_id, &change);
                    self.follow_electors()?;
                    self.be_recalled();
                }
                PeerMessage::Sealed(sealed) => self.compare(from, *sealed),
                PeerMessage::Recall(epoch) => self.recollect(from, epoch)?,
                PeerMessage::Recollection(told) => {
                    self.recall.hear(from, *told, self.certifier.voting().guard())?;
                    self.be_recalled();
                }
            }
        }
        Ok(())
    }

    pub(super) fn follow_electors(&mut self) -> Result<(), PortFault> {
        let (ledger, certified) = (self.executor.ledger(), self.certifier.certified());
        self.electors.follow(&mut self.core, ledger, &self.topology, certified)
    }

    /// Tells everybody that this node was elected, before anything else.
    pub(super) fn show_mandate(&mut self) {
        if let Some(mandate) = self.core.mandate() {
            let message = PeerMessage::Mandate(Box::new(mandate.clone()));
            self.out.extend(self.topology.others(self.me).map(|to| Output::Send { to, message: message.clone() }));
        }
    }

    fn take_mandate(&mut self, from: NodeId, mandate: Mandate) {
        let Err(error) = self.core.take_mandate(mandate) else { return };
        self.out.push(Output::Notice(match error {
            MandateError::UnknownValidators | MandateError::Stale(_) => {
                Notice::RaftIgnored { peer: from, problem: error.to_string() }
            }
            MandateError::NoQuorum | MandateError::TermRange(_) | MandateError::Contradicts { .. } => {
                Notice::MandateRefused { peer: from, problem: error }
            }
        }));
        if error == MandateError::UnknownValidators {
            self.want_mandate(from, self.core.term());
        }
    }

    fn want_mandate(&mut self, from: NodeId, term: Term) {
        if self.electors.may_ask(from, self.ticks) {
            let message = PeerMessage::MandateWanted { term, epoch: self.electors.newest_epoch() };
            self.out.push(Output::Send { to: from, message });
        }
    }

    /// Shows a peer that this node leads, and whose grants that rests on.
    fn prove_mandate(&mut self, from: NodeId, term: Term, epoch: Epoch) -> Result<(), PortFault> {
        let own = |mandate: &&Mandate| mandate.candidacy.candidate.get() == self.me.0;
        let Some(mandate) = self.core.mandate().filter(own).filter(|mandate| mandate.candidacy.term >= term) else {
            return Ok(());
        };
        if !self.electors.may_answer(from, self.ticks) {
            return Ok(());
        }
        let mandate = PeerMessage::Mandate(Box::new(mandate.clone()));
        let changes = changes_from(self.executor.ledger(), epoch)?.into_iter();
        let changes = changes.map(|change| PeerMessage::SetChange(Box::new(change)));
        self.out.extend(changes.chain([mandate]).map(|message| Output::Send { to: from, message }));
        Ok(())
    }

    fn step(&mut self, from: NodeId, bytes: bytes::Bytes) {
        let Some(peer) = raft_id(from) else { return };
        let deaf = if self.recall.is_silent() {
            Some("this node was not told yet what it had promised")
        } else if !self.rounds.has_room_for(bytes.len()) {
            Some("too many entries wait for the disk")
        } else {
            None
        };
        if let Some(problem) = deaf {
            let problem = problem.to_owned();
            return self.out.push(Output::Notice(Notice::RaftIgnored { peer: from, problem }));
        }
        let standards = Standards { times: self.block_times() };
        let error = match self.core.step(peer, bytes, &standards) {
            Ok(()) => return,
            Err(error) => error,
        };
        let now_ms = self.now.monotonic_ms;
        let StepError::Rejected { peer, reject } = error else {
            return self.out.push(Output::Notice(Notice::RaftIgnored { peer: from, problem: error.to_string() }));
        };
        // What had waited may be another's.
        let from = NodeId(peer.get());
        let text = reject.to_string();
        self.out.push(Output::Notice(match reject.is_usual() {
            true => Notice::RaftIgnored { peer: from, problem: text },
            false => Notice::RaftRejected { peer: from, reject: text },
        }));
        let lies = match reject {
            Reject::NoMandate { term, .. } => return self.want_mandate(from, term),
            Reject::Unfit { .. } | Reject::Unsealed { .. } => true,
            Reject::Split { index, term } => {
                let leader = self.core.leader().filter(|_| term == self.core.term());
                let (leader, own) = (leader.map(|leader| NodeId(leader.get())), self.core.sealed_at(index));
                let (seen, others) = (Seen { index, term, peer: from, leader, own }, self.topology.others(self.me));
                self.splits.note(seen, others, now_ms, &mut self.out)
            }
            _ => false,
        };
        if lies {
            self.oversight.refuse_leader(&mut self.core, now_ms, &mut self.out);
        }
    }

    /// What a peer has at an index, as its leader sealed it.
    fn compare(&mut self, from: NodeId, told: SealedPosition) {
        let now_ms = self.now.monotonic_ms;
        let key = self.topology.peer(NodeId(told.seal.leader.get())).map(|node| &node.vote_key);
        let own = self.core.sealed_at(told.position.index);
        let liar = self.splits.compare(own, (from, told), (&self.ledger_id, key), now_ms, &mut self.out);
        if liar.is_some() && self.core.leader().map(|leader| NodeId(leader.get())) == liar {
            self.oversight.refuse_leader(&mut self.core, now_ms, &mut self.out);
        }
    }

    fn written(&mut self, written: Written) -> Result<(), Fault> {
        match written {
            Written::Log(seq) => {
                self.log_pace.written(seq, self.now.monotonic_ms);
                self.core.persisted(seq)?;
                // The report goes first: an answer to one of the messages must not be
                // looked at before the core knows that the write is durable.
                self.rounds.written(seq).into_iter().for_each(|message| self.send_raft(message));
            }
            Written::Compacted(_) => self.oversight.compacted(),
            Written::Vote => self.certifier.written(&mut self.out)?,
        }
        Ok(())
    }

    pub(super) fn send_raft(&mut self, message: consilium_consensus::Outbound) {
        let message_to = NodeId(message.to.get());
        self.out.push(Output::Send { to: message_to, message: PeerMessage::Raft(message.bytes) });
    }

    fn stop(&mut self) {
        self.stopping = true;
        if self.core.role() == Role::Leader {
            hand_over(&mut self.core, None, &mut self.out);
        }
    }
}

/// What an entry is held to before it is acknowledged.
struct Standards {
    /// When a block may be of that comes in time.
    times: RangeInclusive<TimeMs>,
}

impl Judge for Standards {
    fn command(&self, command: &[u8], origin: Origin) -> Result<(), &'static str> {
        let in_time = origin.proposer.is_some() && !origin.held;
        let earliest = if in_time { *self.times.start() } else { TimeMs(0) };
        judge(command, &(earliest..=*self.times.end()), origin.proposer.map(|proposer| NodeId(proposer.get())))
    }
}

/// Zero is nobody.
pub(super) fn raft_id(node: NodeId) -> Option<consilium_consensus::RaftId> {
    consilium_consensus::RaftId::new(node.0)
}
