#![allow(clippy::unwrap_used)]

use super::super::tests::{leaves, naive_root};
use super::super::{MerkleError, verify_consistency, verify_extension, verify_inclusion};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::convert::Infallible;

#[derive(Default)]
struct Nodes(BTreeMap<(u8, u64), Hash>);

impl NodeReader for Nodes {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, Infallible> {
        Ok(self.0.get(&(level, index)).copied())
    }
}

fn grown(leaves: &[Hash]) -> (Frontier, Nodes) {
    let (mut frontier, mut nodes) = (Frontier::new(), Nodes::default());
    for leaf in leaves {
        for node in frontier.append(*leaf).unwrap() {
            let before = nodes.0.insert((node.level, node.index), node.hash);
            assert_eq!(before, None, "a perfect subtree is completed once");
        }
    }
    (frontier, nodes)
}

/// PATH of RFC 9162 section 2.1.3.1 word by word.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if index < left.len() {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - left.len(), right), naive_root(left))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 9162 section 2.1.4.1 word by word.
fn naive_subproof(first: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if first == leaves.len() {
        return if known { vec![] } else { vec![naive_root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if first <= left.len() {
        (naive_subproof(first, left, known), naive_root(right))
    } else {
        (naive_subproof(first - left.len(), right, false), naive_root(left))
    };
    path.push(sibling);
    path
}

#[test]
fn every_leaf_of_every_size_is_proved_as_defined() {
    let leaves = leaves(200);
    let (_, nodes) = grown(&leaves);
    for size in 1..=leaves.len() {
        let root = naive_root(&leaves[..size]);
        assert_eq!(root_at(&nodes, size as u64), Ok(root));
        for index in 0..size {
            let proof = prove_inclusion(&nodes, index as u64, size as u64).unwrap();
            assert_eq!(proof.path(), naive_path(index, &leaves[..size]));
            assert_eq!(verify_inclusion(&leaves[index], &proof, &root), Ok(()));
        }
    }
}

#[test]
fn every_pair_of_sizes_is_proved_as_defined() {
    let leaves = leaves(70);
    let (_, nodes) = grown(&leaves);
    let roots: Vec<Hash> = (0..=70).map(|n| naive_root(&leaves[..n])).collect();
    for second in 1..=leaves.len() {
        for first in 1..=second {
            let proof = prove_consistency(&nodes, first as u64, second as u64).unwrap();
            assert_eq!(proof.path(), naive_subproof(first, &leaves[..second], true));
            assert_eq!(verify_consistency(&proof, &roots[first], &roots[second]), Ok(()));
            // It holds the older tree's right edge, too.
            let edge = verify_extension(&proof, &roots[first], &roots[second]);
            match first == second {
                true => assert!(matches!(edge, Err(MerkleError::Sizes { .. }))),
                false => assert_eq!(edge, Ok(frontier_at(&nodes, first as u64).unwrap())),
            }
        }
    }
}

#[test]
fn a_frontier_is_found_again_at_every_size() {
    let leaves = leaves(130);
    let (_, nodes) = grown(&leaves);
    for size in 0..=leaves.len() {
        let (frontier, _) = grown(&leaves[..size]);
        assert_eq!(frontier_at(&nodes, size as u64), Ok(frontier));
    }
}

#[test]
fn impossible_questions_are_refused() {
    let (_, nodes) = grown(&leaves(5));
    assert_eq!(
        prove_inclusion(&nodes, 5, 5),
        Err(ProveError::Request(MerkleError::LeafOutside { leaf_index: 5, tree_size: 5 }))
    );
    assert_eq!(prove_inclusion(&nodes, 0, 6), Err(ProveError::MissingNode { level: 1, index: 2 }));
    assert_eq!(
        prove_consistency(&nodes, 0, 5),
        Err(ProveError::Request(MerkleError::Sizes { first_size: 0, second_size: 5 }))
    );
    assert_eq!(root_at(&nodes, u64::MAX), Err(ProveError::TreeSize(u64::MAX)));
    assert_eq!(root_at(&nodes, TREE_SIZE_MAX), Err(ProveError::MissingNode { level: 63, index: 0 }));
}

/// A change of a proof that must not verify.
#[derive(Debug, Clone)]
enum Mutation {
    FlipBit(usize),
    Drop(usize),
    Repeat(usize),
    Push(u8),
}

impl Mutation {
    fn apply(&self, path: &[Hash]) -> Vec<Hash> {
        let mut path = path.to_vec();
        match *self {
            Self::FlipBit(at) if !path.is_empty() => {
                let at = at % (path.len() * 256);
                let mut bytes = *path[at / 256].as_bytes();
                bytes[at % 256 / 8] ^= 1 << (at % 8);
                path[at / 256] = Hash::from_bytes(bytes);
            }
            Self::Drop(at) if !path.is_empty() => {
                path.remove(at % path.len());
            }
            Self::Repeat(at) if !path.is_empty() => {
                let at = at % path.len();
                path.insert(at, path[at]);
            }
            Self::FlipBit(_) | Self::Drop(_) | Self::Repeat(_) => {
                path.push(Hash::from_bytes([0; 32]));
            }
            Self::Push(fill) => path.push(Hash::from_bytes([fill; 32])),
        }
        path
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        any::<usize>().prop_map(Mutation::FlipBit),
        any::<usize>().prop_map(Mutation::Drop),
        any::<usize>().prop_map(Mutation::Repeat),
        any::<u8>().prop_map(Mutation::Push),
    ]
}

proptest! {
    #[test]
    fn mutated_inclusion_proofs_are_refused(size in 1u64..200, index in any::<u64>(), mutation in mutation()) {
        let leaves = leaves(size);
        let (frontier, nodes) = grown(&leaves);
        let index = index % size;
        let leaf = leaves[usize::try_from(index).unwrap()];
        let good = prove_inclusion(&nodes, index, size).unwrap();
        prop_assert_eq!(verify_inclusion(&leaf, &good, &frontier.root()), Ok(()));

        let bad = InclusionProof::new(index, size, mutation.apply(good.path())).unwrap();
        prop_assert!(verify_inclusion(&leaf, &bad, &frontier.root()).is_err());
        for other in (0..size).filter(|other| *other != index) {
            let moved = InclusionProof::new(other, size, good.path().to_vec()).unwrap();
            prop_assert!(verify_inclusion(&leaf, &moved, &frontier.root()).is_err());
        }
        prop_assert!(verify_inclusion(&Hash::from_bytes([1; 32]), &good, &frontier.root()).is_err());
    }

    #[test]
    fn mutated_consistency_proofs_are_refused(second in 1u64..200, first in any::<u64>(), mutation in mutation()) {
        let first = first % second + 1;
        let (frontier, nodes) = grown(&leaves(second));
        let first_root = root_at(&nodes, first).unwrap();
        let good = prove_consistency(&nodes, first, second).unwrap();
        prop_assert_eq!(verify_consistency(&good, &first_root, &frontier.root()), Ok(()));

        let bad = ConsistencyProof::new(first, second, mutation.apply(good.path())).unwrap();
        prop_assert!(verify_consistency(&bad, &first_root, &frontier.root()).is_err());
        if first != second {
            prop_assert!(verify_consistency(&good, &frontier.root(), &first_root).is_err());
        }
        let other = Hash::from_bytes([1; 32]);
        prop_assert!(verify_consistency(&good, &other, &frontier.root()).is_err());
        prop_assert!(verify_consistency(&good, &first_root, &other).is_err());
    }
}
