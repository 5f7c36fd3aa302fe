//! Raft messages as bytes, without the library: enough protobuf to read and to
//! change single fields. Field numbers are those of `eraftpb.Message`.

use bytes::Bytes;
use consilium_consensus::{EntryKind, LogEntry, LogHash, LogIndex, LogPosition, Seal, Term, entry_context};
use consilium_proto::ids::NodeId;
use consilium_proto::pb;
use prost::Message;

use crate::{MemoryLog, Rng};

/// `Message.msg_type`, and some of its values.
const TYPE: u64 = 1;
const APPEND: u64 = 3;
const APPEND_RESPONSE: u64 = 4;
const REQUEST_VOTE: u64 = 5;
const SNAPSHOT: u64 = 7;
const HEARTBEAT: u64 = 8;
const HEARTBEAT_RESPONSE: u64 = 9;
const TIMEOUT_NOW: u64 = 14;
/// `Message.to`.
const TO: u64 = 2;
/// `Message.from`.
const FROM: u64 = 3;
/// `Message.term`.
const TERM: u64 = 4;
/// `Message.log_term`.
const LOG_TERM: u64 = 5;
/// `Message.index`.
const INDEX: u64 = 6;
/// `Message.commit`.
const COMMIT: u64 = 8;
/// `Message.context`.
const CONTEXT: u64 = 12;
/// `Message.entries`.
const ENTRIES: u64 = 7;
/// `Entry.term`.
const ENTRY_TERM: u64 = 2;
/// `Entry.index`.
const ENTRY_INDEX: u64 = 3;
/// `Entry.entry_type`.
const ENTRY_TYPE: u64 = 1;
/// `Entry.data`.
const ENTRY_DATA: u64 = 4;
/// `Entry.context`.
const ENTRY_CONTEXT: u64 = 6;
/// `EntryType.EntryConfChangeV2`.
const CONF_CHANGE: u64 = 2;

#[derive(Clone)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

