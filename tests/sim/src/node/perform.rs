//! Does what the replica asks for, over a virtual network and disk, and tells the
//! oracle of it.

use consilium_consensus::Role;
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::transaction::Transaction;
use consilium_replica::alarm::Alarm;
use consilium_replica::block::CheckedBlock;
use consilium_replica::notice::Notice;
use consilium_replica::peer::PeerMessage;
use consilium_replica::submission::{Located, Refused};
use consilium_replica::{CallId, ExecutedBlock, Fault, Input, Output, RequestId, Status};
use prost::Message;

use super::{Asker, Node};
use crate::bugs::Bug;
use crate::env::{Env, Halt};
use crate::event::{Packet, Timer};
use crate::host::Host;

/// What is counted when a node says that the log is split.
pub const SPLIT_SEEN: &str = "looks at a split log";
/// How long a call to the leader takes at most.
const CALL_MS: u64 = 600;

impl Node {
    pub(super) fn perform(&mut self, host: &mut Host, env: &mut Env, output: Output) -> Result<(), Halt> {
        match output {
            Output::Send { to, message } => self.send(host, env, to, message),
            Output::WriteLog(write) => self.write_log(host, env, write)?,
            Output::WriteVote(write) => self.write_for_vote(host, env, write),
            Output::Check { position, entry } => {
                self.checks.push_back((position, entry));
                let time = env.rng.below(4);
                host.timer(env, time, Timer::Verifier);
            }
            Output::Forward { call, to, transactions } => self.forward(host, env, (call, to), &transactions),
            Output::Fetch { call, from, first } => host.send(env, from, Packet::FetchBlocks { first, call }),
            Output::FetchAttachments { call, from, slots } => {
                host.send(env, from, Packet::FetchAttachments { slots, call });
            }
            Output::Audit(run) => host.timer(env, 1, Timer::Audit(run)),
            Output::Answer { request, result } => self.answer(host, env, request, result)?,
            Output::ForwardedAnswer { request, results } => {
                if let Some(Asker::Forwarder(to, call)) = self.askers.remove(&request) {
                    let results = crate::byzantine::tamper_answer(host, results);
                    host.send(env, to, Packet::ForwardAnswer { call, results });
                }
            }
            Output::ReadAnswer { request, ready } => self.read_answer(host, env, request, ready),
            Output::Executed(block) => self.executed(host, env, &block),
            Output::Certified(certified) => self.certified_header(host, env, &certified),
            Output::Topology(topology) => {
                for node in topology.nodes().filter(|_| host.honest()) {
                    env.oracle.named(node.id, node.vote_key.raw());
                }
            }
            Output::Leader(leader) => self.leader_changed |= leader.is_some(),
            Output::Status(status) => self.tell_status(host, env, *status),
            Output::Raise(alarm) => raised(env, alarm),
            Output::Notice(notice) => self.notice(host, env, &notice),
            Output::Continue => self.push(host, env, Input::Continue),
            Output::TurnIn { ms } => host.timer(env, ms, Timer::Turn),
            Output::Halt(fault) => return Err(halt(host, fault)),
            Output::StopFetch(_) | Output::Applied(_) | Output::Clear(_) | Output::TransferAnswer { .. } => {}
        }
        Ok(())
    }

    fn send(&mut self, host: &mut Host, env: &mut Env, to: NodeId, message: PeerMessage) {
        if let PeerMessage::Vote(vote) = &message {
            if host.honest() {
                env.oracle.vote_sent(vote, host.disk.guard.durable().unwrap_or_default());
            } else if let Some(instead) = crate::byzantine::tamper_vote(host, env, vote) {
                return instead.into_iter().for_each(|vote| host.say(env, to, PeerMessage::Vote(vote)));
            }
            super::bug_wiring::sent(self, env, vote);
        }
        let message = if host.honest() { message } else { crate::byzantine::misremember(message) };
        host.say(env, to, message);
    }

