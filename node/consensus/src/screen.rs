//! The screen before every `step`: what a peer may say, given what this node knows.
//!
//! The Raft library trusts its peers; one message from any member can make it panic, commit
//! what no quorum holds, or follow a leader that nobody elected. [`screen`] is pure: message
//! and view in, sanitised message or typed refusal out. Rules are written per message type
//! beside the fault that each prevents. What it cannot prevent, by design of Raft: a voter
//! that claims a higher term, and a leader that orders nonsense; certificates answer those.

use std::collections::BTreeMap;

use consilium_proto::hash::HASH_LEN;
use consilium_proto::signing::SIGNATURE_LEN;
use raft::eraftpb::{EntryType, Message, MessageType};

use crate::convert::{membership_from_raft, membership_steps, membership_to_raft, snapshot_to_raft};
use crate::entry::CONTEXT_LEN;
use crate::ids::{LogHash, LogIndex, LogPosition, RaftId, Term};
use crate::mandate::{Electorate, STANDPOINT_LEN_MAX, TAIL_LEN_MAX};
use crate::membership::Membership;
use crate::output::ReadContext;
use crate::reject::Reject;
use crate::snapshot::SnapshotMeta;
use crate::status::Role;

/// How far ahead of ours a peer's term may be. Far more elections than a partition lasts.
pub(crate) const TERM_AHEAD_MAX: u64 = 1 << 20;
/// No honest index, and no arithmetic on it overflows.
pub(crate) const INDEX_MAX: u64 = 1 << 62;
/// Context of a read on the wire: the asking node's id, then its [`ReadContext`].
pub(crate) const READ_CONTEXT_LEN: usize = 24;

/// Says what is wrong with an entry that is not to be acknowledged: what it means is for
/// whoever drives the core to know.
pub trait Judge {
    /// A command, and where it comes from.
    ///
    /// # Errors
    /// What is wrong.
    fn command(&self, command: &[u8], origin: Origin) -> Result<(), &'static str>;
}

/// What is known of where a command comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The leader that proposed it, where that is known: in its own term.
    pub proposer: Option<RaftId>,
    /// A quorum of the others says that it has as much of this leader's log, or more. So it may
    /// be committed, and this node is the one that comes late.
    pub held: bool,
}

/// What the screen knows of the node.
pub(crate) struct View<'a> {
    pub(crate) me: RaftId,
    pub(crate) role: Role,
    pub(crate) term: Term,
    pub(crate) leader: Option<RaftId>,
    pub(crate) last: LogIndex,
    /// Commit index and the term of the entry there.
    pub(crate) commit: LogPosition,
    /// How much of the present leader's log a quorum of the others says that it has.
    pub(crate) held: LogIndex,
    /// All of the log is durable, and no snapshot is being installed.
    pub(crate) log_durable: bool,
    /// This node's vote in this term is durable.
    pub(crate) vote_durable: bool,
    pub(crate) membership: &'a Membership,
    pub(crate) known: &'a std::collections::BTreeSet<RaftId>,
    pub(crate) electorate: &'a Electorate,
    /// The newest term with a leader that was shown to be elected.
    pub(crate) proven: Option<(Term, RaftId)>,
    /// Reads that this node has asked for.
    pub(crate) reads: &'a BTreeMap<ReadContext, u32>,
    /// Reads that wait for a quorum at this leader.
    pub(crate) reads_pending: usize,
    pub(crate) reads_max: usize,
    pub(crate) entry_bytes_max: usize,
    pub(crate) judge: &'a dyn Judge,
    pub(crate) may_lead: bool,
}

/// What may be given to Raft of a message.
#[derive(Debug, PartialEq)]
pub(crate) struct Passed {
    pub(crate) message: Message,
    /// Why the rest of its entries is left out. What is before them counts all the same:
    /// Raft learns from it what is committed, and after that the rest may be fit.
    pub(crate) left_out: Option<Reject>,
}

