//! Questions to the current tree: its root, the value under a key, and the
//! proof of either answer.
//!
//! It must never answer from a node that is not linked from the root.

use consilium_proto::hash::Hash;
use consilium_proto::state_tree::{EMPTY, KeyHash, StateProof, Subtree, Terminal, ValueHash};

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
    let end = descend(store, key, |node, nibble| node.slots()[nibble])?;
    Ok(match end {
        Slot::Leaf(found, value) if found == *key => Some(value),
        Slot::Leaf(..) | Slot::Empty | Slot::Inner(_) => None,
    })
}

/// Proves what the tree holds under `key`: a value, or nothing.
///
/// # Errors
/// [`TrieError`], if the store fails or is damaged.
pub fn prove<S: TrieStore>(store: &S, key: &KeyHash) -> Result<StateProof, TrieError<S::Error>> {
    let mut siblings = Vec::new();
    let end = descend(store, key, |node, nibble| walk_levels(node, nibble, &mut siblings))?;
    let terminal = match end {
        Slot::Leaf(found, _) if found == *key => Terminal::Present,
        Slot::Leaf(key_hash, value_hash) => Terminal::OtherLeaf { key_hash, value_hash },
        Slot::Empty | Slot::Inner(_) => Terminal::Empty,
    };
    Ok(StateProof::new(terminal, siblings).expect("at most 64 nodes of 4 levels each"))
}

/// Follows `key` from the root, asking `next` at each node for the slot to go
/// on with, until that is no inner node.
fn descend<S: TrieStore>(
    store: &S,
    key: &KeyHash,
    mut next: impl FnMut(&Node, usize) -> Slot,
) -> Result<Slot, TrieError<S::Error>> {
    let Some(mut node) = read_root(store)? else {
        return Ok(Slot::Empty);
    };
    let mut path = NodePath::ROOT;
    loop {
        let nibble = path.nibble_of(key);
        let slot = next(&node, nibble);
        if !matches!(slot, Slot::Inner(_)) {
            return Ok(slot);
        }
        path = path.child(nibble);
        node = read_child(store, &path)?;
    }
}

/// Walks the four binary levels of a node towards slot `nibble`, collecting
/// siblings, to where the path ends: an inner slot (it goes on below), or what
/// the empty or single-leaf subtree holds that it has reached, which may be
/// the leaf of a neighbouring slot.
fn walk_levels(node: &Node, nibble: usize, siblings: &mut Vec<Hash>) -> Slot {
    let quarters = node.quarters();
    let halves = join_pairs(&quarters);
    let slots = node.quarter_slots(nibble >> 2);
    let pairs = join_pairs(&slots);
    // From the top: the subtree on the path, and the one beside the next.
    let steps = [
        (Subtree::join(halves[0], halves[1]), halves[nibble >> 3 ^ 1]),
        (halves[nibble >> 3], quarters[nibble >> 2 ^ 1]),
        (quarters[nibble >> 2], pairs[nibble >> 1 & 1 ^ 1]),
        (pairs[nibble >> 1 & 1], slots[nibble & 3 ^ 1]),
    ];
    for (depth, (own, beside)) in steps.iter().enumerate() {
        match own {
            Subtree::Inner(_) => siblings.push(beside.hash()),
            Subtree::Empty | Subtree::Leaf(_) => return only_slot(node, nibble, steps.len() - depth),
        }
    }
    node.slots()[nibble]
}

fn join_pairs([a, b, c, d]: &[Subtree; 4]) -> [Subtree; 2] {
    [Subtree::join(*a, *b), Subtree::join(*c, *d)]
}

/// The slot in use, if any, of the subtree `level` levels above slot `nibble`.
fn only_slot(node: &Node, nibble: usize, level: usize) -> Slot {
    let first = nibble >> level << level;
    let slots = &node.slots()[first..first + (1 << level)];
    let used = slots.iter().find(|slot| **slot != Slot::Empty);
    used.copied().unwrap_or(Slot::Empty)
}
