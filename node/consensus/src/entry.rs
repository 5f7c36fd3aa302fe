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
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn entry(kind: EntryKind) -> LogEntry {
        LogEntry { term: Term(3), index: LogIndex(0x0102), kind }
    }

    #[test]
    fn golden_bytes() {
        let head = |tag: u8| [&[1, tag], &[0, 0, 0, 0, 0, 0, 0, 3][..], &[0, 0, 0, 0, 0, 0, 1, 2]].concat();
        let normal = entry(EntryKind::Normal(Bytes::from_static(b"ab")));
        assert_eq!(normal.encode(), [head(1), b"ab".to_vec()].concat());
        assert_eq!(entry(EntryKind::ConfChange(Bytes::new())).encode(), head(2));
        assert_eq!(entry(EntryKind::Empty).encode(), head(3));
    }

    #[test]
    fn refuses_what_no_leader_writes() {
        let mut bytes = entry(EntryKind::Empty).encode().to_vec();
        bytes[1] = TAG_NORMAL;
        assert_eq!(LogEntry::decode(&bytes.clone().into()), Err(DecodeError::Truncated { missing: 1 }));
        bytes[1] = 9;
        assert_eq!(LogEntry::decode(&bytes.clone().into()), Err(DecodeError::Tag { found: 9 }));
        bytes[0] = 2;
        assert_eq!(LogEntry::decode(&bytes.into()), Err(DecodeError::Version { found: 2 }));
        assert_eq!(LogEntry::decode(&Bytes::from_static(&[1, 1, 0])), Err(DecodeError::Truncated { missing: 7 }));
    }

    proptest! {
        #[test]
        fn round_trip(term: u64, index: u64, data in proptest::collection::vec(any::<u8>(), 1..64)) {
            for kind in [
                EntryKind::Normal(data.clone().into()),
                EntryKind::ConfChange(data.clone().into()),
                EntryKind::Empty,
            ] {
                let entry = LogEntry { term: Term(term), index: LogIndex(index), kind };
                prop_assert_eq!(LogEntry::decode(&entry.encode()), Ok(entry));
            }
        }

        #[test]
        fn decode_is_total_and_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let bytes = Bytes::from(bytes);
            if let Ok(entry) = LogEntry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes);
            }
        }
    }
}
