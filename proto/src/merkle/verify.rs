//! Proofs that travel, and their verification (RFC 9162 sections 2.1.3.2 and
//! 2.1.4.2).
//!
//! Stricter than the RFC's text: hashes of another length than 32 bytes cannot
//! be written ([`Hash`] is checked on entry), a consistency proof from size 0
//! proves nothing and is refused, and path lengths are bounded before any work.
//! Nothing here may trust a proof's length, index or size.

use super::{Frontier, PATH_LEN_MAX, node_hash};
use crate::hash::Hash;

/// Why a proof is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// The leaf is not in a tree of that size.
    #[error("leaf {leaf_index} is outside a tree of {tree_size} leaves")]
    LeafOutside {
        /// Index that the proof claims.
        leaf_index: u64,
        /// Size that the proof claims.
        tree_size: u64,
    },
    /// More than [`PATH_LEN_MAX`] hashes.
    #[error("a path of {0} hashes is beyond the limit")]
    PathTooLong(usize),
    /// The path has not the length that index and sizes demand.
    #[error("a path of {0} hashes does not fit the claimed position")]
    PathLength(usize),
    /// Consistency from nothing, or from a larger tree to a smaller.
    #[error("no consistency proof leads from {first_size} to {second_size} leaves")]
    Sizes {
        /// Size of the older tree.
        first_size: u64,
        /// Size of the newer tree.
        second_size: u64,
    },
    /// The path leads to another root (of the newer tree, for consistency).
    #[error("the proof leads to root {computed}, not {expected}")]
    RootMismatch {
        /// Root that the verifier trusts.
        expected: Hash,
        /// Root that follows from the proof.
        computed: Hash,
    },
    /// A consistency path does not contain the older tree.
    #[error("the proof leads to older root {computed}, not {expected}")]
    FirstRootMismatch {
        /// Older root that the verifier trusts.
        expected: Hash,
        /// Older root that follows from the proof.
        computed: Hash,
    },
}

/// Proof that a leaf is in a tree (RFC 9162 section 2.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    leaf_index: u64,
    tree_size: u64,
    path: Vec<Hash>,
}

impl InclusionProof {
    /// Checks the bounds of a received proof; the path itself is judged by
    /// [`verify_inclusion`].
    ///
    /// # Errors
    /// [`MerkleError::LeafOutside`] and [`MerkleError::PathTooLong`].
    pub fn new(leaf_index: u64, tree_size: u64, path: Vec<Hash>) -> Result<Self, MerkleError> {
        if leaf_index >= tree_size {
            return Err(MerkleError::LeafOutside { leaf_index, tree_size });
        }
        check_path_len(&path)?;
        Ok(Self { leaf_index, tree_size, path })
    }

    /// Index of the leaf, from 0.
    #[must_use]
    pub const fn leaf_index(&self) -> u64 {
        self.leaf_index
    }

    /// Number of leaves of the tree.
    #[must_use]
    pub const fn tree_size(&self) -> u64 {
        self.tree_size
    }

    /// Sibling hashes, from the leaf's upwards.
    #[must_use]
    pub fn path(&self) -> &[Hash] {
        &self.path
    }
}

/// Proof that one tree is a prefix of another (RFC 9162 section 2.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    first_size: u64,
    second_size: u64,
    path: Vec<Hash>,
}

impl ConsistencyProof {
    /// Checks the bounds of a received proof; the path itself is judged by
    /// [`verify_consistency`].
    ///
    /// # Errors
    /// [`MerkleError::Sizes`] and [`MerkleError::PathTooLong`].
    pub fn new(first_size: u64, second_size: u64, path: Vec<Hash>) -> Result<Self, MerkleError> {
        if first_size == 0 || first_size > second_size {
            return Err(MerkleError::Sizes { first_size, second_size });
        }
        check_path_len(&path)?;
        Ok(Self { first_size, second_size, path })
    }

    /// Number of leaves of the older tree, at least 1.
    #[must_use]
    pub const fn first_size(&self) -> u64 {
        self.first_size
    }

    /// Number of leaves of the newer tree.
    #[must_use]
    pub const fn second_size(&self) -> u64 {
        self.second_size
    }

    /// Hashes in the order of RFC 9162 section 2.1.4.1.
    #[must_use]
    pub fn path(&self) -> &[Hash] {
        &self.path
    }
}

