//! Proof that the state holds a value under a key, or holds none.
//!
//! A proof is where the key's path ends and the sibling hashes from the root to
//! there. The verifier brings the root, the key and its own claim; nothing in
//! the proof is believed that does not hash to the root. It must never accept
//! one claim's proof for another claim.

use super::{DEPTH_MAX, EMPTY, KeyHash, ValueHash, leaf_hash, node_hash};
use crate::hash::Hash;

/// Where the path of the asked key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// In the key's own leaf: the key is present.
    Present,
    /// In an empty subtree: the key is absent.
    Empty,
    /// In the leaf of another key with the same prefix, alone in its subtree:
    /// the asked key is absent.
    OtherLeaf {
        /// Place of the other key.
        key_hash: KeyHash,
        /// What the other leaf commits to.
        value_hash: ValueHash,
    },
}

/// Proof of existence or absence of one key. The asked key is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateProof {
    terminal: Terminal,
    /// From the root's child downwards; at most [`DEPTH_MAX`].
    siblings: Vec<Hash>,
}

/// Why a proof does not support a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// More than [`DEPTH_MAX`] siblings.
    #[error("a state proof of {0} siblings is beyond the limit")]
    TooManySiblings(usize),
    /// A value was claimed, the proof shows absence.
    #[error("the proof shows that the key is absent")]
    ShowsAbsence,
    /// Absence was claimed, the proof shows a value.
    #[error("the proof shows that the key is present")]
    ShowsPresence,
    /// The "other" leaf is the asked key's own.
    #[error("the proof of absence ends in the leaf of the asked key")]
    OwnLeaf,
    /// The other leaf does not stand on the asked key's path.
    #[error("the leaf shares {shared} bits with the asked key, the proof needs {needed}")]
    OffPath {
        /// Leading bits in common.
        shared: usize,
        /// Depth at which the proof puts the leaf.
        needed: usize,
    },
    /// The hashes lead elsewhere.
    #[error("the proof leads to root {computed}, not {expected}")]
    RootMismatch {
        /// Root that the verifier trusts.
        expected: Hash,
        /// Root that follows from the proof.
        computed: Hash,
    },
}

impl StateProof {
    /// Puts a proof together; siblings from the root's child downwards.
    ///
    /// # Errors
    /// [`StateProofError::TooManySiblings`].
    pub fn new(terminal: Terminal, siblings: Vec<Hash>) -> Result<Self, StateProofError> {
        if siblings.len() > DEPTH_MAX {
            return Err(StateProofError::TooManySiblings(siblings.len()));
        }
        Ok(Self { terminal, siblings })
    }

    /// Where the path ends.
    #[must_use]
    pub const fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Sibling hashes from the root's child downwards; [`EMPTY`] for an empty
    /// sibling.
    #[must_use]
    pub fn siblings(&self) -> &[Hash] {
        &self.siblings
    }

    /// The root that a tree must have for the claim "`key` has `value`" (or
    /// none, for `None`) to follow from this proof.
    ///
    /// # Errors
    /// [`StateProofError`] when the proof makes another claim, or none.
    pub fn root_for(&self, key: &KeyHash, value: Option<&ValueHash>) -> Result<Hash, StateProofError> {
        let end = self.terminal_hash(key, value)?;
        let levels = self.siblings.iter().enumerate().rev();
        Ok(levels.fold(
            end,
            |hash, (depth, sibling)| {
                if key.bit(depth) { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
            },
        ))
    }

    /// Verifies the claim "`key` has `value`" against `root`, by hashes.
    ///
    /// # Errors
    /// [`StateProofError`].
    pub fn verify(&self, root: &Hash, key: &KeyHash, value: Option<&ValueHash>) -> Result<(), StateProofError> {
        let computed = self.root_for(key, value)?;
        if computed != *root {
            return Err(StateProofError::RootMismatch { expected: *root, computed });
        }
        Ok(())
    }

    fn terminal_hash(&self, key: &KeyHash, value: Option<&ValueHash>) -> Result<Hash, StateProofError> {
        match (&self.terminal, value) {
            (Terminal::Present, Some(value)) => Ok(leaf_hash(key, value)),
            (Terminal::Present, None) => Err(StateProofError::ShowsPresence),
            (Terminal::Empty | Terminal::OtherLeaf { .. }, Some(_)) => Err(StateProofError::ShowsAbsence),
            (Terminal::Empty, None) => Ok(EMPTY),
            (Terminal::OtherLeaf { key_hash, value_hash }, None) => {
                self.check_other(key, key_hash)?;
                Ok(leaf_hash(key_hash, value_hash))
            }
        }
    }

    fn check_other(&self, key: &KeyHash, other: &KeyHash) -> Result<(), StateProofError> {
        let shared = key.common_prefix_len(other);
        let needed = self.siblings.len();
        if shared == DEPTH_MAX {
            return Err(StateProofError::OwnLeaf);
        }
        if shared < needed {
            return Err(StateProofError::OffPath { shared, needed });
        }
        Ok(())
    }
}

/// Verifies that the state with `root` holds `value` under `key`, or nothing
/// under it, for `None`.
///
/// # Errors
/// [`StateProofError`].
pub fn verify_state_proof(
    root: &Hash,
    key: &[u8],
    value: Option<&[u8]>,
    proof: &StateProof,
) -> Result<(), StateProofError> {
    let value = value.map(ValueHash::of);
    proof.verify(root, &KeyHash::of(key), value.as_ref())
}

#[cfg(test)]
pub(super) mod tests {
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
}
