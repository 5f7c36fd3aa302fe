//! The bytes of a state proof, version 1.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | terminal: 0 empty, 1 present, 2 other leaf |
//! | 2 | number n of siblings, big-endian, at most 256 |
//! | ceil(n / 8) | bitmap, most significant bit first: bit i is set if sibling i is not empty; spare bits are 0 |
//! | 64 | only for another leaf: its key hash and value hash |
//! | 32 each | the siblings that are not empty, from the root downwards |
//!
//! A proof has exactly one encoding: everything else is refused, so that equal
//! proofs are equal bytes. Decoding must never allocate by an unchecked count.

use super::{DEPTH_MAX, EMPTY, KeyHash, StateProof, Terminal, ValueHash};
use crate::hash::{HASH_LEN, Hash};

const VERSION: u8 = 1;
const TERMINAL_EMPTY: u8 = 0;
const TERMINAL_PRESENT: u8 = 1;
const TERMINAL_OTHER: u8 = 2;

/// Why bytes are not a state proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateProofDecodeError {
    /// The first byte names a layout that this code does not know.
    #[error("unknown state proof version {0}")]
    Version(u8),
    /// The second byte names no terminal.
    #[error("unknown terminal {0} in a state proof")]
    Terminal(u8),
    /// More than [`DEPTH_MAX`] siblings.
    #[error("a state proof of {0} siblings is beyond the limit")]
    TooManySiblings(usize),
    /// Bits are set beyond the last sibling.
    #[error("spare bits of a state proof's bitmap are set")]
    SpareBits,
    /// An empty sibling was written out.
    #[error("sibling {0} of a state proof is empty but written out")]
    EmptySibling(usize),
    /// The bytes end too early.
    #[error("the state proof ends too early")]
    Truncated,
    /// Bytes follow the last sibling.
    #[error("{0} bytes follow a state proof")]
    Trailing(usize),
}

impl StateProof {
    /// The bytes described in the module's documentation.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = self.siblings().len();
        let mut bytes = vec![VERSION, terminal_code(self.terminal())];
        // At most DEPTH_MAX by construction, which two bytes hold.
        bytes.extend_from_slice(&[(count >> 8) as u8, (count & 0xff) as u8]);
        let bitmap_start = bytes.len();
        bytes.resize(bitmap_start + count.div_ceil(8), 0);
        if let Terminal::OtherLeaf { key_hash, value_hash } = self.terminal() {
            bytes.extend_from_slice(key_hash.as_bytes());
            bytes.extend_from_slice(value_hash.as_bytes());
        }
        for (index, sibling) in self.siblings().iter().enumerate() {
            if *sibling != EMPTY {
                bytes[bitmap_start + index / 8] |= 0x80 >> (index % 8);
                bytes.extend_from_slice(sibling.as_bytes());
            }
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// [`StateProofDecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StateProofDecodeError> {
        let mut reader = Reader(bytes);
        let [version] = reader.take()?;
        if version != VERSION {
            return Err(StateProofDecodeError::Version(version));
        }
        let [terminal] = reader.take()?;
        let count = usize::from(u16::from_be_bytes(reader.take()?));
        if count > DEPTH_MAX {
            return Err(StateProofDecodeError::TooManySiblings(count));
        }
        let bitmap = reader.take_slice(count.div_ceil(8))?;
        let is_set = |index: usize| bitmap[index / 8] & (0x80 >> (index % 8)) != 0;
        if (count..bitmap.len() * 8).any(is_set) {
            return Err(StateProofDecodeError::SpareBits);
        }
        let terminal = read_terminal(terminal, &mut reader)?;
        let siblings = (0..count)
            .map(|index| match is_set(index) {
                true => read_sibling(index, &mut reader),
                false => Ok(EMPTY),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if !reader.0.is_empty() {
            return Err(StateProofDecodeError::Trailing(reader.0.len()));
        }
        Self::new(terminal, siblings).map_err(|_| StateProofDecodeError::TooManySiblings(count))
    }
}

const fn terminal_code(terminal: &Terminal) -> u8 {
    match terminal {
        Terminal::Empty => TERMINAL_EMPTY,
        Terminal::Present => TERMINAL_PRESENT,
        Terminal::OtherLeaf { .. } => TERMINAL_OTHER,
    }
}

fn read_terminal(code: u8, reader: &mut Reader<'_>) -> Result<Terminal, StateProofDecodeError> {
    match code {
        TERMINAL_EMPTY => Ok(Terminal::Empty),
        TERMINAL_PRESENT => Ok(Terminal::Present),
        TERMINAL_OTHER => Ok(Terminal::OtherLeaf {
            key_hash: KeyHash::from_bytes(reader.take()?),
            value_hash: ValueHash::from_bytes(reader.take()?),
        }),
        unknown => Err(StateProofDecodeError::Terminal(unknown)),
    }
}

fn read_sibling(index: usize, reader: &mut Reader<'_>) -> Result<Hash, StateProofDecodeError> {
    let sibling = Hash::from_bytes(reader.take::<HASH_LEN>()?);
    if sibling == EMPTY {
        return Err(StateProofDecodeError::EmptySibling(index));
    }
    Ok(sibling)
}

/// The bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateProofDecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(StateProofDecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn take_slice(&mut self, len: usize) -> Result<&'a [u8], StateProofDecodeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(StateProofDecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
