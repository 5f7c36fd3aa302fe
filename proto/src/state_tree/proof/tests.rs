#![allow(clippy::unwrap_used)]

use super::super::tests::{Map, naive_hash, naive_root};
use super::*;

/// Proves by the definition, without any stored node.
pub(in super::super) fn naive_proof(map: &Map, key: &KeyHash) -> StateProof {
    let mut pairs: Vec<_> = map.iter().map(|(k, v)| (*k, *v)).collect();
    let mut siblings = Vec::new();
    while pairs.len() > 1 {
        let depth = siblings.len();
        let bit = key.bit(depth);
        let (own, sibling) = pairs.into_iter().partition(|(k, _)| k.bit(depth) == bit);
        let sibling: Vec<_> = sibling;
        siblings.push(naive_hash(&sibling, depth + 1));
        pairs = own;
    }
    let terminal = match pairs.first() {
        None => Terminal::Empty,
        Some((found, _)) if found == key => Terminal::Present,
        Some((key_hash, value_hash)) => Terminal::OtherLeaf { key_hash: *key_hash, value_hash: *value_hash },
    };
    StateProof::new(terminal, siblings).unwrap()
}

pub(in super::super) fn sample(count: u32) -> Map {
    (0..count).map(|n| (KeyHash::of(&n.to_be_bytes()), ValueHash::of(&n.to_le_bytes()))).collect()
}

#[test]
fn present_and_absent_keys_of_many_sizes() {
    for count in [0, 1, 2, 3, 10, 100] {
        let map = sample(count);
        let root = naive_root(&map);
        for n in 0..count + 50 {
            let key = n.to_be_bytes();
            let value = n.to_le_bytes();
            let claim = (n < count).then_some(&value[..]);
            let proof = naive_proof(&map, &KeyHash::of(&key));
            assert_eq!(verify_state_proof(&root, &key, claim, &proof), Ok(()));

            let (denial, error) = match claim {
                Some(_) => (None, StateProofError::ShowsPresence),
                None => (Some(&value[..]), StateProofError::ShowsAbsence),
            };
            assert_eq!(verify_state_proof(&root, &key, denial, &proof), Err(error));
        }
    }
}

#[test]
fn a_proof_serves_no_other_value_key_or_root() {
    let map = sample(100);
    let root = naive_root(&map);
    let (key, value) = map.iter().nth(40).unwrap();
    let proof = naive_proof(&map, key);
    assert_eq!(proof.verify(&root, key, Some(value)), Ok(()));
    for (other_key, other_value) in map.iter().filter(|(k, _)| *k != key) {
        assert!(proof.verify(&root, key, Some(other_value)).is_err());
        assert!(proof.verify(&root, other_key, Some(value)).is_err());
        assert!(proof.verify(&root, other_key, Some(other_value)).is_err());
    }
    assert!(proof.verify(&EMPTY, key, Some(value)).is_err());
    for at in 0..proof.siblings.len() {
        let mut forged = proof.clone();
        forged.siblings[at] = leaf_hash(key, value);
        assert!(forged.verify(&root, key, Some(value)).is_err());
        let mut shorter = proof.clone();
        shorter.siblings.remove(at);
        assert!(shorter.verify(&root, key, Some(value)).is_err());
    }
}

#[test]
fn absence_cannot_be_forged_from_leaves() {
    let map = sample(2);
    let root = naive_root(&map);
    let (key, value) = map.iter().next().unwrap();
    let own = Terminal::OtherLeaf { key_hash: *key, value_hash: *value };
    let honest = naive_proof(&map, key);
    let forged = StateProof::new(own, honest.siblings.clone()).unwrap();
    assert_eq!(forged.verify(&root, key, None), Err(StateProofError::OwnLeaf));

    // A real leaf of the tree, shown on a path on which it does not stand.
    let mut bytes = *key.as_bytes();
    bytes[0] ^= 0x80 >> (honest.siblings.len() - 1);
    let asked = KeyHash::from_bytes(bytes);
    assert_eq!(
        forged.verify(&root, &asked, None),
        Err(StateProofError::OffPath { shared: honest.siblings.len() - 1, needed: honest.siblings.len() })
    );
}

#[test]
fn too_many_siblings_are_refused() {
    assert_eq!(StateProof::new(Terminal::Empty, vec![EMPTY; 257]), Err(StateProofError::TooManySiblings(257)));
}