    /// A verifier has time: decodes an entry and looks at its signatures.
    pub(super) fn check_next(&mut self, host: &Host, env: &mut Env) {
        let Some((position, entry)) = self.checks.pop_front() else { return };
        let malformed = || {
            let proposal = pb::BlockProposal::decode(entry.clone()).ok()?;
            consilium_proto::observed::Observed::of_proposal(&proposal).err()
        };
        // The bug, on every second node: what cannot be read in part counts for nothing.
        let void = env.has(Bug::VoidBlocks) && host.node.0.is_multiple_of(2) && malformed().is_some();
        let block = CheckedBlock::decode(entry.clone(), env.fixture.genesis.ledger_id).filter(|_| !void);
        let block = block.map(|mut block| {
            let ledger = host.disk.ledger_port();
            for checked in &mut block.transactions {
                env.verify(&ledger, checked);
            }
            block
        });
        self.push(host, env, Input::Checked { position, block });
    }

    fn forward(&mut self, host: &Host, env: &mut Env, (call, to): (CallId, NodeId), transactions: &[Transaction]) {
        if env.has(Bug::LostWithLeadership) && self.leader_changed {
            // The bug: what was to be sent again is lost.
            let results = vec![ForwardResult::Queued; transactions.len()];
            self.push(host, env, Input::ForwardAnswer { call, results });
            return;
        }
        self.calls.insert(call);
        host.timer(env, CALL_MS, Timer::Call(call));
        let transactions = transactions.iter().map(Transaction::to_wire).collect();
        host.send(env, to, Packet::Forward { call, transactions });
    }

    fn read_answer(&mut self, host: &Host, env: &mut Env, request: RequestId, ready: bool) {
        let Some(Asker::Reader(told)) = self.askers.remove(&request).filter(|_| ready) else { return };
        env.stats.count("reads answered");
        if host.honest() {
            env.oracle.read(host.node, told, self.height());
        }
    }

    fn tell_status(&mut self, host: &Host, env: &mut Env, status: Status) {
        self.status = status;
        if host.honest() {
            env.oracle.status(&self.status.raft);
            env.oracle.queues(host.node, &self.status, (env.swarm.queued_max, env.swarm.members));
            self.show_committed(host, env);
        }
    }

    /// Shows the oracle what was committed since the last time, of every kind: empty
    /// entries and memberships split a log as blocks do. What was taken over from
    /// peers is not in the log.
    fn show_committed(&mut self, host: &Host, env: &mut Env) {
        let log = host.disk.log.borrow();
        while self.shown < self.status.raft.applied {
            self.shown = self.shown.next();
            if let Ok(entry) = log.entry(self.shown) {
                env.oracle.committed(host.node, &entry);
            }
        }
    }

    fn answer(
        &mut self,
        host: &Host,
        env: &mut Env,
        request: RequestId,
        result: Result<Located, Refused>,
    ) -> Result<(), Halt> {
        let Some(Asker::Client(id, reader)) = self.askers.remove(&request) else { return Ok(()) };
        match result {
            Ok(located) => {
                if let Some(author) = reader {
                    self.release(host, env, (id, author), located.outcome)?;
                }
                if host.honest() {
                    env.oracle.acknowledged(id, located.height, located.outcome as i32);
                    env.served(id);
                }
            }
            Err(Refused::Overloaded) => env.stats.count("transactions turned away"),
            Err(Refused::TimedOut) if host.honest() => env.late(host.node),
            Err(Refused::OverQuota { .. }) => env.stats.count("requests over a quota"),
            Err(Refused::Expired | Refused::BadSignature | Refused::UnknownAuthor | Refused::TimedOut) => {}
        }
        Ok(())
    }

    fn executed(&mut self, host: &mut Host, env: &mut Env, block: &ExecutedBlock) {
        let ExecutedBlock { header, position, leaves, events, .. } = block;
        env.note(format_args!("{} executed {} with {} leaves", host.machine, header.height, leaves.len()));
        env.stats.count("blocks executed");
        env.stats.add("transactions executed", leaves.len() as u64);
        for (_, leaf) in leaves {
            env.stats.count(outcome_name(leaf.outcome));
        }
        if host.honest()
            && let Ok(entry) = host.disk.log.borrow().entry(position.index)
            && entry.position() == *position
        {
            env.oracle.meaning(host.node, &entry, true);
        }
        if events.next_set().is_some() && header.height > self.certified() {
            self.boundaries.insert(header.height);
            self.tell_boundary(host, env);
        }
        super::bug_wiring::executed(self, host, env, header, events.next_set());
    }

