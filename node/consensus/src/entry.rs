//! Log entries as the node stores and applies them.
//!
//! The store encoding is fixed (golden bytes below); it is independent of the encoding used
//! between nodes, so that the library underneath can change without a log migration.

use bytes::{BufMut, Bytes, BytesMut};
use consilium_proto::hash::{HASH_LEN, sha256};

use crate::codec::{DecodeError, Decoder};
use crate::ids::{LogHash, LogIndex, LogPosition, Term};
use crate::seal::Seal;

const VERSION: u8 = 3;
pub(crate) const TAG_NORMAL: u8 = 1;
pub(crate) const TAG_CONF_CHANGE: u8 = 2;
pub(crate) const TAG_EMPTY: u8 = 3;
/// Version, kind, position, seal.
const HEADER_LEN: usize = 1 + 1 + LogPosition::ENCODED_LEN + Seal::ENCODED_LEN;
/// What goes beside an entry in the library: its hash and its seal.
pub(crate) const CONTEXT_LEN: usize = HASH_LEN + Seal::ENCODED_LEN;
const LINK_DOMAIN: &[u8] = b"consilium/log-entry/v1";

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A command for the state machine. Never empty.
    Normal(Bytes),
    /// A membership change, for [`crate::Core::apply_membership`]. **May be empty**: the entry
    /// that leaves a joint configuration carries no bytes, so match on this kind before
    /// skipping entries without data, or the group stays joint for ever.
    ConfChange(Bytes),
    /// The entry with which a leader opens its term; nothing to apply.
    Empty,
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The term of the leader that proposed it.
    pub term: Term,
    /// Its index.
    pub index: LogIndex,
    /// Its content.
    pub kind: EntryKind,
    /// Commits to it and to all before it.
    pub hash: LogHash,
    /// Of the leader that put it there.
    pub seal: Option<Seal>,
}

impl LogEntry {
    /// Where it stands, and which one it is.
    pub fn position(&self) -> LogPosition {
        LogPosition { index: self.index, term: self.term, hash: self.hash }
    }

    /// An entry behind another one, without a seal.
    #[must_use]
    pub fn new(before: &LogHash, term: Term, index: LogIndex, kind: EntryKind) -> Self {
        let hash = Self::link(before, term, index, &kind);
        Self { term, index, kind, hash, seal: None }
    }

    /// What an entry with this position and content commits to, behind `before`: SHA-256 over
    /// "consilium/log-entry/v1", the hash of the entry before it (32 bytes), its term and index
    /// (8 each, big-endian), its kind as it is stored (1), and its content.
    #[must_use]
    pub fn link(before: &LogHash, term: Term, index: LogIndex, kind: &EntryKind) -> LogHash {
        let (tag, content) = tagged(kind);
        link(before, (term, index), tag, content)
    }

    /// Length of the content in bytes.
    pub fn data_len(&self) -> usize {
        match &self.kind {
            EntryKind::Normal(data) | EntryKind::ConfChange(data) => data.len(),
            EntryKind::Empty => 0,
        }
    }

    /// The store encoding: version, kind (1 normal, 2 membership, 3 empty), position, seal, then
    /// the content to the end.
    pub fn encode(&self) -> Bytes {
        let (tag, content) = tagged(&self.kind);
        let mut out = BytesMut::with_capacity(HEADER_LEN + content.len());
        out.put_u8(VERSION);
        out.put_u8(tag);
        out.put_slice(&self.position().encode());
        out.put_slice(&Seal::encode(self.seal.as_ref()));
        out.put_slice(content);
        out.freeze()
    }

    /// Reads the store encoding without copying the content.
    ///
    /// # Errors
    /// Anything but exactly one entry of a known version; in particular a normal entry without
    /// content, which no leader writes.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(input);
        decoder.version(VERSION)?;
        let tag = decoder.u8()?;
        let LogPosition { index, term, hash } = decoder.position()?;
        let seal = Seal::decode(&decoder.array()?)?;
        let data = input.slice_ref(decoder.rest());
        let kind = match (tag, data.len()) {
            (TAG_NORMAL, 0) => return Err(DecodeError::Truncated { missing: 1 }),
            (TAG_NORMAL, _) => EntryKind::Normal(data),
            (TAG_CONF_CHANGE, _) => EntryKind::ConfChange(data),
            (TAG_EMPTY, 0) => EntryKind::Empty,
            (TAG_EMPTY, extra) => return Err(DecodeError::Trailing { extra }),
            (found, _) => return Err(DecodeError::Tag { found }),
        };
        Ok(Self { term, index, kind, hash, seal })
    }
}

/// What goes beside an entry between nodes: its hash (32 bytes), and its seal as it is stored.
#[must_use]
pub fn entry_context(hash: &LogHash, seal: Option<&Seal>) -> Vec<u8> {
    [hash.as_bytes().as_slice(), &Seal::encode(seal)].concat()
}

/// Hash and seal of what [`entry_context`] gives; `None` if it is nothing of the kind.
pub(crate) fn split_context(context: &[u8]) -> Option<(LogHash, Option<Seal>)> {
    let (hash, seal) = context.split_first_chunk::<HASH_LEN>()?;
    Some((LogHash::from_bytes(*hash), Seal::decode(seal.try_into().ok()?).ok()?))
}

pub(crate) fn link(before: &LogHash, (term, index): (Term, LogIndex), tag: u8, content: &[u8]) -> LogHash {
    let (term, index) = (term.0.to_be_bytes(), index.0.to_be_bytes());
    LogHash::from_bytes(sha256(&[LINK_DOMAIN, before.as_bytes(), &term, &index, &[tag], content]))
}

/// The kind as it is stored, and the content.
fn tagged(kind: &EntryKind) -> (u8, &[u8]) {
    match kind {
        EntryKind::Normal(data) => (TAG_NORMAL, data),
        EntryKind::ConfChange(data) => (TAG_CONF_CHANGE, data),
        EntryKind::Empty => (TAG_EMPTY, &[]),
    }
}

#[cfg(test)]
mod tests;
