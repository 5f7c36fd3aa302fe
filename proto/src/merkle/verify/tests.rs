#![allow(clippy::unwrap_used)]

use super::*;

const ZERO: Hash = Hash::from_bytes([0; 32]);

#[test]
fn bounds_are_checked_before_any_work() {
    assert_eq!(InclusionProof::new(5, 5, vec![]), Err(MerkleError::LeafOutside { leaf_index: 5, tree_size: 5 }));
    assert_eq!(InclusionProof::new(0, u64::MAX, vec![ZERO; 65]), Err(MerkleError::PathTooLong(65)));
    for (first_size, second_size) in [(0, 0), (0, 5), (6, 5)] {
        assert_eq!(
            ConsistencyProof::new(first_size, second_size, vec![]),
            Err(MerkleError::Sizes { first_size, second_size })
        );
    }
    assert_eq!(ConsistencyProof::new(1, 2, vec![ZERO; 65]), Err(MerkleError::PathTooLong(65)));
}

#[test]
fn a_path_of_the_wrong_length_is_named_as_such() {
    for (index, size, right) in [(0, 1, 0), (0, 2, 1), (4, 5, 1), (3, 5, 3), (6, 8, 3)] {
        for len in (0..6).filter(|len| *len != right) {
            let proof = InclusionProof::new(index, size, vec![ZERO; len]).unwrap();
            assert_eq!(verify_inclusion(&ZERO, &proof, &ZERO), Err(MerkleError::PathLength(len)));
        }
    }
    for (first, second, right) in [(1, 1, 0), (1, 2, 1), (2, 5, 2), (3, 5, 4), (6, 8, 3)] {
        for len in (0..6).filter(|len| *len != right) {
            let proof = ConsistencyProof::new(first, second, vec![ZERO; len]).unwrap();
            assert_eq!(verify_consistency(&proof, &ZERO, &ZERO), Err(MerkleError::PathLength(len)));
        }
    }
}

#[test]
fn extreme_sizes_are_refused_without_overflow() {
    for path_len in [0, 1, 63, 64] {
        for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
            let proof = InclusionProof::new(index, u64::MAX, vec![ZERO; path_len]).unwrap();
            assert!(verify_inclusion(&ZERO, &proof, &ZERO).is_err());
            let proof = ConsistencyProof::new(index + 1, u64::MAX, vec![ZERO; path_len]).unwrap();
            assert!(verify_consistency(&proof, &ZERO, &ZERO).is_err() || (index == u64::MAX - 1 && path_len == 0));
        }
    }
}
