//! An authenticated state whose proofs are made by hand, without the node's tree.

use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::pb;
use consilium_proto::state_tree::{KeyHash, StateProof, Subtree, Terminal, ValueHash, leaf_hash};
use prost::Message;

use super::header;

/// A few rows.
#[derive(Default)]
pub(crate) struct State(Vec<(Vec<u8>, Vec<u8>)>);

impl State {
    pub(crate) fn with(mut self, key: Vec<u8>, value: &impl Message) -> Self {
        self.0.push((key, value.encode_to_vec()));
        self
    }

    fn hashed(&self) -> Vec<(KeyHash, ValueHash)> {
        self.0.iter().map(|(key, value)| (KeyHash::of(key), ValueHash::of(value))).collect()
    }

    pub(crate) fn header(&self) -> Header {
        header(subtree(&self.hashed(), 0).hash())
    }

    pub(crate) fn row(&self, key: Vec<u8>) -> pb::ProvenRow {
        let mut siblings = Vec::new();
        let terminal = walk(&self.hashed(), &KeyHash::of(&key), 0, &mut siblings);
        let value = self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone());
        let proof = StateProof::new(terminal, siblings).unwrap().encode();
        pb::ProvenRow { key: key.into(), value: value.unwrap_or_default().into(), proof: proof.into() }
    }
}

fn split(rows: &[(KeyHash, ValueHash)], depth: usize, bit: bool) -> Vec<(KeyHash, ValueHash)> {
    rows.iter().filter(|(key, _)| key.bit(depth) == bit).copied().collect()
}

fn subtree(rows: &[(KeyHash, ValueHash)], depth: usize) -> Subtree {
    match rows {
        [] => Subtree::Empty,
        [(key, value)] => Subtree::Leaf(leaf_hash(key, value)),
        _ => {
            Subtree::join(subtree(&split(rows, depth, false), depth + 1), subtree(&split(rows, depth, true), depth + 1))
        }
    }
}

fn walk(rows: &[(KeyHash, ValueHash)], key: &KeyHash, depth: usize, siblings: &mut Vec<Hash>) -> Terminal {
    match rows {
        [] => Terminal::Empty,
        [(found, _)] if found == key => Terminal::Present,
        [(key_hash, value_hash)] => Terminal::OtherLeaf { key_hash: *key_hash, value_hash: *value_hash },
        _ => {
            let bit = key.bit(depth);
            siblings.push(subtree(&split(rows, depth, !bit), depth + 1).hash());
            walk(&split(rows, depth, bit), key, depth + 1, siblings)
        }
    }
}
