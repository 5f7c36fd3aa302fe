//! Questions to the current tree: its root, the value under a key, and the
//! proof of either answer.
//!
//! It must never answer from a node that is not linked from the root.

use std::collections::BTreeMap;

use consilium_proto::hash::Hash;
use consilium_proto::state_tree::{EMPTY, KeyHash, StateProof, Terminal, ValueHash};

use super::node::{Node, Slot};
use super::{NodePath, TrieError, TrieStore, read_child, read_root};

/// Root of the tree in `store`.
///
/// # Errors
/// [`TrieError`], if the store fails or is damaged.
pub fn root<S: TrieStore>(store: &S) -> Result<Hash, TrieError<S::Error>> {
    Ok(read_root(store)?.map_or(EMPTY, |node| node.subtree().hash()))
}

/// The hash of the value under `key`, if there is one.
///
/// # Errors
/// [`TrieError`], if the store fails or is damaged.
pub fn lookup<S: TrieStore>(store: &S, key: &KeyHash) -> Result<Option<ValueHash>, TrieError<S::Error>> {
    let end = Prover::new(store).descend(key, |node, nibble| node.slots()[nibble])?;
    Ok(match end {
        Slot::Leaf(found, value) if found == *key => Some(value),
        Slot::Leaf(..) | Slot::Empty | Slot::Inner(_) => None,
    })
}

/// Proves what the tree holds under `key`: a value, or nothing. Of several keys, a [`Prover`] does.
///
/// # Errors
/// [`TrieError`], if the store fails or is damaged.
pub fn prove<S: TrieStore>(store: &S, key: &KeyHash) -> Result<StateProof, TrieError<S::Error>> {
    Prover::new(store).prove(key)
}

/// Proves several keys, and reads the nodes near the root once: the store must not change
/// meanwhile.
pub struct Prover<'a, S> {
    store: &'a S,
    /// Those above [`KEPT_DEPTH`], at most 273.
    kept: BTreeMap<NodePath, Node>,
}

/// Levels of nodes that are kept: below, two of a thousand keys hardly ever meet in one.
const KEPT_DEPTH: usize = 3;

impl<'a, S: TrieStore> Prover<'a, S> {
    /// One that has read nothing yet.
    #[must_use]
    pub fn new(store: &'a S) -> Self {
        Self { store, kept: BTreeMap::new() }
    }

    /// Proves what the tree holds under `key`: a value, or nothing.
    ///
    /// # Errors
    /// [`TrieError`], if the store fails or is damaged.
    pub fn prove(&mut self, key: &KeyHash) -> Result<StateProof, TrieError<S::Error>> {
        let mut siblings = Vec::new();
        let end = self.descend(key, |node, nibble| walk_levels(node, nibble, &mut siblings))?;
        let terminal = match end {
            Slot::Leaf(found, _) if found == *key => Terminal::Present,
            Slot::Leaf(key_hash, value_hash) => Terminal::OtherLeaf { key_hash, value_hash },
            Slot::Empty | Slot::Inner(_) => Terminal::Empty,
        };
        Ok(StateProof::new(terminal, siblings).expect("at most 64 nodes of 4 levels each"))
    }

    /// Follows `key` from the root, asking `next` at each node for the slot to go
    /// on with, until that is no inner node.
    fn descend(
        &mut self,
        key: &KeyHash,
        mut next: impl FnMut(&Node, usize) -> Slot,
    ) -> Result<Slot, TrieError<S::Error>> {
        let mut path = NodePath::ROOT;
        loop {
            let nibble = path.nibble_of(key);
            let slot = match self.kept.get(&path) {
                Some(node) => next(node, nibble),
                None => {
                    let Some(node) = self.read(&path)? else { return Ok(Slot::Empty) };
                    let slot = next(&node, nibble);
                    if path.depth() < KEPT_DEPTH {
                        self.kept.insert(path, node);
                    }
                    slot
                }
            };
            if !matches!(slot, Slot::Inner(_)) {
                return Ok(slot);
            }
            path = path.child(nibble);
        }
    }

    /// The empty tree has no root node; every other one is there, since its parent names it.
    fn read(&self, path: &NodePath) -> Result<Option<Node>, TrieError<S::Error>> {
        match *path == NodePath::ROOT {
            true => read_root(self.store),
            false => read_child(self.store, path).map(Some),
        }
    }
}

/// Walks the four binary levels of a node towards slot `nibble`, collecting
/// siblings, to where the path ends: an inner slot (it goes on below), or what
/// the empty or single-leaf subtree holds that it has reached, which may be
/// the leaf of a neighbouring slot.
fn walk_levels(node: &Node, nibble: usize, siblings: &mut Vec<Hash>) -> Slot {
    for depth in 0..4 {
        // The subtree on the path has so many levels, the one beside the next one less.
        let level = 4 - depth;
        let first = nibble >> level << level;
        if node.key_count(first..first + (1 << level)) < 2 {
            return only_slot(node, nibble, level);
        }
        let beside = (nibble >> (level - 1) ^ 1) << (level - 1);
        siblings.push(node.subtree_over(beside, level - 1).hash());
    }
    node.slots()[nibble]
}

/// The slot in use, if any, of the subtree `level` levels above slot `nibble`.
fn only_slot(node: &Node, nibble: usize, level: usize) -> Slot {
    let first = nibble >> level << level;
    let slots = &node.slots()[first..first + (1 << level)];
    let used = slots.iter().find(|slot| **slot != Slot::Empty);
    used.copied().unwrap_or(Slot::Empty)
}
