//! The right edge of a growing tree: all that is needed to append and to know
//! the root.
//!
//! A frontier of size n holds one hash for every bit set in n: the perfect
//! subtrees from left to right, the largest first. It must never lose the
//! equality "number of hashes = bits set in the size"; decoding checks it.

use super::{TREE_SIZE_MAX, empty_root, node_hash};
use crate::hash::{HASH_LEN, Hash};

/// First byte of an encoded frontier. Changing the layout needs a new value:
/// stored frontiers and snapshots hold it.
const VERSION: u8 = 1;

/// Bytes before the hashes: version, size.
const HEADER_LEN: usize = 1 + 8;

/// A complete perfect subtree; it never changes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerfectNode {
    /// Height above the leaves; a leaf has level 0.
    pub level: u8,
    /// Position among the nodes of its level; the leftmost is 0.
    pub index: u64,
    /// Hash of the subtree.
    pub hash: Hash,
}

/// The tree holds [`TREE_SIZE_MAX`] leaves and takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Merkle tree is full")]
pub struct TreeFull;

/// Why bytes are not a frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierDecodeError {
    /// The first byte names a layout that this code does not know.
    #[error("unknown frontier version {0}")]
    Version(u8),
    /// The length does not follow from the size.
    #[error("frontier must be {expected} bytes, got {actual}")]
    Length {
        /// Bytes that the header promises (at least a header's length).
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// More leaves than [`TREE_SIZE_MAX`].
    #[error("frontier of {0} leaves is beyond the limit")]
    Size(u64),
}

/// Append-only tree, reduced to its size and its perfect subtrees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// One hash per bit set in `size`, largest subtree first.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, subtrees: Vec::new() }
    }

    /// A frontier from its parts, if there are as many as the size asks for.
    #[must_use]
    pub fn from_subtrees(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        let fits = size <= TREE_SIZE_MAX && subtrees.len() == size.count_ones() as usize;
        fits.then_some(Self { size, subtrees })
    }

    /// Its perfect subtrees, the largest first.
    #[must_use]
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree (RFC 9162 section 2.1.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev().copied();
        let Some(smallest) = subtrees.next() else {
            return empty_root();
        };
        subtrees.fold(smallest, |right, left| node_hash(&left, &right))
    }

    /// Appends a leaf and returns the perfect subtrees that it completes, from
    /// the leaf itself (level 0) upwards: exactly what a store has to add.
    ///
    /// # Errors
    /// [`TreeFull`] beyond [`TREE_SIZE_MAX`] leaves; nothing is changed then.
    pub fn append(&mut self, leaf_hash: Hash) -> Result<Vec<PerfectNode>, TreeFull> {
        let mut completed = Vec::new();
        self.append_with(leaf_hash, |node| completed.push(node))?;
        Ok(completed)
    }

    /// As [`append`](Self::append), handing each completed subtree to `sink`
    /// without allocating.
    ///
    /// # Errors
    /// [`TreeFull`] beyond [`TREE_SIZE_MAX`] leaves; nothing is changed then.
    pub fn append_with(&mut self, leaf_hash: Hash, mut sink: impl FnMut(PerfectNode)) -> Result<(), TreeFull> {
        if self.size >= TREE_SIZE_MAX {
            return Err(TreeFull);
        }
        let mut node = PerfectNode { level: 0, index: self.size, hash: leaf_hash };
        sink(node);
        // An odd index is a right child: its left sibling is the last subtree.
        while node.index % 2 == 1
            && let Some(left) = self.subtrees.pop()
        {
            node = PerfectNode { level: node.level + 1, index: node.index / 2, hash: node_hash(&left, &node.hash) };
            sink(node);
        }
        self.subtrees.push(node.hash);
        self.size += 1;
        Ok(())
    }

    /// Bytes: version (1), size (8, big-endian), then 32 per perfect subtree,
    /// largest first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.subtrees.len() * HASH_LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        for subtree in &self.subtrees {
            bytes.extend_from_slice(subtree.as_bytes());
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// [`FrontierDecodeError`] for an unknown version, a size beyond the limit
    /// or a length that does not follow from the size.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrontierDecodeError> {
        let too_short = FrontierDecodeError::Length { expected: HEADER_LEN, actual: bytes.len() };
        let (&version, rest) = bytes.split_first().ok_or(too_short)?;
        if version != VERSION {
            return Err(FrontierDecodeError::Version(version));
        }
        let (size, hashes) = rest.split_first_chunk::<8>().ok_or(too_short)?;
        let size = u64::from_be_bytes(*size);
        if size > TREE_SIZE_MAX {
            return Err(FrontierDecodeError::Size(size));
        }
        let (chunks, remainder) = hashes.as_chunks::<HASH_LEN>();
        if chunks.len() != size.count_ones() as usize || !remainder.is_empty() {
            return Err(FrontierDecodeError::Length {
                expected: HEADER_LEN + size.count_ones() as usize * HASH_LEN,
                actual: bytes.len(),
            });
        }
        let subtrees = chunks.iter().copied().map(Hash::from_bytes).collect();
        Ok(Self { size, subtrees })
    }
}

#[cfg(test)]
mod tests;
