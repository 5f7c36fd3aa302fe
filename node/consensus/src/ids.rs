//! Identifiers and positions: one newtype each, so that a term is never taken for an index.
//!
//! Values carry no validation beyond their type; limits on what a peer may claim are the
//! screen's business.

use std::fmt;
use std::num::NonZeroU64;

use consilium_proto::hash::HASH_LEN;

/// The Raft id of a node: allocated by the ledger, monotonic, never reused, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaftId(NonZeroU64);

impl RaftId {
    /// Wraps `value`; `None` for zero, which Raft uses for "nobody".
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Raft term. Zero before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in the log, counted from 1. Zero means "before the first entry".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

impl LogIndex {
    /// The position after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

consilium_proto::hash_newtype! {
    /// Commits to an entry of the log and to all before it; see [`crate::LogEntry::link`].
    pub struct LogHash;
}

impl LogHash {
    /// Before the first entry.
    pub const NONE: Self = Self::from_bytes([0; HASH_LEN]);
}

impl Default for LogHash {
    fn default() -> Self {
        Self::NONE
    }
}

/// Where an entry stands, and which one it is. In Raft index and term identify an entry; a
/// leader that lies may have two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The entry's index.
    pub index: LogIndex,
    /// The term in which that entry was proposed (not the current term).
    pub term: Term,
    /// What the entry commits to.
    pub hash: LogHash,
}

impl LogPosition {
    /// Bytes of the store encoding.
    pub const ENCODED_LEN: usize = 8 + 8 + HASH_LEN;

    /// The store encoding: index and term (u64 big-endian), then the hash.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut out = [0; Self::ENCODED_LEN];
        out[..8].copy_from_slice(&self.index.0.to_be_bytes());
        out[8..16].copy_from_slice(&self.term.0.to_be_bytes());
        out[16..].copy_from_slice(self.hash.as_bytes());
        out
    }

    /// Reads the store encoding; `None` if that is not its length.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (index, rest) = bytes.split_first_chunk()?;
        let (term, hash) = rest.split_first_chunk()?;
        Some(Self {
            index: LogIndex(u64::from_be_bytes(*index)),
            term: Term(u64::from_be_bytes(*term)),
            hash: LogHash::try_from(hash).ok()?,
        })
    }
}

#[cfg(test)]
mod tests;
