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