/// Accepts a message, with fields that Raft does not need to see cleared, or says why not.
pub(crate) fn screen(peer: RaftId, mut message: Message, view: &View<'_>) -> Result<Passed, Reject> {
    let number = message.msg_type;
    let kind = MessageType::from_i32(number).ok_or(Reject::Type { number })?;
    check_envelope(peer, kind, &message, view)?;
    check_ranges(kind, &message, view)?;
    scrub(&mut message);
    let message = match kind {
        MessageType::MsgHeartbeat => check_heartbeat(peer, message, view),
        MessageType::MsgSnapshot => check_snapshot(peer, message, view),
        MessageType::MsgAppendResponse => check_append_response(message, view),
        MessageType::MsgHeartbeatResponse => check_term(message, view),
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => check_vote(peer, message, view),
        MessageType::MsgRequestVoteResponse => check_vote_response(peer, message, view),
        MessageType::MsgRequestPreVoteResponse => check_pre_vote_response(peer, message, view),
        MessageType::MsgTimeoutNow => check_timeout_now(peer, message, view),
        MessageType::MsgReadIndex => check_read(peer, message, view),
        MessageType::MsgReadIndexResp => check_read_response(peer, message, view),
        // Local messages, and two that a node could send for another: proposals are only taken
        // where they are made, and who leads next is not for a peer to say.
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => Err(Reject::Type { number }),
        MessageType::MsgAppend => return check_append(peer, message, view),
    };
    message.map(|message| Passed { message, left_out: None })
}

fn check_envelope(peer: RaftId, kind: MessageType, message: &Message, view: &View<'_>) -> Result<(), Reject> {
    if message.from != peer.get() || peer == view.me {
        return Err(Reject::NotThePeer { claimed: message.from, peer });
    }
    if message.to != view.me.get() {
        return Err(Reject::NotForMe { to: message.to });
    }
    if !view.membership.contains(peer) && !view.known.contains(&peer) {
        return Err(Reject::UnknownPeer { peer });
    }
    let carries_entries =
        matches!(kind, MessageType::MsgAppend | MessageType::MsgReadIndex | MessageType::MsgReadIndexResp);
    if !message.entries.is_empty() && !carries_entries {
        return Err(Reject::Field { name: "entries" });
    }
    if message.snapshot.is_some() != (kind == MessageType::MsgSnapshot) {
        return Err(Reject::Field { name: "snapshot" });
    }
    if message.request_snapshot != 0 {
        return Err(Reject::Field { name: "request_snapshot" });
    }
    check_context(kind, message)
}

/// Contexts are echoed and kept, so their length is fixed.
fn check_context(kind: MessageType, message: &Message) -> Result<(), Reject> {
    let allowed = match kind {
        MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse => message.context.len() == READ_CONTEXT_LEN,
        MessageType::MsgRequestVote => message.context.len() <= STANDPOINT_LEN_MAX,
        MessageType::MsgRequestVoteResponse => !message.reject && message.context.len() == SIGNATURE_LEN,
        MessageType::MsgTimeoutNow => message.context.len() == SIGNATURE_LEN,
        MessageType::MsgAppend | MessageType::MsgAppendResponse => message.context.len() == HASH_LEN,
        MessageType::MsgRequestPreVote => message.context.len() <= TAIL_LEN_MAX,
        _ => false,
    };
    if message.context.is_empty() || allowed { Ok(()) } else { Err(Reject::Field { name: "context" }) }
}

fn check_ranges(kind: MessageType, message: &Message, view: &View<'_>) -> Result<(), Reject> {
    let current = view.term;
    let range = |name, value| Reject::TermRange { name, value, current };
    // Term zero means "local" to the library and skips its term check; only a forwarded read
    // is sent like that.
    if (message.term == 0) != (kind == MessageType::MsgReadIndex) {
        return Err(range("term", message.term));
    }
    if message.term > INDEX_MAX || message.term > current.0.saturating_add(TERM_AHEAD_MAX) {
        return Err(range("term", message.term));
    }
    if message.log_term > INDEX_MAX {
        return Err(range("log_term", message.log_term));
    }
    let indices = [("index", message.index), ("commit", message.commit), ("reject_hint", message.reject_hint)];
    for (name, value) in indices {
        if value > INDEX_MAX {
            return Err(Reject::IndexRange { name, value });
        }
    }
    Ok(())
}

