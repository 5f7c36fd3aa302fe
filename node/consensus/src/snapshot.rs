//! What Raft needs to know of a snapshot: where it stands and who takes part there.
//!
//! The state itself never passes through this crate; the node fetches and verifies it.

use crate::codec::{DecodeError, Decoder};
use crate::ids::{LogIndex, LogPosition, Term};
use crate::membership::Membership;

const VERSION: u8 = 1;

/// The Raft position of a state that a node can hand to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last index contained in the state.
    pub index: LogIndex,
    /// The term of the entry at that index, not the current term.
    pub term: Term,
    /// The configuration in force at that index.
    pub membership: Membership,
}

impl SnapshotMeta {
    /// Index and term together.
    pub fn position(&self) -> LogPosition {
        LogPosition { index: self.index, term: self.term }
    }

    /// The store encoding: version, index, term (u64 big-endian), then the membership.
    pub fn encode(&self) -> Vec<u8> {
        let Self { index, term, membership } = self;
        let mut out = vec![VERSION];
        out.extend(index.0.to_be_bytes());
        out.extend(term.0.to_be_bytes());
        out.extend(membership.encode());
        out
    }

    /// Reads the store encoding.
    ///
    /// # Errors
    /// Unknown version, wrong length, or an invalid membership.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(input);
        decoder.version(VERSION)?;
        let index = LogIndex(decoder.u64()?);
        let term = Term(decoder.u64()?);
        let membership = Membership::decode(decoder.rest())?;
        Ok(Self { index, term, membership })
    }
}

#[cfg(test)]
mod tests;
