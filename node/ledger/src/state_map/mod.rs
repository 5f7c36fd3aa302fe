//! The authenticated state map, kept up to date block by block.
//!
//! The hashing rules are `consilium_proto::state_tree`; this module owns how
//! the tree is laid out in a store, and how a batch of changes becomes a new
//! root. It holds the *current* state only, in place: no versions, nothing to
//! prune.
//!
//! # Layout
//! Four binary levels are one stored node, at a path of nibbles; leaves are
//! kept in their parent. At 1,000,000 keys that is five levels. A node exists
//! exactly where two keys or more share its path (and at the root, where there
//! is one), so equal maps are equal stores, whatever their history.
//!
//! # Steps of an update
//! 1. [`update`] descends once from the root along all changed keys; each node
//!    on the way is read once, hashed once and listed once in
//!    [`TrieUpdate::writes`].
//! 2. The caller puts the writes into the *same* atomic batch as the state
//!    itself. A tree that was written without its state, or the reverse, is
//!    what [`check`] finds and no proof survives.
//!
//! The hash of a node is not computed again when it is read: a damaged store
//! yields a root that differs from the certified header's, and [`check`] names
//! the node.
//!
//! This module must never see a database, a clock or a thread, and never write.

mod check;
mod memory;
mod node;
mod path;
mod prove;
mod update;

pub use check::{CheckReport, check};
pub use memory::MemoryTrie;
pub use node::NodeDecodeError;
pub use path::{NodePath, NodePathError};
pub use prove::{Prover, lookup, prove, root};
pub use update::{Changes, TrieUpdate, update};

use bytes::Bytes;
use consilium_proto::hash::Hash;

use node::Node;

/// Read access to the stored nodes, as of the last applied update.
pub trait TrieStore {
    /// Failure of the store.
    type Error: core::error::Error;

    /// The bytes last written at `path`, or `None` if there are none.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, Self::Error>;
}

/// Why the tree could not be read. Each variant is a fault of this node's
/// store: none is caused by a transaction, and none is cured by a retry unless
/// the store's own error is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrieError<E> {
    /// The store failed.
    #[error("reading a state tree node failed: {0}")]
    Store(E),
    /// A parent names a child that is not stored.
    #[error("state tree node {0} is not stored")]
    Missing(NodePath),
    /// The bytes at a path are no node that could stand there.
    #[error("state tree node {path} is damaged: {reason}")]
    Damaged {
        /// Where the node is stored.
        path: NodePath,
        /// What is wrong with its bytes.
        reason: NodeDecodeError,
    },
    /// A node is not the one that its parent commits to.
    #[error("state tree node {path} hashes to {computed}, its parent says {expected}")]
    HashMismatch {
        /// Where the node is stored.
        path: NodePath,
        /// What the parent says.
        expected: Hash,
        /// What the node's bytes hash to.
        computed: Hash,
    },
}

/// Reads the root node; the empty tree has none.
fn read_root<S: TrieStore>(store: &S) -> Result<Option<Node>, TrieError<S::Error>> {
    read(store, &NodePath::ROOT)
}

/// Reads a node that its parent names.
fn read_child<S: TrieStore>(store: &S, path: &NodePath) -> Result<Node, TrieError<S::Error>> {
    read(store, path)?.ok_or(TrieError::Missing(*path))
}

fn read<S: TrieStore>(store: &S, path: &NodePath) -> Result<Option<Node>, TrieError<S::Error>> {
    let Some(bytes) = store.node(path).map_err(TrieError::Store)? else {
        return Ok(None);
    };
    let node = Node::decode(path, &bytes).map_err(|reason| TrieError::Damaged { path: *path, reason })?;
    Ok(Some(node))
}

#[cfg(test)]
mod tests;