/// Clears what only a peer could profit from: priorities bend elections, and a commit inside
/// of a vote message lets any node commit what no quorum holds.
fn scrub(message: &mut Message) {
    message.priority = 0;
    message.deprecated_priority = 0;
    message.commit_term = 0;
}

/// Whether the sender may speak as leader of the message's term.
fn check_leader(peer: RaftId, message: &Message, view: &View<'_>) -> Result<(), Reject> {
    let term = Term(message.term);
    let another = view.role == Role::Leader || view.leader.is_some_and(|leader| leader != peer);
    if term == view.term && another {
        return Err(Reject::NotLeader { peer, term });
    }
    if view.proven == Some((term, peer)) { Ok(()) } else { Err(Reject::NoMandate { peer, term }) }
}

/// An answer from a later term: whoever sends it is heard by its own leader, if it has one,
/// and that one can show it.
fn check_term(message: Message, view: &View<'_>) -> Result<Message, Reject> {
    let term = Term(message.term);
    if term > view.term { Err(Reject::Overtaken { term }) } else { Ok(message) }
}

/// Whether a peer may stand, and its word in an election counts.
fn check_elector(node: RaftId, view: &View<'_>) -> Result<(), Reject> {
    let votes = view.membership.is_voter(node) || view.electorate.has_seat(node);
    if votes { Ok(()) } else { Err(Reject::NoVote { node }) }
}

fn check_append(peer: RaftId, mut message: Message, view: &View<'_>) -> Result<Passed, Reject> {
    if message.term < view.term.0 {
        // Raft answers with the current term and reads nothing else.
        message.entries.clear();
        return Ok(Passed { message, left_out: None });
    }
    check_leader(peer, &message, view)?;
    // An index without a term matches any index beyond the log: a gap, and a panic.
    if (message.index == 0) != (message.log_term == 0) || message.log_term > message.term {
        let value = message.log_term;
        return Err(Reject::TermRange { name: "log_term", value, current: view.term });
    }
    let (fit, left_out) = check_entries(&message, view)?;
    message.entries.truncate(fit);
    // Below the commit, Raft only answers where it is. At it and above, terms cannot be lower
    // than the committed one; a search for a lower one would walk the whole log.
    if message.index >= view.commit.index.0 && message.log_term < view.commit.term.0 {
        return Err(Reject::ContradictsCommit {
            index: message.index,
            log_term: message.log_term,
            commit: view.commit.index,
            commit_term: view.commit.term,
        });
    }
    // What is committed each node counts for itself.
    message.commit = message.commit.min(view.commit.index.0);
    Ok(Passed { message, left_out })
}

/// How many entries are fit to be acknowledged, and what is wrong with the next one.
fn check_entries(message: &Message, view: &View<'_>) -> Result<(usize, Option<Reject>), Reject> {
    let mut fit = 0;
    let mut verdict = Ok(());
    let mut term = message.log_term.max(1);
    for (expected, entry) in (message.index + 1..).zip(&message.entries) {
        let index = LogIndex(expected);
        if entry.index != expected {
            return Err(Reject::Gap { expected: index, found: entry.index });
        }
        if entry.term < term || entry.term > message.term {
            return Err(Reject::Entry { index, reason: "term" });
        }
        term = entry.term;
        if entry.data.len() > view.entry_bytes_max {
            return Err(Reject::Entry { index, reason: "size" });
        }
        if ![0, CONTEXT_LEN].contains(&entry.context.len()) || entry.sync_log {
            return Err(Reject::Entry { index, reason: "unused field" });
        }
        let kind = match EntryType::from_i32(entry.entry_type) {
            Some(kind @ (EntryType::EntryNormal | EntryType::EntryConfChangeV2)) => kind,
            Some(EntryType::EntryConfChange) | None => {
                return Err(Reject::Entry { index, reason: "type" });
            }
        };
        // What is committed is beyond judgement.
        if index > view.commit.index && verdict.is_ok() {
            let proposer = RaftId::new(message.from).filter(|_| entry.term == message.term);
            let held = message.term == view.term.0 && index <= view.held;
            verdict = judge((kind, index), &entry.data, Origin { proposer, held }, view);
        }
        fit += usize::from(verdict.is_ok());
    }
    Ok((fit, verdict.err()))
}

