//! A batch of changes becomes a new root: one descent, each node on the way
//! read, hashed and written once.
//!
//! It must never write a node that did not change, and never leave a subtree
//! with a single key as a node: equal maps must be equal stores.

use std::collections::BTreeMap;

use consilium_proto::hash::Hash;
use consilium_proto::state_tree::{KeyHash, ValueHash};

use super::node::{Node, Slot};
use super::{NodePath, TrieError, TrieStore, read_child, read_root};

/// What a block does to the state: by key, the new value's hash, or `None`
/// where the key is removed. Removing an absent key changes nothing.
pub type Changes = BTreeMap<KeyHash, Option<ValueHash>>;

/// The outcome of an update; nothing is stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrieUpdate {
    /// Root after the changes.
    pub root: Hash,
    /// Nodes to store (bytes) or to delete (`None`), each path at most once,
    /// children before parents. To be written in the batch that writes the
    /// state itself.
    pub writes: Vec<(NodePath, Option<Vec<u8>>)>,
    /// Nodes that were read from the store.
    pub nodes_read: usize,
}

/// Applies `changes` to the tree in `store`, which is only read.
///
/// Work grows with the number of changed keys times the tree's depth (five
/// levels at a million keys); neighbours share the nodes above them, so one
/// large batch is cheaper than many small ones.
///
/// # Errors
/// [`TrieError`], if the store fails or is damaged.
pub fn update<S: TrieStore>(store: &S, changes: &Changes) -> Result<TrieUpdate, TrieError<S::Error>> {
    let changes: Vec<Change> = changes.iter().map(|(key, value)| (*key, *value)).collect();
    let mut updater = Updater { store, writes: Vec::with_capacity(2 * changes.len()), nodes_read: 0 };
    let root = updater.update_root(&changes)?;
    Ok(TrieUpdate { root, writes: updater.writes, nodes_read: updater.nodes_read })
}

type Change = (KeyHash, Option<ValueHash>);
type Leaf = (KeyHash, ValueHash);

struct Updater<'a, S> {
    store: &'a S,
    writes: Vec<(NodePath, Option<Vec<u8>>)>,
    nodes_read: usize,
}

impl<S: TrieStore> Updater<'_, S> {
    fn update_root(&mut self, changes: &[Change]) -> Result<Hash, TrieError<S::Error>> {
        let path = NodePath::ROOT;
        let stored = read_root(self.store)?;
        self.nodes_read += usize::from(stored.is_some());
        let mut node = stored.unwrap_or(Node::EMPTY);
        if self.update_slots(&path, &mut node, changes)? {
            node.seal();
            // Unlike other nodes, the root stays a node for a single leaf.
            let bytes = (node.collapsed() != Some(Slot::Empty)).then(|| node.encode());
            self.writes.push((path, bytes));
        }
        Ok(node.subtree().hash())
    }

    /// Changes one subtree and says what its parent shall hold.
    fn update_slot(&mut self, path: &NodePath, slot: &Slot, changes: &[Change]) -> Result<Slot, TrieError<S::Error>> {
        match slot {
            Slot::Empty => Ok(self.build(path, &merge(None, changes))),
            Slot::Leaf(key, value) => Ok(self.build(path, &merge(Some((*key, *value)), changes))),
            Slot::Inner(_) => self.update_inner(path, slot, changes),
        }
    }

    fn update_inner(
        &mut self,
        path: &NodePath,
        before: &Slot,
        changes: &[Change],
    ) -> Result<Slot, TrieError<S::Error>> {
        let mut node = read_child(self.store, path)?;
        self.nodes_read += 1;
        if !self.update_slots(path, &mut node, changes)? {
            return Ok(*before);
        }
        if let Some(collapsed) = node.collapsed() {
            self.writes.push((*path, None));
            return Ok(collapsed);
        }
        Ok(self.write(path, node))
    }

    /// Changes the slots of `node` to which changes lead; true if one differs.
    fn update_slots(
        &mut self,
        path: &NodePath,
        node: &mut Node,
        changes: &[Change],
    ) -> Result<bool, TrieError<S::Error>> {
        let mut changed = false;
        for group in changes.chunk_by(|(a, _), (b, _)| path.nibble_of(a) == path.nibble_of(b)) {
            let index = path.nibble_of(&group[0].0);
            let before = node.slots()[index];
            let after = self.update_slot(&path.child(index), &before, group)?;
            if after != before {
                node.set(index, after);
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Builds the subtree of `leaves`, ascending, where no node is stored yet.
    fn build(&mut self, path: &NodePath, leaves: &[Leaf]) -> Slot {
        match leaves {
            [] => Slot::Empty,
            [(key, value)] => Slot::Leaf(*key, *value),
            _ => {
                let mut node = Node::EMPTY;
                for group in leaves.chunk_by(|(a, _), (b, _)| path.nibble_of(a) == path.nibble_of(b)) {
                    let index = path.nibble_of(&group[0].0);
                    let slot = self.build(&path.child(index), group);
                    node.set(index, slot);
                }
                self.write(path, node)
            }
        }
    }

    fn write(&mut self, path: &NodePath, mut node: Node) -> Slot {
        node.seal();
        self.writes.push((*path, Some(node.encode())));
        Slot::Inner(node.subtree().hash())
    }
}

/// The leaves of a subtree that held at most one, after `changes`.
fn merge(old: Option<Leaf>, changes: &[Change]) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = changes.iter().filter_map(|(key, value)| value.map(|value| (*key, value))).collect();
    if let Some((key, value)) = old
        && changes.binary_search_by_key(&key, |(key, _)| *key).is_err()
    {
        let at = leaves.partition_point(|(other, _)| *other < key);
        leaves.insert(at, (key, value));
    }
    leaves
}
