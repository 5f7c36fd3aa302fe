//! The RFC 9162 SHA-256 Merkle tree over all transactions of a ledger.
//!
//! Both sides of a wire use this module: a node grows the tree with a
//! [`Frontier`] and proves from stored nodes ([`prove_inclusion`],
//! [`prove_consistency`]); a client verifies ([`verify_inclusion`],
//! [`verify_consistency`]). The rules are those of RFC 9162 section 2.1, with
//! the inputs checked more strictly than its text demands: see [`verify`].
//!
//! Stored nodes are the *perfect* subtrees only: node `(level, index)` covers
//! the leaves `index * 2^level .. (index + 1) * 2^level`. A perfect subtree
//! never changes once complete, so a store only ever appends.
//!
//! This module must never hash an entry without its leaf prefix, and never see
//! how or where nodes are stored.

mod frontier;
mod generate;
mod verify;

pub use frontier::{Frontier, FrontierDecodeError, PerfectNode, TreeFull};
pub use generate::{NodeReader, ProveError, frontier_at, prove_consistency, prove_inclusion, root_at};
pub use verify::{
    ConsistencyProof, InclusionProof, MerkleError, verify_consistency, verify_extension, verify_inclusion,
};

use crate::hash::Hash;

/// Prefix of an entry before hashing (RFC 9162 section 2.1.1).
const LEAF_PREFIX: [u8; 1] = [0x00];

/// Prefix of two child hashes before hashing (RFC 9162 section 2.1.1).
const NODE_PREFIX: [u8; 1] = [0x01];

/// Most hashes in any proof of this module.
pub const PATH_LEN_MAX: usize = 64;

/// Most leaves in a tree: with it no path is longer than [`PATH_LEN_MAX`], and
/// no index computation overflows.
pub const TREE_SIZE_MAX: u64 = 1 << 63;

/// Hash of a leaf: `SHA-256(0x00 || entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::of(&[&LEAF_PREFIX, entry])
}

/// Hash of an inner node: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&NODE_PREFIX, left.as_bytes(), right.as_bytes()])
}

/// Root of the tree without leaves: SHA-256 of the empty string.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// Root of the tree over `leaf_hashes`, in O(log n) memory.
///
/// # Errors
/// [`TreeFull`] beyond [`TREE_SIZE_MAX`] leaves.
pub fn root_of(leaf_hashes: impl IntoIterator<Item = Hash>) -> Result<Hash, TreeFull> {
    let mut frontier = Frontier::new();
    for leaf in leaf_hashes {
        frontier.append_with(leaf, |_| ())?;
    }
    Ok(frontier.root())
}

/// Number of leaves in the left subtree of a tree of `leaf_count` leaves: the
/// largest power of two below `leaf_count`, which must be at least 2.
const fn left_leaf_count(leaf_count: u64) -> u64 {
    1 << (u64::BITS - 1 - (leaf_count - 1).leading_zeros())
}

#[cfg(test)]
mod tests;
