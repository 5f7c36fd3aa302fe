//! The byte reader shared by the store encodings of this crate.
//!
//! Encodings are fixed and versioned: one version byte, then big-endian integers, nothing
//! optional and nothing skipped. They are storage formats; changing one breaks state on disk.
//! Decoding never allocates more than the input justifies and never panics.

use crate::ids::{LogHash, LogIndex, LogPosition, Term};

/// Why stored bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended before the field did.
    #[error("input ends {missing} bytes too early")]
    Truncated {
        /// Bytes that were still needed.
        missing: usize,
    },
    /// Bytes were left over after the last field.
    #[error("{extra} bytes follow the last field")]
    Trailing {
        /// Bytes left over.
        extra: usize,
    },
    /// A version that this build does not know.
    #[error("unknown version {found}")]
    Version {
        /// The version byte found.
        found: u8,
    },
    /// A tag or flag byte with no meaning here.
    #[error("unknown tag {found}")]
    Tag {
        /// The byte found.
        found: u8,
    },
    /// A raft id of zero where a node was expected.
    #[error("raft id is zero")]
    ZeroId,
    /// Ids not strictly ascending, so the encoding is not canonical.
    #[error("ids are not strictly ascending")]
    Order,
    /// More items than the limit allows.
    #[error("{count} items exceed the limit")]
    TooMany {
        /// The count claimed by the input.
        count: u32,
    },
    /// The membership breaks its own rules.
    #[error("membership is invalid: {0}")]
    Membership(crate::membership::invalid::MembershipInvalid),
}

/// A cursor over stored bytes.
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Reads the version byte and compares it.
    pub(crate) fn version(&mut self, expected: u8) -> Result<(), DecodeError> {
        match self.u8()? {
            found if found == expected => Ok(()),
            found => Err(DecodeError::Version { found }),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends decoding; left-over bytes are an error.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }

    pub(crate) fn position(&mut self) -> Result<LogPosition, DecodeError> {
        let (index, term) = (LogIndex(self.u64()?), Term(self.u64()?));
        Ok(LogPosition { index, term, hash: LogHash::from_bytes(self.array()?) })
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { missing: N - self.rest.len() });
        };
        self.rest = tail;
        Ok(*head)
    }
}
