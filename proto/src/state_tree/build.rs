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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{Map, naive_root};
    use super::*;
    use proptest::prelude::*;

    fn root(map: &Map) -> Hash {
        root_of_sorted(map.iter().map(|(k, v)| (*k, *v))).unwrap()
    }

    fn numbered(count: u32) -> Map {
        (0..count).map(|n| (KeyHash::of(&n.to_be_bytes()), ValueHash::of(b"value"))).collect()
    }

    #[test]
    fn golden_roots() {
        // Changing these breaks every header and every stored tree.
        let golden = [(0, GOLDEN_0), (1, GOLDEN_1), (2, GOLDEN_2), (1000, GOLDEN_1000)];
        for (count, expected) in golden {
            assert_eq!(root(&numbered(count)).to_string(), expected, "{count}");
        }
    }

    const GOLDEN_0: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    const GOLDEN_1: &str = "2b3da1ec8960fa7b2a368c4974145bdd4ccba2d3fc789fbdf588c1b8e489c85d";
    const GOLDEN_2: &str = "2442cc4c8603958c354e61b793ea8392184375b7cd3d38a125663d14b7099c0c";
    const GOLDEN_1000: &str = "726d048727ea84659635deb1d0463ea278aff5bfbf1acce7e3215adf2895c1b1";

    #[test]
    fn a_single_leaf_is_the_root() {
        let (key, value) = (KeyHash::of(b"k"), ValueHash::of(b"v"));
        assert_eq!(root_of_sorted([(key, value)]), Ok(leaf_hash(&key, &value)));
    }

    #[test]
    fn two_keys_that_differ_in_the_last_bit() {
        let mut bytes = [0x5a; 32];
        let low = KeyHash::from_bytes(bytes);
        bytes[31] ^= 1;
        let map: Map =
            [(low, ValueHash::of(b"a")), (KeyHash::from_bytes(bytes), ValueHash::of(b"b"))].into_iter().collect();
        assert_eq!(root(&map), naive_root(&map));
    }

    #[test]
    fn unsorted_and_repeated_keys_are_refused() {
        let (low, high) = (KeyHash::from_bytes([1; 32]), KeyHash::from_bytes([2; 32]));
        let value = ValueHash::of(b"v");
        for (previous, next) in [(high, low), (low, low)] {
            assert_eq!(root_of_sorted([(previous, value), (next, value)]), Err(UnsortedKeys { previous, next }));
        }
    }

    /// Keys that collide in long prefixes as well as keys that do not.
    fn clustered_key() -> impl Strategy<Value = KeyHash> {
        (any::<[u8; 32]>(), 0usize..=32, prop::sample::select(vec![0u8, 1, 0x80, 0xff])).prop_map(
            |(mut bytes, zeroed, first)| {
                bytes[..zeroed].fill(first);
                bytes[..zeroed.saturating_sub(1)].fill(0);
                KeyHash::from_bytes(bytes)
            },
        )
    }

    proptest! {
        #[test]
        fn equals_the_definition(keys in prop::collection::btree_map(clustered_key(), any::<[u8; 32]>(), 0..60)) {
            let map: Map = keys.into_iter().map(|(k, v)| (k, ValueHash::from_bytes(v))).collect();
            prop_assert_eq!(root(&map), naive_root(&map));
        }
    }
}
