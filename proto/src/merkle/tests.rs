#![allow(clippy::unwrap_used)]

use super::*;

/// RFC 9162 section 2.1.1 word by word; the oracle of this module's tests.
pub(super) fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

pub(super) fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn root_of_equals_the_definition() {
    for size in 0..=260 {
        let leaves = leaves(size);
        assert_eq!(root_of(leaves.clone()), Ok(naive_root(&leaves)), "{size}");
    }
}

#[test]
fn the_split_is_the_largest_smaller_power_of_two() {
    let cases = [(2, 1), (3, 2), (4, 2), (5, 4), (8, 4), (9, 8)];
    for (count, left) in cases {
        assert_eq!(left_leaf_count(count), left);
    }
    assert_eq!(left_leaf_count(TREE_SIZE_MAX), TREE_SIZE_MAX / 2);
}
