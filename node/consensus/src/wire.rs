//! Messages between nodes as bytes: protobuf, as the Raft library defines it.
//!
//! Decoding is bounded before it starts: an entry takes two bytes on the wire and seventy in
//! memory, so entries are counted first. What a decoded message *says* is the screen's matter.

use bytes::Bytes;
use consilium_proto::wire_scan::{self, Value};
use raft::eraftpb::Message;
use raft_prost::Message as _;

/// Field number of `Message.entries`.
const FIELD_ENTRIES: u64 = 7;
/// Field number of `Message.snapshot`, which carries a membership and no state here.
const FIELD_SNAPSHOT: u64 = 9;
/// Bytes in memory of an entry, beside its content, roughly: what a growing list takes included.
const ENTRY_COST: usize = 144;
/// How often its bytes on the wire the entries of a message may take in memory. An entry that
/// somebody has proposed takes forty bytes or more.
const COST_RATIO_MAX: usize = 8;
/// Entries that any message may have: those of a leader's first round are small.
const ENTRIES_FREE: usize = 4_096;
/// Bytes of a membership with its position.
const SNAPSHOT_BYTES_MAX: usize = 64 << 10;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than a message may be.
    #[error("message of {len} bytes exceeds {max}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// More entries than its bytes justify.
    #[error("message has more than {max} entries, too many for its size")]
    TooManyEntries {
        /// The limit.
        max: usize,
    },
    /// A membership larger than any.
    #[error("snapshot part of {len} bytes exceeds {SNAPSHOT_BYTES_MAX}")]
    SnapshotTooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// Not the protobuf message expected.
    #[error("message does not decode")]
    Malformed,
}

pub(crate) fn encode(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}

pub(crate) fn decode(bytes: &Bytes, bytes_max: usize) -> Result<Message, WireError> {
    if bytes.len() > bytes_max {
        return Err(WireError::TooLarge { len: bytes.len(), max: bytes_max });
    }
    scan(bytes)?;
    Message::decode(bytes.as_ref()).map_err(|_| WireError::Malformed)
}

/// Looks at the top-level fields without building anything.
fn scan(message: &[u8]) -> Result<(), WireError> {
    let entries_max = ENTRIES_FREE.max(message.len() / ENTRY_COST * COST_RATIO_MAX);
    let mut entries = 0;
    for field in wire_scan::fields(message) {
        match field.map_err(|wire_scan::Malformed| WireError::Malformed)? {
            (FIELD_ENTRIES, _) => entries += 1,
            (FIELD_SNAPSHOT, Value::Bytes(snapshot)) if snapshot.len() > SNAPSHOT_BYTES_MAX => {
                return Err(WireError::SnapshotTooLarge { len: snapshot.len() });
            }
            _ => {}
        }
        if entries > entries_max {
            return Err(WireError::TooManyEntries { max: entries_max });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