    fn certified_header(&mut self, host: &Host, env: &mut Env, certified: &consilium_proto::vote::CertifiedHeader) {
        let height = certified.header.height;
        self.boundaries = self.boundaries.split_off(&height.next());
        self.bugs.forget(height);
        self.tell_boundary(host, env);
        env.note(format_args!("{} certified {height}", host.machine));
        env.stats.count("certificates");
        if host.honest() {
            let next = host.disk.ledger.borrow().next_set_of(&certified.header);
            if next.is_some() {
                env.stats.count("epoch ends certified");
            }
            let now = env.true_time();
            env.oracle.certified(certified, next.as_ref(), now);
        }
    }

    fn tell_boundary(&self, host: &Host, env: &mut Env) {
        if host.honest() {
            env.oracle.boundary(host.node, self.boundaries.first().copied());
        }
    }

    /// What was written since the last turn.
    pub(super) fn tell_oracle(&mut self, host: &Host, env: &mut Env) {
        let written = std::mem::take(&mut *self.replica.ledger().observed.borrow_mut());
        if !host.honest() {
            return;
        }
        written.iter().for_each(|observation| env.oracle.executed(host.node, observation));
    }

    fn notice(&mut self, host: &Host, env: &mut Env, notice: &Notice) {
        match notice {
            // Its text has signatures, which are never the same.
            Notice::SplitProven(_) => env.note(format_args!("{}: a split is proven", host.machine)),
            _ => env.note(format_args!("{}: {notice}", host.machine)),
        }
        env.stats.count(name_of(notice));
        self.distrust_forever(env, notice);
        if let Notice::MembershipChanged { membership, .. } = notice
            && env.has(Bug::MembershipApart)
        {
            (**membership).clone_into(&mut host.disk.apart.borrow_mut());
        }
        if let Notice::Leadership { term, role: Role::Leader, .. } = notice {
            env.oracle.elected(*term, host.node);
        }
        if host.honest() {
            tell_notice(host, env, notice);
        } else if let Notice::Leadership { role, .. } = notice {
            env.traitor_leads(*role == Role::Leader);
        }
    }

    /// The bug: a leader that is distrusted is so for the rest of its term.
    fn distrust_forever(&mut self, env: &Env, notice: &Notice) {
        if let Notice::LeaderDistrusted(leader) = notice
            && env.has(Bug::DistrustForever)
        {
            self.distrusted = Some((NodeId(leader.get()), self.status.raft.term));
        } else if let Notice::Leadership { term, .. } = notice {
            self.distrusted = self.distrusted.filter(|(_, distrusted)| distrusted >= term);
        }
    }
}

/// What the oracle hears of an honest node's notices.
fn tell_notice(host: &Host, env: &mut Env, notice: &Notice) {
    if let Notice::Leadership { term, role: Role::Leader, .. } = notice {
        env.oracle.leads(*term, host.node);
    } else if let Notice::Leadership { term, leader: Some(leader), .. } = notice {
        env.oracle.follows(host.node, *term, NodeId(leader.get()));
    } else if let Notice::MembershipChanged { index, membership } = notice {
        env.oracle.membership(host.node, *index, membership);
    } else if let Notice::MembershipRefused(reason) = notice {
        env.oracle.membership_refused(host.node, reason);
    } else if let Notice::EntryIsNoBlock(index) = notice
        && let Ok(entry) = host.disk.log.borrow().entry(*index)
    {
        env.oracle.meaning(host.node, &entry, false);
    }
}

