#![allow(clippy::unwrap_used)]

use super::*;

fn leaf(index: u64) -> [u8; 32] {
    sha256(&[&[0], &index.to_be_bytes()])
}

/// Definition of RFC 9162 section 2.1.1, by recursion: the model.
fn tree_root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [one] => *one,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            sha256(&[&[1], &tree_root(left), &tree_root(right)])
        }
    }
}

/// Definition of RFC 9162 section 2.1.3.1, by recursion.
fn tree_path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let (mut path, sibling) = if index < split {
        (tree_path(index, left), tree_root(right))
    } else {
        (tree_path(index - split, right), tree_root(left))
    };
    path.push(sibling);
    path
}

#[test]
fn every_leaf_of_small_trees() {
    let leaves: Vec<_> = (0..33).map(leaf).collect();
    for size in 1..=leaves.len() {
        let root = tree_root(&leaves[..size]);
        for index in 0..size {
            let mut path = tree_path(index, &leaves[..size]);
            let compute = |index: usize, path: &[[u8; 32]]| {
                root_from_inclusion_path(&leaves[index], index as u64, size as u64, path)
            };
            assert_eq!(compute(index, &path), Some(root));
            path.push([0; 32]);
            assert_eq!(compute(index, &path), None, "too long");
            path.pop();
            if path.pop().is_some() {
                assert_eq!(compute(index, &path), None, "too short");
            }
        }
    }
}

#[test]
fn index_outside_the_tree() {
    assert_eq!(root_from_inclusion_path(&leaf(0), 0, 0, &[]), None);
    assert_eq!(root_from_inclusion_path(&leaf(0), 1, 1, &[]), None);
    assert_eq!(root_from_inclusion_path(&leaf(0), u64::MAX, u64::MAX, &[]), None);
}

#[test]
fn encoding_is_one_form_only() {
    let proof = InclusionProof { tree_size: 300, leaf_index: 5, path: vec![[7; 32]] };
    let bytes = proof.encode().unwrap();
    assert_eq!(hex::encode(&bytes), format!("8319012c05815820{}", "07".repeat(32)));
    assert_eq!(InclusionProof::decode(&bytes), Ok(proof));
    let long_integer = hex::decode(format!("8319012c1805815820{}", "07".repeat(32))).unwrap();
    let mut trailing = bytes.clone();
    trailing.push(0);
    let short_hash = hex::decode("830201814101").unwrap();
    let negative = hex::decode("83200180").unwrap();
    let two_items = hex::decode("820201").unwrap();
    for bad in [&long_integer, &trailing, &short_hash, &negative, &two_items] {
        assert_eq!(InclusionProof::decode(bad), Err(CoseError::Proof));
    }
}

#[test]
fn longest_path_fits() {
    let proof = InclusionProof { tree_size: u64::MAX, leaf_index: u64::MAX - 1, path: vec![[7; 32]; PATH_LEN_MAX] };
    let bytes = proof.encode().unwrap();
    assert!(bytes.len() <= ENCODED_LEN_MAX);
    assert_eq!(InclusionProof::decode(&bytes), Ok(proof));
}
