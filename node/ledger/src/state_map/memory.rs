//! A tree in memory: for tests, simulations and benchmarks, and for tools that
//! rebuild a state to verify it.
//!
//! It must never be what a node keeps its ledger in: it survives nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;

use super::{NodePath, TrieStore, TrieUpdate};

/// Stored nodes by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryTrie {
    nodes: BTreeMap<NodePath, Bytes>,
}

impl MemoryTrie {
    /// The empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: BTreeMap::new() }
    }

    /// Stores what an update computed.
    pub fn apply(&mut self, update: TrieUpdate) {
        for (path, node) in update.writes {
            self.put(path, node);
        }
    }

    /// Stores or deletes the bytes of one node.
    pub fn put(&mut self, path: NodePath, node: Option<Vec<u8>>) {
        match node {
            Some(bytes) => self.nodes.insert(path, Bytes::from(bytes)),
            None => self.nodes.remove(&path),
        };
    }

    /// Stored nodes, by ascending path.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (&NodePath, &Bytes)> {
        self.nodes.iter()
    }
}

impl TrieStore for MemoryTrie {
    type Error = Infallible;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, Infallible> {
        Ok(self.nodes.get(path).cloned())
    }
}
