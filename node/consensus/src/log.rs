//! The port to the node's durable log. This crate reads through it and never writes.

use crate::entry::LogEntry;
use crate::ids::{LogIndex, LogPosition};

/// Where the stored log begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The last position that was compacted away or replaced by a snapshot; zeros for a log
    /// that still has its first entry.
    pub truncated: LogPosition,
    /// The last stored index; equal to `truncated.index` when the log is empty.
    pub last: LogIndex,
}

/// Read access to what the node has stored.
///
/// Called on the driver's thread, so reads should be quick. Entries of a [`crate::Persist`]
/// need to be visible here once `persisted` was called for it; until then, and for a bounded
/// while longer, the core answers from memory.
pub trait LogReader {
    /// The extent of the stored log. Asked once, at start.
    ///
    /// # Errors
    /// Any failure to read.
    fn bounds(&self) -> Result<LogBounds, LogError>;

    /// The entries from `low` up to and excluding `high`, contiguous from `low`. At least one
    /// if the range is not empty, then no more than `bytes_max` bytes of content.
    ///
    /// # Errors
    /// `Missing` for an absent index in the range, `Corrupt` and `Io` as they say.
    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError>;

    /// The position of the entry at `index`, or the truncated one. Asked at start, and of old
    /// entries.
    ///
    /// # Errors
    /// As for [`LogReader::entries`].
    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError>;
}

/// Why the stored log could not be read. All of them are faults: stop, do not retry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// An index that should be there is not.
    #[error("log entry {index} is missing")]
    Missing {
        /// The index asked for.
        index: LogIndex,
    },
    /// An entry that does not decode, or is not what belongs there.
    #[error("log entry {index} is corrupt: {detail}")]
    Corrupt {
        /// The index asked for.
        index: LogIndex,
        /// What is wrong with it.
        detail: String,
    },
    /// The storage failed.
    #[error("log cannot be read: {detail}")]
    Io {
        /// The storage's own words.
        detail: String,
    },
}
