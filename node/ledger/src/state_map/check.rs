//! The audit of a stored tree: every node is read, hashed and compared with
//! what its parent commits to.
//!
//! For operators after a crash or a bad disk, and for tests. It must never
//! repair: which side is wrong, the tree or the state, is not known here.

use consilium_proto::hash::Hash;
use consilium_proto::state_tree::{EMPTY, KeyHash, ValueHash};

use super::node::{Node, Slot};
use super::{NodePath, TrieError, TrieStore, read_child, read_root};

/// What an audit found, all hashes being right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckReport {
    /// Root of the tree.
    pub root: Hash,
    /// Stored nodes that are linked from the root.
    pub nodes: u64,
    /// Keys in the tree.
    pub leaves: u64,
}

/// Reads the whole tree, verifies each hash and shows each leaf to `visit`, in
/// ascending order of key hashes, for comparison with the state itself.
///
/// # Errors
/// [`TrieError`] for the first node that is missing, damaged or not the one
/// that its parent commits to.
pub fn check<S: TrieStore>(
    store: &S,
    mut visit: impl FnMut(&KeyHash, &ValueHash),
) -> Result<CheckReport, TrieError<S::Error>> {
    let mut report = CheckReport { root: EMPTY, nodes: 0, leaves: 0 };
    if let Some(node) = read_root(store)? {
        report.root = node.subtree().hash();
        check_slots(store, &NodePath::ROOT, &node, &mut report, &mut visit)?;
    }
    Ok(report)
}

fn check_slots<S: TrieStore>(
    store: &S,
    path: &NodePath,
    node: &Node,
    report: &mut CheckReport,
    visit: &mut impl FnMut(&KeyHash, &ValueHash),
) -> Result<(), TrieError<S::Error>> {
    // The hash above this node was computed from its quarters.
    node.check_quarters().map_err(|reason| TrieError::Damaged { path: *path, reason })?;
    report.nodes += 1;
    for (nibble, slot) in node.slots().iter().enumerate() {
        match slot {
            Slot::Empty => (),
            Slot::Leaf(key, value) => {
                report.leaves += 1;
                visit(key, value);
            }
            Slot::Inner(hash) => {
                let path = path.child(nibble);
                let child = read_linked(store, &path, hash)?;
                check_slots(store, &path, &child, report, visit)?;
            }
        }
    }
    Ok(())
}

fn read_linked<S: TrieStore>(store: &S, path: &NodePath, expected: &Hash) -> Result<Node, TrieError<S::Error>> {
    let node = read_child(store, path)?;
    let computed = node.subtree().hash();
    if computed != *expected {
        return Err(TrieError::HashMismatch { path: *path, expected: *expected, computed });
    }
    Ok(node)
}
