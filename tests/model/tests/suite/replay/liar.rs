//! What the liar says: messages of Raft made by hand, signed with its own key.

use consilium_consensus::{
    Candidacy, EntryKind, LogEntry, LogHash, LogIndex, LogPosition, RaftId, Seal, Term, entry_context,
};
use consilium_proto::signing::SignatureBytes;
use raft::eraftpb::{Entry, Message, MessageType};

use super::cores::{id, membership, signer};

/// The liar.
pub(crate) const LIAR: u64 = 4;

fn say(kind: MessageType, to: RaftId, term: u8) -> Message {
    let (from, to, term) = (LIAR, to.get(), u64::from(term));
    Message { msg_type: kind as i32, from, to, term, ..Message::default() }
}

/// It stands with a log that nobody is ahead of, and that nobody knows.
pub(crate) fn candidacy(term: u8) -> Candidacy {
    let (index, last_term) = if term == 1 { (0, 0) } else { (9, u64::from(term) - 1) };
    let hash = if term == 1 { LogHash::NONE } else { LogHash::from_bytes([9; 32]) };
    let last = LogPosition { index: LogIndex(index), term: Term(last_term), hash };
    let term = Term(u64::from(term));
    Candidacy { term, candidate: id(LIAR), last, applied: LogIndex(0), membership: membership() }
}

pub(crate) fn asks_for_a_grant(to: RaftId, term: u8) -> Message {
    let Candidacy { last, applied, membership, .. } = candidacy(term);
    let tail = if last.index.0 == 0 { &[] } else { last.hash.as_bytes().as_slice() };
    let count = [u8::from(!tail.is_empty())];
    let context = [&[0], applied.0.to_be_bytes().as_slice(), &count, tail, &membership.encode()].concat();
    Message { index: last.index.0, log_term: last.term.0, context, ..say(MessageType::MsgRequestVote, to, term) }
}

pub(crate) fn grant(candidacy: &Candidacy) -> SignatureBytes {
    let signer = signer(LIAR);
    signer.key.sign(&candidacy.signing_bytes(&signer.ledger_id)).unwrap()
}

pub(crate) fn would_grant(to: RaftId, term: u8) -> Message {
    say(MessageType::MsgRequestPreVoteResponse, to, term)
}

pub(crate) fn grants(candidacy: &Candidacy) -> Message {
    let base = say(MessageType::MsgRequestVoteResponse, candidacy.candidate, candidacy.term.0 as u8);
    Message { context: grant(candidacy).to_vec(), ..base }
}

pub(crate) fn acknowledges(to: RaftId, head: &LogEntry) -> Message {
    Message {
        index: head.index.0,
        log_term: head.term.0,
        context: head.hash.as_bytes().to_vec(),
        ..say(MessageType::MsgAppendResponse, to, head.term.0 as u8)
    }
}

/// It gives a node these entries, which follow on the first so many of them.
pub(crate) fn appends(to: RaftId, term: u8, entries: &[LogEntry], behind: usize) -> Message {
    let (before, entries) = entries.split_at(behind);
    let before = before.last().map(LogEntry::position).unwrap_or_default();
    Message {
        index: before.index.0,
        log_term: before.term.0,
        context: before.hash.as_bytes().to_vec(),
        entries: entries.iter().map(|given| entry(given, term)).collect(),
        ..say(MessageType::MsgAppend, to, term)
    }
}

/// An entry, sealed if it is of the term that it leads.
fn entry(entry: &LogEntry, term: u8) -> Entry {
    let data = match &entry.kind {
        EntryKind::Normal(data) => data.to_vec(),
        EntryKind::Empty => Vec::new(),
        EntryKind::ConfChange(_) => unreachable!("there are none here"),
    };
    let own = entry.term.0 == u64::from(term);
    let seal = Seal::sign(&signer(LIAR), id(LIAR), &entry.position()).filter(|_| own);
    let context = entry_context(&entry.hash, seal.as_ref());
    Entry { index: entry.index.0, term: entry.term.0, data, context, ..Entry::default() }
}
