#![allow(clippy::unwrap_used)]

use super::*;
use std::collections::BTreeMap;

pub(super) type Map = BTreeMap<KeyHash, ValueHash>;

/// The rules of the module's documentation word by word; the oracle.
pub(super) fn naive_hash(pairs: &[(KeyHash, ValueHash)], depth: usize) -> Hash {
    match pairs {
        [] => EMPTY,
        [(key, value)] => leaf_hash(key, value),
        _ => {
            let middle = pairs.partition_point(|(key, _)| !key.bit(depth));
            node_hash(&naive_hash(&pairs[..middle], depth + 1), &naive_hash(&pairs[middle..], depth + 1))
        }
    }
}

pub(super) fn naive_root(map: &Map) -> Hash {
    let pairs: Vec<_> = map.iter().map(|(k, v)| (*k, *v)).collect();
    naive_hash(&pairs, 0)
}

#[test]
fn bits_are_read_from_the_most_significant() {
    let mut bytes = [0; 32];
    bytes[0] = 0b1010_0000;
    bytes[31] = 1;
    let key = KeyHash::from_bytes(bytes);
    let set: Vec<usize> = (0..DEPTH_MAX).filter(|depth| key.bit(*depth)).collect();
    assert_eq!(set, [0, 2, 255]);
    bytes[31] = 0;
    let other = KeyHash::from_bytes(bytes);
    assert_eq!(key.common_prefix_len(&other), 255);
    assert_eq!(key.common_prefix_len(&key), 256);
    assert_eq!(key.common_prefix_len(&KeyHash::from_bytes([0; 32])), 0);
}

#[test]
fn join_compresses_empty_and_single_leaf_only() {
    let hash = Hash::from_bytes([1; 32]);
    let (empty, leaf, inner) = (Subtree::Empty, Subtree::Leaf(hash), Subtree::Inner(hash));
    assert_eq!(Subtree::join(empty, empty), empty);
    assert_eq!(Subtree::join(leaf, empty), leaf);
    assert_eq!(Subtree::join(empty, leaf), leaf);
    let expected = |l: &Hash, r: &Hash| Subtree::Inner(node_hash(l, r));
    assert_eq!(Subtree::join(leaf, leaf), expected(&hash, &hash));
    assert_eq!(Subtree::join(inner, empty), expected(&hash, &EMPTY));
    assert_eq!(Subtree::join(empty, inner), expected(&EMPTY, &hash));
    assert_eq!(Subtree::join(leaf, inner), expected(&hash, &hash));
}