fn judge((kind, index): (EntryType, LogIndex), data: &[u8], origin: Origin, view: &View<'_>) -> Result<(), Reject> {
    if kind == EntryType::EntryNormal {
        // The entry that opens a term is empty.
        let verdict = if data.is_empty() { Ok(()) } else { view.judge.command(data, origin) };
        return verdict.map_err(|reason| Reject::Unfit { index, reason });
    }
    // Whether the ledger asks for it shows when it is applied, behind all that is before it.
    membership_steps(data).map(drop).map_err(|_| Reject::Unfit { index, reason: "is no membership change" })
}

fn check_heartbeat(peer: RaftId, mut message: Message, view: &View<'_>) -> Result<Message, Reject> {
    if message.term < view.term.0 {
        message.commit = 0;
        return Ok(message);
    }
    check_leader(peer, &message, view)?;
    if message.commit > view.last.0 {
        return Err(Reject::CommitBeyondLog { commit: message.commit, last: view.last });
    }
    message.commit = message.commit.min(view.commit.index.0);
    Ok(message)
}

fn check_snapshot(peer: RaftId, mut message: Message, view: &View<'_>) -> Result<Message, Reject> {
    if message.term < view.term.0 {
        return Err(Reject::StaleTerm { term: Term(message.term) });
    }
    check_leader(peer, &message, view)?;
    let meta = snapshot_meta(&message, view)?;
    if meta.index.0 == 0 || meta.index.0 > INDEX_MAX {
        return Err(Reject::IndexRange { name: "snapshot index", value: meta.index.0 });
    }
    if meta.term.0 == 0 || meta.term.0 > message.term {
        let value = meta.term.0;
        return Err(Reject::TermRange { name: "snapshot term", value, current: view.term });
    }
    let contradicts = if meta.index > view.commit.index {
        meta.term < view.commit.term
    } else {
        meta.index == view.commit.index && meta.term != view.commit.term
    };
    if contradicts {
        let SnapshotMeta { index, term, .. } = meta;
        return Err(Reject::SnapshotContradicts { index, term, commit: view.commit.index });
    }
    // Rebuilt, so that nothing but position and membership gets through.
    message.snapshot = Some(snapshot_to_raft(&meta));
    Ok(message)
}

fn snapshot_meta(message: &Message, view: &View<'_>) -> Result<SnapshotMeta, Reject> {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    let metadata = metadata.ok_or(Reject::Field { name: "snapshot" })?;
    let state = metadata.conf_state.as_ref().ok_or(Reject::Field { name: "conf_state" })?;
    let membership = membership_from_raft(state);
    membership.validate().map_err(Reject::SnapshotMembership)?;
    // Zeros and duplicates vanish in the sets; what is left must be all there was.
    let back = membership_to_raft(&membership);
    if back.voters.len() != state.voters.len()
        || back.learners.len() != state.learners.len()
        || back.voters_outgoing.len() != state.voters_outgoing.len()
        || back.learners_next.len() != state.learners_next.len()
    {
        return Err(Reject::Field { name: "conf_state" });
    }
    if !membership.contains(view.me) {
        return Err(Reject::SnapshotWithoutMe);
    }
    let data = message.get_snapshot().data.as_slice();
    let hash = LogHash::try_from(data).map_err(|_| Reject::Field { name: "snapshot data" })?;
    Ok(SnapshotMeta { index: LogIndex(metadata.index), term: Term(metadata.term), hash, membership })
}

fn check_append_response(message: Message, view: &View<'_>) -> Result<Message, Reject> {
    let message = check_term(message, view)?;
    // Only a leader uses it, and a leader's log does not shrink within its term.
    let relevant = view.role == Role::Leader && message.term == view.term.0;
    for index in [message.index, message.reject_hint, message.commit] {
        if relevant && index > view.last.0 {
            return Err(Reject::AckBeyondLog { index, last: view.last });
        }
    }
    Ok(message)
}