fn raised(env: &mut Env, alarm: Alarm) {
    match alarm {
        Alarm::Equivocation(evidence) => {
            let culprit = evidence.validator();
            env.stats.count("evidence found");
            if !env.is_traitor(culprit) && env.bug.is_none() {
                env.oracle.fail("I9 vote guard", format!("there is evidence against the honest {culprit}"));
            }
        }
        Alarm::ClockApart(_) => env.stats.count("looks at a clock that is apart"),
        Alarm::NoQuorum { .. } => env.stats.count("looks at a network without a leader"),
        Alarm::SeatsWithoutVote(_) => env.stats.count("looks at a seat without a vote"),
        Alarm::LogSplit(split) => {
            env.stats.count(SPLIT_SEEN);
            if env.traitors.is_empty() && env.bug.is_none() {
                env.oracle.fail("I12 log matching", format!("without a traitor the log is split: {split:?}"));
            }
        }
        Alarm::AttachmentsMissing { .. } => env.stats.count("looks at attachments that nobody has"),
        Alarm::SlowLog(_) => env.stats.count("looks at a slow log"),
        Alarm::CertificatesStalled { .. } | Alarm::NodeRetired(_) | Alarm::StateDiverged { .. } => {}
    }
}

fn halt(host: &Host, fault: Fault) -> Halt {
    match (host.disk.tripwire.borrow_mut().tripped.take(), fault) {
        (Some(point), _) => Halt::Crash(point),
        (None, fault @ Fault::Diverged { .. }) => Halt::Diverged(fault.to_string()),
        (None, Fault::VoteForgotten(_)) => Halt::Forgot,
        (None, fault) => Halt::Fault(fault.to_string()),
    }
}

fn outcome_name(outcome: pb::Outcome) -> &'static str {
    if outcome == pb::Outcome::Applied { "transactions applied" } else { "transactions refused" }
}

/// What a notice is counted as.
fn name_of(notice: &Notice) -> &'static str {
    match notice {
        Notice::Leadership { role: Role::Leader, .. } => "elections won",
        Notice::Leadership { .. } => "changes of leadership",
        Notice::RaftRejected { .. } => "raft messages refused",
        Notice::MandateRefused { .. } => "mandates refused",
        Notice::RaftIgnored { .. } => "raft messages ignored",
        Notice::ForeignVote { .. } => "foreign votes",
        Notice::Proposed { .. } => "blocks proposed",
        Notice::NotProposed(_) => "proposals not taken",
        Notice::MembershipProposed(_) => "membership changes proposed",
        Notice::MembershipNotProposed(_) => "membership changes not proposed",
        Notice::MembershipChanged { .. } => "membership changes applied",
        Notice::MembershipRefused(_) => "membership changes refused",
        Notice::HandingOver(_) => "hand-overs",
        Notice::Rotating(_) => "rotations",
        Notice::LogIsSlow(_) => "hand-overs for a slow log",
        Notice::NotHandedOver(_) => "hand-overs refused",
        Notice::LeaderDistrusted(_) => "leaders distrusted",
        Notice::LeaderTrusted => "leaders trusted again",
        Notice::RightLeftOut { .. } => "rights found left out",
        Notice::EntryIsNoBlock(_) => "entries that are no block",
        Notice::CompactionNotTaken(_) => "compactions not taken",
        Notice::CatchingUp { .. } => "snapshots offered",
        Notice::CaughtUp(_) => "certified blocks taken over",
        Notice::NotCaughtUp(_) => "catching up failed",
        Notice::SnapshotNotOffered(_) => "snapshots not offered",
        Notice::Recalled { vote: Some(_), .. } => "votes told again",
        Notice::Recalled { owed: Some(_), .. } => "logs to be restored",
        Notice::Recalled { .. } => "nodes recalled",
        Notice::SplitProven(_) => "splits proven",
        Notice::AttachmentsFound { .. } => "attachments found elsewhere",
        Notice::AttachmentRefused { .. } => "attachments refused",
        Notice::AttachmentsLost { .. } => "losses of attachments noticed",
        Notice::VoteRefused { .. } => "votes refused",
        Notice::PeerRationed(_) => "peers rationed",
        Notice::VoteWithheld { .. } => "votes withheld for the time",
    }
}
