#![allow(clippy::unwrap_used)]

use super::super::tests::{leaves, naive_root};
use super::*;
use proptest::prelude::*;

#[test]
fn append_yields_each_perfect_subtree_once_and_in_order() {
    let leaves = leaves(8);
    let mut frontier = Frontier::new();
    let positions: Vec<Vec<(u8, u64)>> = leaves
        .iter()
        .map(|leaf| {
            let completed = frontier.append(*leaf).unwrap();
            completed.iter().map(|n| (n.level, n.index)).collect()
        })
        .collect();
    assert_eq!(
        positions,
        [
            vec![(0, 0)],
            vec![(0, 1), (1, 0)],
            vec![(0, 2)],
            vec![(0, 3), (1, 1), (2, 0)],
            vec![(0, 4)],
            vec![(0, 5), (1, 2)],
            vec![(0, 6)],
            vec![(0, 7), (1, 3), (2, 1), (3, 0)],
        ]
    );
}

#[test]
fn completed_subtrees_have_the_hash_of_their_leaves() {
    let leaves = leaves(200);
    let mut frontier = Frontier::new();
    for leaf in &leaves {
        for node in frontier.append(*leaf).unwrap() {
            let first = usize::try_from(node.index << node.level).unwrap();
            let covered = &leaves[first..first + (1 << node.level)];
            assert_eq!(node.hash, naive_root(covered));
        }
    }
}

#[test]
fn golden_bytes() {
    // Changing this breaks stored frontiers.
    let mut frontier = Frontier::new();
    assert_eq!(frontier.encode(), [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    for fill in [0xaa, 0xbb, 0xcc] {
        frontier.append(Hash::from_bytes([fill; 32])).unwrap();
    }
    let pair = node_hash(&Hash::from_bytes([0xaa; 32]), &Hash::from_bytes([0xbb; 32]));
    let expected = [&[1, 0, 0, 0, 0, 0, 0, 0, 3][..], pair.as_bytes(), &[0xcc; 32]].concat();
    assert_eq!(frontier.encode(), expected);
}

#[test]
fn decode_survives_a_restart_in_the_middle() {
    let leaves = leaves(100);
    for cut in 0..leaves.len() {
        let mut first = Frontier::new();
        for leaf in &leaves[..cut] {
            first.append(*leaf).unwrap();
        }
        let mut second = Frontier::decode(&first.encode()).unwrap();
        assert_eq!(second, first);
        for leaf in &leaves[cut..] {
            second.append(*leaf).unwrap();
        }
        assert_eq!(second.root(), naive_root(&leaves));
    }
}

#[test]
fn decode_refuses() {
    let header = |size: u64| [&[VERSION][..], &size.to_be_bytes()].concat();
    let length = |expected, actual| FrontierDecodeError::Length { expected, actual };
    let cases = [
        (vec![], length(9, 0)),
        (vec![2; 9], FrontierDecodeError::Version(2)),
        (vec![1; 8], length(9, 8)),
        (header(1), length(41, 9)),
        ([header(1), vec![0; 33]].concat(), length(41, 42)),
        ([header(1), vec![0; 64]].concat(), length(41, 73)),
        (header(u64::MAX), FrontierDecodeError::Size(u64::MAX)),
    ];
    for (bytes, error) in cases {
        assert_eq!(Frontier::decode(&bytes), Err(error));
    }
}

#[test]
fn a_full_tree_takes_no_leaf() {
    let bytes = [&[VERSION][..], &TREE_SIZE_MAX.to_be_bytes(), &[7; HASH_LEN]].concat();
    let mut frontier = Frontier::decode(&bytes).unwrap();
    let before = frontier.clone();
    assert_eq!(frontier.append(Hash::from_bytes([0; 32])), Err(TreeFull));
    assert_eq!(frontier, before);
}

proptest! {
    #[test]
    fn decode_never_panics_and_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 0u64..16) {
        let mut plausible = [&[VERSION][..], &size.to_be_bytes(), &bytes].concat();
        plausible.truncate(HEADER_LEN + size.count_ones() as usize * HASH_LEN);
        for input in [bytes, plausible] {
            if let Ok(frontier) = Frontier::decode(&input) {
                prop_assert_eq!(frontier.encode(), input);
            }
        }
    }
}
