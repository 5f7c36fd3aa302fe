//! The inclusion proof inside a receipt and the root that it leads to.
//!
//! Pure arithmetic on hashes (RFC 9162 section 2.1.3.2) and its CBOR form,
//! `[tree size, leaf index, [path]]`. This module never decides whether a root is
//! the right one.

use coset::cbor::{self, Value};

use super::CoseError;
use crate::hash::sha256;

/// Most hashes in a path: a tree with 2^64 leaves.
pub const PATH_LEN_MAX: usize = 64;

/// Largest encoding: three heads, two integers and the path.
const ENCODED_LEN_MAX: usize = 1 + 9 + 9 + 2 + PATH_LEN_MAX * 34;

/// That a leaf is in a tree: siblings from the leaf up to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Leaves in the tree.
    pub tree_size: u64,
    /// Position of the leaf, from 0.
    pub leaf_index: u64,
    /// Sibling hashes, lowest first.
    pub path: Vec<[u8; 32]>,
}

impl InclusionProof {
    /// The root to which this proof leads from `leaf_hash` (which is
    /// `SHA-256(0x00 || entry)`).
    pub fn root(&self, leaf_hash: &[u8; 32]) -> Result<[u8; 32], CoseError> {
        root_from_inclusion_path(leaf_hash, self.leaf_index, self.tree_size, &self.path).ok_or(CoseError::Path {
            tree_size: self.tree_size,
            leaf_index: self.leaf_index,
            path_len: self.path.len(),
        })
    }

    /// CBOR `[tree size, leaf index, [path]]`.
    pub(super) fn encode(&self) -> Result<Vec<u8>, CoseError> {
        let path = self.path.iter().map(|hash| Value::Bytes(hash.to_vec())).collect();
        let value = Value::Array(vec![Value::from(self.tree_size), Value::from(self.leaf_index), Value::Array(path)]);
        let mut out = Vec::new();
        cbor::into_writer(&value, &mut out).map_err(|_| CoseError::Encode)?;
        Ok(out)
    }

    /// Reads [`Self::encode`]; anything else, also behind it, is refused.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CoseError> {
        if bytes.len() > ENCODED_LEN_MAX {
            return Err(CoseError::Proof);
        }
        let value: Value = cbor::from_reader(bytes).map_err(|_| CoseError::Proof)?;
        let Value::Array(items) = value else {
            return Err(CoseError::Proof);
        };
        let [tree_size, leaf_index, Value::Array(path)] = items.as_slice() else {
            return Err(CoseError::Proof);
        };
        let proof = Self {
            tree_size: unsigned(tree_size)?,
            leaf_index: unsigned(leaf_index)?,
            path: path.iter().map(hash).collect::<Result<_, _>>()?,
        };
        // One form only: no trailing bytes, long integers or indefinite lengths.
        if proof.encode()? != bytes { Err(CoseError::Proof) } else { Ok(proof) }
    }
}

fn unsigned(value: &Value) -> Result<u64, CoseError> {
    value.as_integer().and_then(|integer| u64::try_from(integer).ok()).ok_or(CoseError::Proof)
}

fn hash(value: &Value) -> Result<[u8; 32], CoseError> {
    value.as_bytes().and_then(|bytes| bytes.as_slice().try_into().ok()).ok_or(CoseError::Proof)
}

/// The root computed from a leaf and its path, or `None` when the path has not
/// exactly the length that the index and the size demand (RFC 9162 section
/// 2.1.3.2; the comparison with the expected root is the caller's).
pub fn root_from_inclusion_path(
    leaf_hash: &[u8; 32],
    leaf_index: u64,
    tree_size: u64,
    path: &[[u8; 32]],
) -> Option<[u8; 32]> {
    if leaf_index >= tree_size {
        return None;
    }
    let (mut node, mut last) = (leaf_index, tree_size - 1);
    let mut hash = *leaf_hash;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = sha256(&[&[1], sibling, &hash]);
            // Levels at which this node has no sibling are skipped.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = sha256(&[&[1], &hash, sibling]);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests;
