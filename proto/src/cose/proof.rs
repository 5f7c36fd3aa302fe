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
mod tests {
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
}
