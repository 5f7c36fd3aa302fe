//! Where a node stands: a prefix of key hashes, in nibbles.
//!
//! Its bytes are a store's key: length first, so that the few nodes near the
//! root, which every block touches, stand side by side; then by prefix. It must
//! never have two encodings for one path.

use consilium_proto::hash::HASH_LEN;
use consilium_proto::state_tree::KeyHash;

/// Most nibbles of a key hash.
pub(super) const NIBBLES: usize = 2 * HASH_LEN;

/// A prefix of 0 to 64 nibbles; ordered by length, then by value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePath {
    /// Number of nibbles.
    len: u8,
    /// Two nibbles a byte, the first in the high half; zero beyond `len`.
    packed: [u8; HASH_LEN],
}

/// Why bytes are not a node path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodePathError {
    /// No bytes at all.
    #[error("a node path has at least one byte")]
    Empty,
    /// More nibbles than a key hash has.
    #[error("a node path of {0} nibbles is beyond the limit")]
    TooLong(u8),
    /// The number of bytes does not follow from the number of nibbles.
    #[error("a node path must be {expected} bytes, got {actual}")]
    Length {
        /// Bytes that the first byte promises.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// The unused half of the last byte is not zero.
    #[error("the spare nibble of a node path is not zero")]
    SpareNibble,
}

impl NodePath {
    /// The path of the root: no nibbles.
    pub const ROOT: Self = Self { len: 0, packed: [0; HASH_LEN] };

    /// Number of nibbles, 0 to 64.
    #[must_use]
    pub fn depth(&self) -> usize {
        usize::from(self.len)
    }

    /// The bytes under which a store keeps the node: the number of nibbles,
    /// then the nibbles two a byte, high half first, padded with a zero nibble.
    /// Ordered as the paths are.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let packed = &self.packed[..self.depth().div_ceil(2)];
        let mut bytes = Vec::with_capacity(1 + packed.len());
        bytes.push(self.len);
        bytes.extend_from_slice(packed);
        bytes
    }

    /// The path of child `nibble` (0 to 15).
    ///
    /// # Panics
    /// At depth 64. No node gets there: its keys would be equal.
    pub(super) fn child(&self, nibble: usize) -> Self {
        let (depth, mut packed) = (self.depth(), self.packed);
        let nibble = u8::try_from(nibble & 0xf).expect("masked to four bits");
        packed[depth / 2] |= nibble << if depth.is_multiple_of(2) { 4 } else { 0 };
        Self { len: self.len + 1, packed }
    }

    /// The nibble by which `key` leaves the node at this path.
    ///
    /// # Panics
    /// At depth 64, as [`child`](Self::child).
    pub(super) fn nibble_of(&self, key: &KeyHash) -> usize {
        let byte = key.as_bytes()[self.depth() / 2];
        usize::from(if self.depth().is_multiple_of(2) { byte >> 4 } else { byte & 0xf })
    }

    /// Whether `key` lies below this path.
    pub(super) fn is_prefix_of(&self, key: &KeyHash) -> bool {
        let (whole, key) = (self.depth() / 2, key.as_bytes());
        self.packed[..whole] == key[..whole]
            && (self.depth().is_multiple_of(2) || self.packed[whole] == key[whole] & 0xf0)
    }
}

impl TryFrom<&[u8]> for NodePath {
    type Error = NodePathError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        let (&len, nibbles) = bytes.split_first().ok_or(NodePathError::Empty)?;
        if usize::from(len) > NIBBLES {
            return Err(NodePathError::TooLong(len));
        }
        let packed_len = usize::from(len).div_ceil(2);
        if nibbles.len() != packed_len {
            return Err(NodePathError::Length { expected: 1 + packed_len, actual: bytes.len() });
        }
        let mut packed = [0; HASH_LEN];
        packed[..packed_len].copy_from_slice(nibbles);
        if len % 2 == 1 && packed[packed_len - 1] & 0xf != 0 {
            return Err(NodePathError::SpareNibble);
        }
        Ok(Self { len, packed })
    }
}

impl core::fmt::Display for NodePath {
    /// The nibbles as hexadecimal digits after a slash.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("/")?;
        for depth in 0..self.depth() {
            let byte = self.packed[depth / 2];
            let nibble = if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0xf };
            write!(formatter, "{nibble:x}")?;
        }
        Ok(())
    }
}

impl core::fmt::Debug for NodePath {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "NodePath({self})")
    }
}

#[cfg(test)]
mod tests;