type Fields = Vec<(u64, Value)>;

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn parse(mut rest: &[u8]) -> Option<Fields> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, tail) = rest.split_at_checked(len)?;
                rest = tail;
                Value::Bytes(bytes.to_vec())
            }
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn encode(fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in fields {
        match value {
            Value::Number(value) => {
                put_varint(&mut out, number << 3);
                put_varint(&mut out, *value);
            }
            Value::Bytes(bytes) => {
                put_varint(&mut out, (number << 3) | 2);
                put_varint(&mut out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
    }
    out
}

/// Whom a message claims to be from.
#[must_use]
pub fn claimed_sender(bytes: &[u8]) -> Option<NodeId> {
    parse(bytes)?.into_iter().find_map(|field| {
        let (FROM, Value::Number(id)) = field else { return None };
        Some(NodeId(id))
    })
}

fn number(fields: &Fields, field: u64) -> u64 {
    let value = fields.iter().find_map(|(number, value)| match value {
        Value::Number(value) if *number == field => Some(*value),
        Value::Number(_) | Value::Bytes(_) => None,
    });
    value.unwrap_or_default()
}

fn text(fields: &Fields, field: u64) -> Vec<u8> {
    let value = fields.iter().find_map(|(number, value)| match value {
        Value::Bytes(value) if *number == field => Some(value.clone()),
        Value::Number(_) | Value::Bytes(_) => None,
    });
    value.unwrap_or_default()
}

/// What an append says that it goes on from, and the positions of its entries after that.
pub struct Links {
    /// The index before its entries.
    pub index: u64,
    /// The hash named for it.
    pub before: LogHash,
    entries: Vec<(Term, LogIndex, EntryKind)>,
}

impl Links {
    /// `None` if it is no append.
    #[must_use]
    pub fn of_append(bytes: &[u8]) -> Option<Self> {
        let fields = parse(bytes).filter(|fields| number(fields, TYPE) == APPEND)?;
        let before = LogHash::try_from(text(&fields, CONTEXT).as_slice()).ok()?;
        let entries = fields.iter().filter_map(|(number, value)| match value {
            Value::Bytes(entry) if *number == ENTRIES => link_of(entry),
            Value::Number(_) | Value::Bytes(_) => None,
        });
        Some(Self { index: number(&fields, INDEX), before, entries: entries.collect() })
    }

    /// The hash of each entry, if they follow another one than is named.
    pub fn behind(&self, mut before: LogHash) -> impl Iterator<Item = (u64, LogHash)> + '_ {
        self.entries.iter().map(move |(term, index, kind)| {
            before = LogEntry::link(&before, *term, *index, kind);
            (index.0, before)
        })
    }
}

fn link_of(entry: &[u8]) -> Option<(Term, LogIndex, EntryKind)> {
    let fields = parse(entry)?;
    let data = Bytes::from(text(&fields, ENTRY_DATA));
    let kind = match number(&fields, ENTRY_TYPE) {
        CONF_CHANGE => EntryKind::ConfChange(data),
        _ if data.is_empty() => EntryKind::Empty,
        _ => EntryKind::Normal(data),
    };
    Some((Term(number(&fields, ENTRY_TERM)), LogIndex(number(&fields, ENTRY_INDEX)), kind))
}

/// An append that begins further back in the sender's log, so far that it replaces what an
/// earlier leader wrote. `None` if there is no such.
#[must_use]
pub fn from_further_back(bytes: &[u8], log: &MemoryLog, back: u64) -> Option<Bytes> {
    let mut fields = parse(bytes).filter(|fields| number(fields, TYPE) == APPEND)?;
    let index = number(&fields, INDEX);
    let before = log.entry(LogIndex(index.checked_sub(back)?)).ok()?.position();
    let earlier: Option<Vec<_>> = (before.index.0 + 1..=index)
        .map(|index| Some((ENTRIES, Value::Bytes(entry_of(&log.entry(LogIndex(index)).ok()?)))))
        .collect();
    let at = fields.iter().position(|(field, _)| *field == ENTRIES).unwrap_or(fields.len());
    fields.splice(at..at, earlier?);
    fields.retain(|(field, _)| ![INDEX, LOG_TERM].contains(field));
    fields.extend([(INDEX, Value::Number(before.index.0)), (LOG_TERM, Value::Number(before.term.0))]);
    with_hash(&encode(&fields), &before.hash)
}

fn entry_of(entry: &LogEntry) -> Vec<u8> {
    let (kind, data) = match &entry.kind {
        EntryKind::Normal(data) => (0, data.to_vec()),
        EntryKind::ConfChange(data) => (CONF_CHANGE, data.to_vec()),
        EntryKind::Empty => (0, Vec::new()),
    };
    let numbers = [(ENTRY_TYPE, kind), (ENTRY_TERM, entry.term.0), (ENTRY_INDEX, entry.index.0)];
    let numbers = numbers.map(|(field, value)| (field, Value::Number(value)));
    let context = entry_context(&entry.hash, entry.seal.as_ref());
    let bytes = [(ENTRY_DATA, Value::Bytes(data)), (ENTRY_CONTEXT, Value::Bytes(context))];
    encode(&numbers.into_iter().chain(bytes).collect())
}

/// An append whose entries of its own term are sealed as they stand behind another entry than
/// they did.
#[must_use]
pub fn sealed(bytes: &[u8], mut before: LogHash, seal: impl Fn(&LogPosition) -> Option<Seal>) -> Option<Bytes> {
    let mut fields = parse(bytes)?;
    let led = number(&fields, TERM);
    for (field, value) in &mut fields {
        let Value::Bytes(entry) = value else { continue };
        if *field != ENTRIES {
            continue;
        }
        let (term, index, kind) = link_of(entry)?;
        before = LogEntry::link(&before, term, index, &kind);
        if term.0 == led {
            let context = entry_context(&before, seal(&LogPosition { index, term, hash: before }).as_ref());
            let mut parts = parse(entry)?;
            parts.retain(|(field, _)| *field != ENTRY_CONTEXT);
            parts.push((ENTRY_CONTEXT, Value::Bytes(context)));
            *entry = encode(&parts);
        }
    }
    Some(encode(&fields).into())
}

/// The message with another hash.
#[must_use]
pub fn with_hash(bytes: &[u8], hash: &LogHash) -> Option<Bytes> {
    let mut fields = parse(bytes)?;
    fields.retain(|(field, _)| *field != CONTEXT);
    fields.push((CONTEXT, Value::Bytes(hash.as_bytes().to_vec())));
    Some(encode(&fields).into())
}

/// Index and hash that a message acknowledges, if it does.
#[must_use]
pub fn acknowledged(bytes: &[u8]) -> Option<(u64, LogHash)> {
    let fields = parse(bytes).filter(|fields| number(fields, TYPE) == APPEND_RESPONSE)?;
    Some((number(&fields, INDEX), LogHash::try_from(text(&fields, CONTEXT).as_slice()).ok()?))
}

/// The term of which a message speaks as its leader, if it does.
#[must_use]
pub fn led_term(bytes: &[u8]) -> Option<u64> {
    let fields = parse(bytes)?;
    [APPEND, SNAPSHOT, HEARTBEAT].contains(&number(&fields, TYPE)).then(|| number(&fields, TERM))
}

/// An append that says that all of it, and more, is committed.
#[must_use]
pub fn committed(bytes: &[u8]) -> Option<Bytes> {
    let mut fields = parse(bytes).filter(|fields| number(fields, TYPE) == APPEND)?;
    fields.retain(|(field, _)| *field != COMMIT);
    fields.push((COMMIT, Value::Number(1 << 40)));
    Some(encode(&fields).into())
}

/// What a node would acknowledge that holds all that a leader says is committed.
#[must_use]
pub fn acknowledging(bytes: &[u8], from: NodeId, to: NodeId) -> Option<Bytes> {
    let fields = parse(bytes).filter(|fields| number(fields, TYPE) == APPEND)?;
    let term = number(&fields, TERM);
    let links = Links::of_append(bytes)?;
    let commit = number(&fields, COMMIT);
    let (index, hash) = links.behind(links.before).take_while(|(index, _)| *index <= commit).last()?;
    let ack = [(TYPE, APPEND_RESPONSE), (TO, to.0), (FROM, from.0), (TERM, term), (LOG_TERM, term), (INDEX, index)];
    with_hash(&encode(&ack.map(|(field, value)| (field, Value::Number(value))).to_vec()), &hash)
}

/// What somebody says who leads a later term, or moves others to one, and was not elected:
/// the logs of an append are slightly other ones, and committed.
pub fn usurping(bytes: &[u8], rng: &mut Rng) -> Option<Bytes> {
    let kinds = [APPEND, HEARTBEAT, APPEND_RESPONSE, REQUEST_VOTE, HEARTBEAT_RESPONSE, TIMEOUT_NOW];
    let fields = parse(bytes)?;
    let kind = if number(&fields, TYPE) == APPEND { APPEND } else { *rng.pick(&kinds)? };
    let lie = if kind == APPEND { other_time(bytes, 0).unwrap_or_else(|| bytes.to_vec().into()) } else { Bytes::new() };
    let mut fields = if kind == APPEND { parse(&lie)? } else { fields };
    let term = number(&fields, TERM) + rng.below(3);
    let kept = |field: u64| field != TYPE && field != TERM && field != COMMIT;
    fields.retain(|(field, _)| kept(*field) && ((*field != ENTRIES && *field != CONTEXT) || kind == APPEND));
    let commit = if kind == APPEND { 1 << 40 } else { 0 };
    fields.extend([(TYPE, kind), (TERM, term), (COMMIT, commit)].map(|(field, value)| (field, Value::Number(value))));
    if kind == REQUEST_VOTE {
        let forced: &[u8] = if rng.chance(500) { b"CampaignTransfer" } else { &[7; 80] };
        fields.push((CONTEXT, Value::Bytes(forced.to_vec())));
    }
    Some(encode(&fields).into())
}

/// The message with another sender.
#[must_use]
pub fn with_sender(bytes: &[u8], from: NodeId) -> Option<Bytes> {
    let mut fields = parse(bytes)?;
    fields.retain(|(number, _)| *number != FROM);
    fields.push((FROM, Value::Number(from.0)));
    Some(encode(&fields).into())
}

/// An append whose blocks have a slightly other time: another log for the same
/// index and term. `None` if the message carries no block.
#[must_use]
pub fn other_time(bytes: &[u8], salt: u64) -> Option<Bytes> {
    dated(bytes, 1 + (salt % 3) as i64)
}

/// An append whose blocks are dated ahead by some milliseconds, or back. `None` if the
/// message carries no block.
#[must_use]
pub fn dated(bytes: &[u8], ahead_ms: i64) -> Option<Bytes> {
    with_blocks(bytes, |proposal| {
        proposal.time_ms = proposal.time_ms.saturating_add_signed(ahead_ms);
        true
    })
}

/// An append with something instead of its blocks that is none. `None` if the message
/// carries no block.
#[must_use]
pub fn nonsense(bytes: &[u8]) -> Option<Bytes> {
    with_blocks(bytes, |proposal| {
        // Whoever proposes must be somebody.
        *proposal = pb::BlockProposal { time_ms: proposal.time_ms, ..pb::BlockProposal::default() };
        true
    })
}

/// An append with observations that cannot be read in some of the blocks that a
/// node proposed, and another proposer's name in others, the same for everybody.
#[must_use]
pub fn garbled(bytes: &[u8], proposer: NodeId) -> Option<Bytes> {
    with_blocks(bytes, |proposal| {
        let own = proposal.proposer == proposer.0;
        match proposal.time_ms % 9 {
            0 | 3 | 6 if own => proposal.observed_votes = vec![pb::Vote::default()],
            1 if own => proposal.proposer += 1,
            _ => return false,
        }
        true
    })
}

/// An append with a membership instead of some of its blocks, the same for everybody: the
/// traitor alone votes, and the others leave.
#[must_use]
pub fn captured(bytes: &[u8], traitor: NodeId, others: impl Iterator<Item = NodeId> + Clone) -> Option<Bytes> {
    let mut fields = parse(bytes)?;
    let mut changed = false;
    for (number, value) in &mut fields {
        let Value::Bytes(entry) = value else { continue };
        if *number == ENTRIES
            && let Some(other) = captured_entry(entry, traitor, others.clone())
        {
            *entry = other;
            changed = true;
        }
    }
    changed.then(|| encode(&fields).into())
}

/// Who would vote alone by a membership entry like that of [`captured`].
#[must_use]
pub fn sole_voter(change: &[u8]) -> Option<NodeId> {
    let steps = parse(change)?.into_iter().filter_map(|field| {
        let (2, Value::Bytes(step)) = field else { return None };
        parse(&step)
    });
    let (added, left): (Vec<Fields>, Vec<Fields>) = steps.partition(|step| number(step, 1) == 0);
    let [alone] = added.as_slice() else { return None };
    (left.len() > 1).then(|| NodeId(number(alone, 2)))
}

fn captured_entry(entry: &[u8], traitor: NodeId, others: impl Iterator<Item = NodeId>) -> Option<Vec<u8>> {
    let mut fields = parse(entry)?;
    let data = fields.iter().find_map(|field| {
        let (ENTRY_DATA, Value::Bytes(data)) = field else { return None };
        Some(data)
    })?;
    let proposal = pb::BlockProposal::decode(data.as_slice()).ok()?;
    if proposal.proposer != traitor.0 || !proposal.time_ms.is_multiple_of(5) {
        return None;
    }
    // ConfChangeSingle: change_type (AddNode 0, RemoveNode 1), node_id.
    let step = |kind: u64, id: NodeId| encode(&vec![(1, Value::Number(kind)), (2, Value::Number(id.0))]);
    let leave = others.filter(|id| *id != traitor).map(|id| step(1, id));
    let steps = std::iter::once(step(0, traitor)).chain(leave).map(|step| (2, Value::Bytes(step)));
    let change = encode(&steps.collect());
    fields.retain(|(number, _)| *number != ENTRY_TYPE && *number != ENTRY_DATA);
    fields.extend([(ENTRY_TYPE, Value::Number(CONF_CHANGE)), (ENTRY_DATA, Value::Bytes(change))]);
    Some(encode(&fields))
}

fn with_blocks(bytes: &[u8], change: impl Fn(&mut pb::BlockProposal) -> bool) -> Option<Bytes> {
    let mut fields = parse(bytes)?;
    let mut changed = false;
    for (number, value) in &mut fields {
        let Value::Bytes(entry) = value else { continue };
        if *number == ENTRIES
            && let Some(other) = other_entry(entry, &change)
        {
            *entry = other;
            changed = true;
        }
    }
    changed.then(|| encode(&fields).into())
}

fn other_entry(entry: &[u8], change: &impl Fn(&mut pb::BlockProposal) -> bool) -> Option<Vec<u8>> {
    let mut fields = parse(entry)?;
    let data = fields.iter_mut().find_map(|field| {
        let (ENTRY_DATA, Value::Bytes(data)) = field else { return None };
        (!data.is_empty()).then_some(data)
    })?;
    let mut proposal = pb::BlockProposal::decode(data.as_slice()).ok()?;
    if proposal.proposer == 0 || !change(&mut proposal) {
        return None;
    }
    *data = proposal.encode_to_vec();
    Some(encode(&fields))
}

/// A message with one field changed to what no honest node says, or cut short.
pub fn mutate(bytes: &[u8], rng: &mut Rng) -> Option<Bytes> {
    if rng.chance(100) {
        let cut = rng.below(bytes.len() as u64) as usize;
        return Some(Bytes::copy_from_slice(&bytes[..cut]));
    }
    let mut fields = parse(bytes)?;
    // msg_type, from, term, log_term, index, commit, reject_hint.
    let target = *rng.pick(&[1, 3, 4, 5, 6, 8, 11])?;
    let small = rng.below(20);
    let value = *rng.pick(&[0, 1, small, small + 1_000, 1 << 40, (1 << 62) - 1, u64::MAX])?;
    fields.retain(|(number, _)| *number != target);
    fields.push((target, Value::Number(if target == 1 { small } else { value })));
    Some(encode(&fields).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_survive_and_change_alone() {
        let fields = vec![(1, Value::Number(3)), (FROM, Value::Number(300)), (12, Value::Bytes(b"x".to_vec()))];
        let bytes = encode(&fields);
        assert_eq!(claimed_sender(&bytes), Some(NodeId(300)));
        let changed = with_sender(&bytes, NodeId(5)).unwrap();
        assert_eq!(claimed_sender(&changed), Some(NodeId(5)));
        assert_eq!(parse(&changed).unwrap().len(), 3);
        assert!(parse(&[0xff]).is_none());
    }
}
