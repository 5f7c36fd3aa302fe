//! Proof generation from stored perfect subtrees (RFC 9162 sections 2.1.3.1
//! and 2.1.4.1).
//!
//! Works for any size up to what is stored, so that a proof against an older
//! tree head is as cheap as one against the newest: O(log n) nodes are read.
//! It must never read a node that is not perfect within the asked size, since
//! no such node is ever stored.

use super::{ConsistencyProof, Frontier, InclusionProof, MerkleError, TREE_SIZE_MAX, left_leaf_count, node_hash};
use crate::hash::Hash;

/// Read access to the perfect subtrees that [`Frontier::append`] yielded.
pub trait NodeReader {
    /// Failure of the store.
    type Error;

    /// The hash of perfect subtree `index` of `level`, or `None` if it was
    /// never completed.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, Self::Error>;
}

/// Why no proof could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// The question has no answer: outside the tree, or sizes out of order.
    #[error(transparent)]
    Request(#[from] MerkleError),
    /// The tree has more than [`TREE_SIZE_MAX`] leaves.
    #[error("a tree of {0} leaves is beyond the limit")]
    TreeSize(u64),
    /// The store lacks a node that a tree of this size has: it is shorter than
    /// asked for, or damaged.
    #[error("Merkle node {index} of level {level} is not stored")]
    MissingNode {
        /// Height above the leaves.
        level: u8,
        /// Position among the nodes of its level.
        index: u64,
    },
    /// The store failed.
    #[error("reading a Merkle node failed: {0}")]
    Reader(E),
}

/// Root of the first `tree_size` leaves.
///
/// # Errors
/// [`ProveError`], except `Request`.
pub fn root_at<R: NodeReader>(reader: &R, tree_size: u64) -> Result<Hash, ProveError<R::Error>> {
    Ok(frontier_at(reader, tree_size)?.root())
}

/// Frontier of the first `tree_size` leaves, as when they had just been
/// appended.
///
/// # Errors
/// [`ProveError`], except `Request`.
pub fn frontier_at<R: NodeReader>(reader: &R, tree_size: u64) -> Result<Frontier, ProveError<R::Error>> {
    check_tree_size(tree_size)?;
    let mut subtrees = Vec::new();
    let mut first = 0;
    for level in (0..u64::BITS).rev() {
        let leaf_count = 1u64 << level;
        if tree_size & leaf_count != 0 {
            subtrees.push(range_root(reader, first, first + leaf_count)?);
            first += leaf_count;
        }
    }
    Ok(Frontier::from_subtrees(tree_size, subtrees).expect("one subtree was pushed for each bit set"))
}

/// Proves that leaf `leaf_index` is among the first `tree_size`.
///
/// # Errors
/// [`ProveError`]; `Request(LeafOutside)` for an index beyond the tree.
pub fn prove_inclusion<R: NodeReader>(
    reader: &R,
    leaf_index: u64,
    tree_size: u64,
) -> Result<InclusionProof, ProveError<R::Error>> {
    check_tree_size(tree_size)?;
    InclusionProof::new(leaf_index, tree_size, Vec::new())?;
    let mut path = Vec::new();
    let (mut first, mut end) = (0, tree_size);
    while end - first > 1 {
        let middle = first + left_leaf_count(end - first);
        if leaf_index < middle {
            path.push(range_root(reader, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(reader, first, middle)?);
            first = middle;
        }
    }
    path.reverse();
    Ok(InclusionProof::new(leaf_index, tree_size, path)?)
}

/// Proves that the first `first_size` of `second_size` leaves are a tree of
/// their own that was extended.
///
/// # Errors
/// [`ProveError`]; `Request(Sizes)` for size 0 or sizes out of order.
pub fn prove_consistency<R: NodeReader>(
    reader: &R,
    first_size: u64,
    second_size: u64,
) -> Result<ConsistencyProof, ProveError<R::Error>> {
    check_tree_size(second_size)?;
    ConsistencyProof::new(first_size, second_size, Vec::new())?;
    let mut path = Vec::new();
    let (mut first, mut end) = (0, second_size);
    while end != first_size {
        let middle = first + left_leaf_count(end - first);
        if first_size <= middle {
            path.push(range_root(reader, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(reader, first, middle)?);
            first = middle;
        }
    }
    // At the left edge the verifier knows this subtree: it is the older root.
    if first != 0 {
        path.push(range_root(reader, first, end)?);
    }
    path.reverse();
    Ok(ConsistencyProof::new(first_size, second_size, path)?)
}

/// Root of the leaves `first..end`, a subtree of some tree: `first` is a
/// multiple of every power of two up to the width.
fn range_root<R: NodeReader>(reader: &R, first: u64, end: u64) -> Result<Hash, ProveError<R::Error>> {
    let leaf_count = end - first;
    if leaf_count.is_power_of_two() {
        return read_node(reader, leaf_count.trailing_zeros(), first);
    }
    let middle = first + left_leaf_count(leaf_count);
    let left = range_root(reader, first, middle)?;
    let right = range_root(reader, middle, end)?;
    Ok(node_hash(&left, &right))
}

fn read_node<R: NodeReader>(reader: &R, level: u32, first: u64) -> Result<Hash, ProveError<R::Error>> {
    let index = first >> level;
    let level = u8::try_from(level).expect("the level of a u64 width is below 64");
    reader.node(level, index).map_err(ProveError::Reader)?.ok_or(ProveError::MissingNode { level, index })
}

fn check_tree_size<E>(tree_size: u64) -> Result<(), ProveError<E>> {
    if tree_size > TREE_SIZE_MAX {
        return Err(ProveError::TreeSize(tree_size));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
