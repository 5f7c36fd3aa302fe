//! What a node must remember to keep its word: term, vote, and how far it knew of commits.
//!
//! Entries and hard state of one [`crate::Persist`] belong into one synced batch.

use crate::codec::{DecodeError, Decoder};
use crate::ids::{LogIndex, RaftId, Term};

const VERSION: u8 = 1;

/// The durable part of Raft's state besides the log itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Who got this node's vote in that term.
    pub vote: Option<RaftId>,
    /// The highest index known to be committed. Whoever stores an applied index also stores a
    /// commit at least as high, in the same batch.
    pub commit: LogIndex,
}

impl HardState {
    /// The store encoding: version, term, vote (0 = none), commit; 25 bytes.
    pub fn encode(&self) -> [u8; 25] {
        let mut out = [0; 25];
        out[0] = VERSION;
        out[1..9].copy_from_slice(&self.term.0.to_be_bytes());
        out[9..17].copy_from_slice(&self.vote.map_or(0, RaftId::get).to_be_bytes());
        out[17..25].copy_from_slice(&self.commit.0.to_be_bytes());
        out
    }

    /// Reads the store encoding.
    ///
    /// # Errors
    /// Unknown version or wrong length.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(input);
        decoder.version(VERSION)?;
        let term = Term(decoder.u64()?);
        let vote = RaftId::new(decoder.u64()?);
        let commit = LogIndex(decoder.u64()?);
        decoder.finish()?;
        Ok(Self { term, vote, commit })
    }
}

#[cfg(test)]
mod tests;
