//! The root of a whole map from its sorted pairs: what an offline verifier
//! runs over a ledger's state, and the oracle of the incremental tree.
//!
//! One pass, at most 256 pending hashes. It must never accept keys out of
//! order or twice: it would hash a set that no tree has.

use super::{EMPTY, KeyHash, ValueHash, leaf_hash, node_hash};
use crate::hash::Hash;

/// Keys were not strictly ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key hash {next} does not come after {previous}")]
pub struct UnsortedKeys {
    /// The key that came first.
    pub previous: KeyHash,
    /// The key that came next, not greater.
    pub next: KeyHash,
}

/// Root of the tree over `pairs`, which must be strictly ascending by key hash.
///
/// # Errors
/// [`UnsortedKeys`] for the first pair out of order.
pub fn root_of_sorted(pairs: impl IntoIterator<Item = (KeyHash, ValueHash)>) -> Result<Hash, UnsortedKeys> {
    let mut pairs = pairs.into_iter().peekable();
    let mut pending = Pending::default();
    let mut root = EMPTY;
    while let Some((key, value)) = pairs.next() {
        let fork = match pairs.peek() {
            None => None,
            Some((next, _)) if *next > key => Some(key.common_prefix_len(next)),
            Some((next, _)) => {
                return Err(UnsortedKeys { previous: key, next: *next });
            }
        };
        root = pending.add(&key, leaf_hash(&key, &value), fork);
    }
    Ok(root)
}

/// Left subtrees that wait for their right sibling, by ascending depth of the
/// fork between the two.
#[derive(Default)]
struct Pending(Vec<(usize, Hash)>);

impl Pending {
    /// Adds the next leaf. `fork` is the depth at which the following key
    /// leaves this key's path, `None` for the last key. Returns the hash of
    /// the subtree that the leaf completes: for the last key, the root.
    fn add(&mut self, key: &KeyHash, leaf: Hash, fork: Option<usize>) -> Hash {
        let back = self.0.last().map(|(depth, _)| *depth);
        // A leaf stands just below the deeper of the forks from its neighbours.
        let mut depth = back.max(fork).map_or(0, |depth| depth + 1);
        let mut hash = leaf;
        while let Some((left_depth, left)) = self.pop_below(fork) {
            hash = lift(key, hash, depth, left_depth + 1);
            hash = node_hash(&left, &hash);
            depth = left_depth;
        }
        match fork {
            Some(fork) => {
                hash = lift(key, hash, depth, fork + 1);
                self.0.push((fork, hash));
                hash
            }
            None => lift(key, hash, depth, 0),
        }
    }

    /// The deepest pending subtree if it is complete: deeper than `fork`.
    fn pop_below(&mut self, fork: Option<usize>) -> Option<(usize, Hash)> {
        self.0.pop_if(|(depth, _)| fork.is_none_or(|fork| *depth > fork))
    }
}

/// Raises a subtree on `key`'s path from depth `from` to depth `to`, beside
/// empty siblings.
fn lift(key: &KeyHash, hash: Hash, from: usize, to: usize) -> Hash {
    (to..from).rev().fold(
        hash,
        |hash, depth| {
            if key.bit(depth) { node_hash(&EMPTY, &hash) } else { node_hash(&hash, &EMPTY) }
        },
    )
}

#[cfg(test)]
mod tests;
