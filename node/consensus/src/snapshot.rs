//! What Raft needs to know of a snapshot: where it stands and who takes part there.
//!
//! The state itself never passes through this crate; the node fetches and verifies it.

use consilium_proto::hash::{Hash, sha256};

use crate::codec::{DecodeError, Decoder};
use crate::ids::{LogHash, LogIndex, LogPosition, Term};
use crate::membership::Membership;

const VERSION: u8 = 2;
const LOG_POSITION_DOMAIN: &[u8] = b"consilium/log-position/v1";

/// The Raft position of a state that a node can hand to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last index contained in the state.
    pub index: LogIndex,
    /// The term of the entry at that index, not the current term.
    pub term: Term,
    /// What the entry there commits to.
    pub hash: LogHash,
    /// The configuration in force at that index.
    pub membership: Membership,
}

impl SnapshotMeta {
    /// Where the log goes on.
    pub fn position(&self) -> LogPosition {
        LogPosition { index: self.index, term: self.term, hash: self.hash }
    }

    /// What a block's header commits to of the log up to it: SHA-256 over
    /// "consilium/log-position/v1", the position (index and term, 8 bytes each, big-endian, and
    /// the hash of the entry), and the membership in force there, encoded.
    #[must_use]
    pub fn log_hash(position: &LogPosition, membership: &Membership) -> Hash {
        Hash::from_bytes(sha256(&[LOG_POSITION_DOMAIN, &position.encode(), &membership.encode()]))
    }

    /// The store encoding: version, position, then the membership.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(self.position().encode());
        out.extend(self.membership.encode());
        out
    }

    /// Reads the store encoding.
    ///
    /// # Errors
    /// Unknown version, wrong length, or an invalid membership.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(input);
        decoder.version(VERSION)?;
        let LogPosition { index, term, hash } = decoder.position()?;
        let membership = Membership::decode(decoder.rest())?;
        Ok(Self { index, term, hash, membership })
    }
}

#[cfg(test)]
mod tests;