/// Verifies that the leaf with hash `leaf_hash` is in the tree with `root`.
///
/// # Errors
/// [`MerkleError::PathLength`] and [`MerkleError::RootMismatch`].
pub fn verify_inclusion(leaf_hash: &Hash, proof: &InclusionProof, root: &Hash) -> Result<(), MerkleError> {
    let mut position = Position::new(proof.leaf_index, proof.tree_size - 1);
    let mut computed = *leaf_hash;
    for sibling in &proof.path {
        computed = match position.climb() {
            Side::Left => node_hash(sibling, &computed),
            Side::Right => node_hash(&computed, sibling),
            Side::None => return Err(MerkleError::PathLength(proof.path.len())),
        };
    }
    if !position.at_root() {
        return Err(MerkleError::PathLength(proof.path.len()));
    }
    check_root(root, computed)
}

/// Verifies that the tree with `first_root` is a prefix of the tree with
/// `second_root`.
///
/// # Errors
/// [`MerkleError::PathLength`], [`MerkleError::RootMismatch`] and
/// [`MerkleError::FirstRootMismatch`].
pub fn verify_consistency(proof: &ConsistencyProof, first_root: &Hash, second_root: &Hash) -> Result<(), MerkleError> {
    if proof.first_size == proof.second_size {
        return match proof.path.is_empty() {
            true => check_root(second_root, *first_root),
            false => Err(MerkleError::PathLength(proof.path.len())),
        };
    }
    verify_extension(proof, first_root, second_root).map(drop)
}

/// As [`verify_consistency`], of a tree that grew: with the right edge of the older one, to which
/// leaves can be appended. It is in the proof (RFC 9162 section 2.1.4.1): the perfect subtrees
/// that the older tree ends with, from the smallest on.
///
/// # Errors
/// As [`verify_consistency`]; [`MerkleError::Sizes`] if both sizes are the same.
pub fn verify_extension(
    proof: &ConsistencyProof,
    first_root: &Hash,
    second_root: &Hash,
) -> Result<Frontier, MerkleError> {
    let ConsistencyProof { first_size, second_size, .. } = *proof;
    if first_size == second_size {
        return Err(MerkleError::Sizes { first_size, second_size });
    }
    let wrong_length = MerkleError::PathLength(proof.path.len());
    // A first tree that is one perfect subtree is its own starting point and
    // is left out of the path; otherwise the path begins with it.
    let (seed, rest) = if proof.first_size.is_power_of_two() {
        (first_root, &proof.path[..])
    } else {
        proof.path.split_first().ok_or(wrong_length)?
    };
    let mut position = Position::new(proof.first_size - 1, proof.second_size - 1);
    position.skip_right_edges();
    let (mut first, mut second) = (*seed, *seed);
    let mut subtrees = vec![*seed];
    for sibling in rest {
        match position.climb() {
            Side::Left => {
                subtrees.push(*sibling);
                first = node_hash(sibling, &first);
                second = node_hash(sibling, &second);
            }
            Side::Right => second = node_hash(&second, sibling),
            Side::None => return Err(wrong_length),
        }
    }
    if !position.at_root() {
        return Err(wrong_length);
    }
    if first != *first_root {
        return Err(MerkleError::FirstRootMismatch { expected: *first_root, computed: first });
    }
    check_root(second_root, second)?;
    subtrees.reverse();
    // A walk of the right length turns left once for each of them but the smallest.
    Frontier::from_subtrees(first_size, subtrees).ok_or(wrong_length)
}

/// On which side of the current node its sibling stands.
enum Side {
    Left,
    Right,
    /// The current node is the root: the path is too long.
    None,
}

/// The walk of RFC 9162: `fn` and `sn`, the index of the current node and of
/// the last node on its level.
struct Position {
    node: u64,
    last: u64,
}

impl Position {
    const fn new(node: u64, last: u64) -> Self {
        Self { node, last }
    }

    const fn at_root(&self) -> bool {
        self.last == 0
    }

    /// Step 4 of section 2.1.4.2: start at the perfect subtree that ends the
    /// first tree.
    fn skip_right_edges(&mut self) {
        let levels = self.node.trailing_ones();
        self.shift(levels);
    }

    /// Moves to the parent and says where the sibling was.
    fn climb(&mut self) -> Side {
        if self.last == 0 {
            return Side::None;
        }
        let side = if self.node % 2 == 1 {
            Side::Left
        } else if self.node == self.last {
            // The last node of an uneven level has no sibling there: it is
            // passed up until it is a right child.
            let levels = self.node.trailing_zeros();
            self.shift(levels);
            Side::Left
        } else {
            Side::Right
        };
        self.shift(1);
        side
    }

    /// Shifts by `levels`, of which 64 mean "all".
    fn shift(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }
}

fn check_path_len(path: &[Hash]) -> Result<(), MerkleError> {
    if path.len() > PATH_LEN_MAX {
        return Err(MerkleError::PathTooLong(path.len()));
    }
    Ok(())
}

fn check_root(expected: &Hash, computed: Hash) -> Result<(), MerkleError> {
    if *expected != computed {
        return Err(MerkleError::RootMismatch { expected: *expected, computed });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
