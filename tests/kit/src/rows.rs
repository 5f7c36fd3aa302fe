//! All rows of a ledger in memory, and the root that a model computes from them.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, StateReader, StoreFault, Table, keys};
use consilium_proto::hash::Hash;
use consilium_proto::merkle::NodeReader;
use consilium_proto::state_tree::{KeyHash, ValueHash, root_of_sorted};
use prost::Message;

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Rows(pub BTreeMap<(Table, Vec<u8>), Bytes>);

impl Rows {
    pub fn write(&mut self, executed: &Executed) {
        for row in &executed.rows {
            match &row.value {
                Some(value) => drop(self.0.insert((row.table, row.key.clone()), value.clone())),
                None => drop(self.0.remove(&(row.table, row.key.clone()))),
            }
        }
    }

    #[must_use]
    pub fn message<M: Message + Default>(&self, table: Table, key: &[u8]) -> Option<M> {
        self.0.get(&(table, key.to_vec())).map(|v| M::decode(v.clone()).unwrap())
    }

    /// The rows that the state root covers.
    #[must_use]
    pub fn state(&self) -> BTreeMap<&[u8], &Bytes> {
        let rows = self.0.iter().filter(|((table, _), _)| *table == Table::State);
        rows.map(|((_, key), value)| (key.as_slice(), value)).collect()
    }

    #[must_use]
    pub fn state_root(&self) -> Hash {
        let hashed = self.state().into_iter().map(|(key, value)| (KeyHash::of(key), ValueHash::of(value)));
        root_of_sorted(hashed.collect::<BTreeMap<_, _>>()).unwrap()
    }
}

impl TrieStore for Rows {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.get(Table::Trie, &path.to_bytes())
    }
}

impl StateReader for Rows {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }
}

impl NodeReader for Rows {
    type Error = StoreFault;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, StoreFault> {
        let node = self.get(Table::Tree, &keys::tree_node(level, index))?;
        Ok(node.map(|bytes| Hash::try_from(bytes.as_ref()).unwrap()))
    }
}
