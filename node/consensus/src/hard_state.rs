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
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes() {
        let state = HardState { term: Term(1), vote: RaftId::new(2), commit: LogIndex(0x0304) };
        let mut expected = vec![1];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend([0, 0, 0, 0, 0, 0, 3, 4]);
        assert_eq!(state.encode().to_vec(), expected);
        assert_eq!(HardState::decode(&expected), Ok(state));
        expected.push(0);
        assert_eq!(HardState::decode(&expected), Err(DecodeError::Trailing { extra: 1 }));
    }

    proptest! {
        #[test]
        fn decode_is_total_and_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            if let Ok(state) = HardState::decode(&bytes) {
                prop_assert_eq!(state.encode().to_vec(), bytes);
            }
        }
    }
}
