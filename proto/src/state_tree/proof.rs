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
pub(super) mod tests;
