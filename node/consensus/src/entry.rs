//! Log entries as the node stores and applies them.
//!
//! The store encoding is fixed (golden bytes below); it is independent of the encoding used
//! between nodes, so that the library underneath can change without a log migration.

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, Decoder};
use crate::ids::{LogIndex, LogPosition, Term};

const VERSION: u8 = 1;
const TAG_NORMAL: u8 = 1;
const TAG_CONF_CHANGE: u8 = 2;
const TAG_EMPTY: u8 = 3;
/// Version, kind, term, index.
const HEADER_LEN: usize = 1 + 1 + 8 + 8;

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
}

impl LogEntry {
    /// Index and term together.
    pub fn position(&self) -> LogPosition {
        LogPosition { index: self.index, term: self.term }
    }

    /// Length of the content in bytes.
    pub fn data_len(&self) -> usize {
        match &self.kind {
            EntryKind::Normal(data) | EntryKind::ConfChange(data) => data.len(),
            EntryKind::Empty => 0,
        }
    }

    /// The store encoding: version, kind (1 normal, 2 membership, 3 empty), term, index (both
    /// u64 big-endian), then the content to the end.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_LEN + self.data_len());
        out.put_u8(VERSION);
        out.put_u8(match self.kind {
            EntryKind::Normal(_) => TAG_NORMAL,
            EntryKind::ConfChange(_) => TAG_CONF_CHANGE,
            EntryKind::Empty => TAG_EMPTY,
        });
        out.put_u64(self.term.0);
        out.put_u64(self.index.0);
        match &self.kind {
            EntryKind::Normal(data) | EntryKind::ConfChange(data) => out.put_slice(data),
            EntryKind::Empty => {}
        }
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
        let term = Term(decoder.u64()?);
        let index = LogIndex(decoder.u64()?);
        let data = input.slice_ref(decoder.rest());
        let kind = match (tag, data.len()) {
            (TAG_NORMAL, 0) => return Err(DecodeError::Truncated { missing: 1 }),
            (TAG_NORMAL, _) => EntryKind::Normal(data),
            (TAG_CONF_CHANGE, _) => EntryKind::ConfChange(data),
            (TAG_EMPTY, 0) => EntryKind::Empty,
            (TAG_EMPTY, extra) => return Err(DecodeError::Trailing { extra }),
            (found, _) => return Err(DecodeError::Tag { found }),
        };
        Ok(Self { term, index, kind })
    }
}

#[cfg(test)]
mod tests;
