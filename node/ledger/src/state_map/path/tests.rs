#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn path(nibbles: &[usize]) -> NodePath {
    nibbles.iter().fold(NodePath::ROOT, |path, nibble| path.child(*nibble))
}

#[test]
fn golden_bytes() {
    // Changing this breaks stored trees.
    assert_eq!(NodePath::ROOT.to_bytes(), [0]);
    assert_eq!(path(&[0xa]).to_bytes(), [1, 0xa0]);
    assert_eq!(path(&[0xa, 0, 3]).to_bytes(), [3, 0xa0, 0x30]);
    assert_eq!(path(&[0xa, 0, 3]).to_string(), "/a03");
}

#[test]
fn bytes_that_are_no_path_are_refused() {
    let cases = [
        (vec![], NodePathError::Empty),
        (vec![65], NodePathError::TooLong(65)),
        (vec![3, 1], NodePathError::Length { expected: 3, actual: 2 }),
        (vec![1, 0xab], NodePathError::SpareNibble),
    ];
    for (bytes, error) in cases {
        assert_eq!(NodePath::try_from(&bytes[..]), Err(error));
    }
}

proptest! {
    #[test]
    fn bytes_keep_the_order_and_come_back(
        a in prop::collection::vec(0usize..16, 0..=64),
        b in prop::collection::vec(0usize..16, 0..=64),
    ) {
        let (path_a, path_b) = (path(&a), path(&b));
        prop_assert_eq!(path_a.cmp(&path_b), (a.len(), &a).cmp(&(b.len(), &b)));
        prop_assert_eq!(path_a.cmp(&path_b), path_a.to_bytes().cmp(&path_b.to_bytes()));
        prop_assert_eq!(NodePath::try_from(&path_a.to_bytes()[..]), Ok(path_a));
    }

    #[test]
    fn a_key_lies_below_its_own_prefixes_only(key in any::<[u8; 32]>(), depth in 0usize..64, other in 1usize..16) {
        let key = KeyHash::from_bytes(key);
        let own = (0..depth).fold(NodePath::ROOT, |path, _| path.child(path.nibble_of(&key)));
        prop_assert!(own.is_prefix_of(&key));
        let nibble = own.nibble_of(&key);
        prop_assert!(own.child(nibble).is_prefix_of(&key));
        prop_assert!(!own.child(nibble ^ other).is_prefix_of(&key));
    }

    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(path) = NodePath::try_from(&bytes[..]) {
            prop_assert_eq!(path.to_bytes(), bytes);
        }
    }
}