fn check_vote(peer: RaftId, mut message: Message, view: &View<'_>) -> Result<Message, Reject> {
    // Whether this node votes is for the candidate to know: one that lags may be needed before
    // anybody can tell it.
    check_elector(peer, view)?;
    // A candidate's last entry is older than the term that it stands for.
    if message.log_term >= message.term || (message.index == 0) != (message.log_term == 0) {
        let value = message.log_term;
        return Err(Reject::TermRange { name: "log_term", value, current: view.term });
    }
    message.commit = 0;
    Ok(message)
}

fn check_vote_response(peer: RaftId, mut message: Message, view: &View<'_>) -> Result<Message, Reject> {
    check_refusal(peer, &message, view)?;
    // Our own vote counts at once, and requests leave only after it is durable: an answer
    // before that would make us leader with a vote and a log that a crash takes back.
    let granted = !message.reject && message.term == view.term.0 && view.role == Role::Candidate;
    if granted && !(view.vote_durable && view.log_durable) {
        return Err(Reject::VoteTooEarly);
    }
    message.commit = 0;
    Ok(message)
}

/// Whoever stands hears no leader: a voter that is in a later term may tell it so.
fn check_refusal(peer: RaftId, message: &Message, view: &View<'_>) -> Result<(), Reject> {
    let stands = matches!(view.role, Role::Candidate | Role::PreCandidate);
    let pre_vote = message.get_msg_type() == MessageType::MsgRequestPreVoteResponse && !message.reject;
    if message.term > view.term.0 && !pre_vote && !(stands && message.reject) {
        return Err(Reject::Overtaken { term: Term(message.term) });
    }
    check_elector(peer, view)
}

fn check_pre_vote_response(peer: RaftId, message: Message, view: &View<'_>) -> Result<Message, Reject> {
    check_refusal(peer, &message, view)?;
    // Requests left after the log was durable. Where this node has become the only voter
    // meanwhile, winning here means leading at once.
    if !message.reject && view.role == Role::PreCandidate && !view.log_durable {
        return Err(Reject::VoteTooEarly);
    }
    Ok(message)
}

fn check_timeout_now(peer: RaftId, message: Message, view: &View<'_>) -> Result<Message, Reject> {
    if message.term != view.term.0 || view.leader != Some(peer) || view.role == Role::Leader {
        return Err(Reject::NotLeader { peer, term: Term(message.term) });
    }
    // An honest leader sends it after our acknowledgement of its whole log.
    if !view.log_durable || !view.may_lead {
        return Err(Reject::NotReadyToLead);
    }
    Ok(message)
}

/// The context of a read, if the message has the shape of one.
fn read_context(message: &Message) -> Result<(u64, ReadContext), Reject> {
    let shape = Reject::Field { name: "entries" };
    let [entry] = message.entries.as_slice() else { return Err(shape) };
    split_read_context(&entry.data).ok_or(shape)
}

pub(crate) fn split_read_context(data: &[u8]) -> Option<(u64, ReadContext)> {
    let (id, context) = data.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*id), ReadContext(context.try_into().ok()?)))
}

fn check_read(peer: RaftId, message: Message, view: &View<'_>) -> Result<Message, Reject> {
    if view.role != Role::Leader {
        return Err(Reject::NotLeading);
    }
    // The leader keeps one read per context; the id in it keeps peers from taking each other's.
    if read_context(&message)?.0 != peer.get() {
        return Err(Reject::Field { name: "entries" });
    }
    if view.reads_pending >= view.reads_max {
        return Err(Reject::TooManyReads { pending: view.reads_pending });
    }
    Ok(message)
}

fn check_read_response(peer: RaftId, message: Message, view: &View<'_>) -> Result<Message, Reject> {
    if message.term != view.term.0 || view.leader != Some(peer) || view.role == Role::Leader {
        return Err(Reject::NotLeader { peer, term: Term(message.term) });
    }
    let (id, context) = read_context(&message)?;
    if id != view.me.get() || !view.reads.contains_key(&context) {
        return Err(Reject::UnknownRead);
    }
    Ok(message)
}

#[cfg(test)]
mod tests;
