//! The authenticated state map: a sparse Merkle tree whose root, `state_root`,
//! commits to every key and value of a ledger's state.
//!
//! # Rules (version 1)
//! Changing any of them breaks every stored tree, header and proof.
//!
//! * The place of a key is `key_hash = SHA-256(key)`, 256 bits, read from the
//!   most significant bit of byte 0; bit 0 chooses at the root, 0 is left.
//! * A value enters as `value_hash = SHA-256(value)`.
//! * The hash of the set S of keys that share a prefix of d bits is
//!   - 32 zero bytes, if S is empty (so the empty tree's root is zero);
//!   - `SHA-256(0x00 || "consilium/state/leaf/v1" || key_hash || value_hash)`,
//!     if S has one key, at whatever depth d that is;
//!   - `SHA-256(0x01 || "consilium/state/node/v1" || left || right)`
//!     otherwise, where left and right are the hashes of the two halves of S
//!     by bit d. One half may be empty; a chain of such nodes is not shortened.
//!
//! The root is thus a function of the set of pairs alone: not of the order of
//! updates, and not of how nodes are stored. A store may group four binary
//! levels in one 16-ary node, as the ledger's `state_map` does, and a proof
//! still carries 32 bytes per binary level.
//!
//! # Why it is sound
//! Leaf and node inputs differ in their first byte, and no input is known that
//! hashes to zero, so each hash on a path has one reading. A leaf names its
//! whole `key_hash`: it cannot be shown in another's place. Where a proof ends
//! in an empty slot, or in the leaf of another key with the same prefix, the
//! tree has no room for the asked key below.
//!
//! This module must never see a store, and never decide what a key or a value
//! means.

mod build;
mod proof;
mod proof_codec;

pub use build::{UnsortedKeys, root_of_sorted};
pub use proof::{StateProof, StateProofError, Terminal, verify_state_proof};
pub use proof_codec::StateProofDecodeError;

use crate::hash::{Hash, sha256};

const LEAF_PREFIX: [u8; 1] = [0x00];
const LEAF_DOMAIN: &[u8] = b"consilium/state/leaf/v1";
const NODE_PREFIX: [u8; 1] = [0x01];
const NODE_DOMAIN: &[u8] = b"consilium/state/node/v1";

/// Bits in a key hash; no leaf is deeper.
pub const DEPTH_MAX: usize = 256;

/// Hash of an empty subtree and root of the empty tree: 32 zero bytes.
pub const EMPTY: Hash = Hash::from_bytes([0; 32]);

crate::hash_newtype! {
    /// Place of a key in the tree: SHA-256 of the key.
    pub struct KeyHash;

    /// What a leaf commits to: SHA-256 of the value.
    pub struct ValueHash;
}

impl KeyHash {
    /// Hashes a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self::from_bytes(sha256(&[key]))
    }

    /// Bit `depth` from the most significant; true chooses the right child.
    ///
    /// # Panics
    /// If `depth` is not below [`DEPTH_MAX`].
    #[must_use]
    pub const fn bit(&self, depth: usize) -> bool {
        self.as_bytes()[depth / 8] >> (7 - depth % 8) & 1 == 1
    }

    /// Number of leading bits, 0 to 256, in which two places agree.
    #[must_use]
    pub fn common_prefix_len(&self, other: &Self) -> usize {
        let pairs = self.as_bytes().iter().zip(other.as_bytes());
        for (index, (a, b)) in pairs.enumerate() {
            if a != b {
                return index * 8 + (a ^ b).leading_zeros() as usize;
            }
        }
        DEPTH_MAX
    }
}

impl ValueHash {
    /// Hashes a value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        Self::from_bytes(sha256(&[value]))
    }
}

/// Hash of a subtree that holds one key.
#[must_use]
pub fn leaf_hash(key: &KeyHash, value: &ValueHash) -> Hash {
    Hash::of(&[&LEAF_PREFIX, LEAF_DOMAIN, key.as_bytes(), value.as_bytes()])
}

/// Hash of a subtree that holds two keys or more.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&NODE_PREFIX, NODE_DOMAIN, left.as_bytes(), right.as_bytes()])
}

/// A subtree as its parent sees it: how many keys (none, one, more) and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subtree {
    /// No key.
    Empty,
    /// One key; the hash is that of its leaf.
    Leaf(Hash),
    /// Two keys or more.
    Inner(Hash),
}

impl Subtree {
    /// The subtree above two siblings: the one place where the compression of
    /// empty and single-leaf subtrees is decided.
    #[must_use]
    pub fn join(left: Self, right: Self) -> Self {
        match (left, right) {
            (Self::Empty, Self::Empty) => Self::Empty,
            (Self::Empty, Self::Leaf(hash)) | (Self::Leaf(hash), Self::Empty) => Self::Leaf(hash),
            (Self::Inner(_), Self::Empty | Self::Leaf(_) | Self::Inner(_))
            | (Self::Empty | Self::Leaf(_), Self::Inner(_))
            | (Self::Leaf(_), Self::Leaf(_)) => Self::Inner(node_hash(&left.hash(), &right.hash())),
        }
    }

    /// The hash by the rules of this module.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        match self {
            Self::Empty => EMPTY,
            Self::Leaf(hash) | Self::Inner(hash) => *hash,
        }
    }
}

#[cfg(test)]
mod tests;
