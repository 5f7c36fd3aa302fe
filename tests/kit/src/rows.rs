//! All rows of a ledger in memory, and the root that a model computes from them.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use consilium_ledger::rights::IndexScan;
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, Row, StateReader, StoreFault, Table};
use consilium_proto::hash::Hash;
use consilium_proto::state_tree::{KeyHash, ValueHash, root_of_sorted};
use prost::Message;

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Rows(pub BTreeMap<(Table, Vec<u8>), Bytes>);

impl Rows {
    pub fn write(&mut self, executed: &Executed) {
        self.put(&executed.rows);
    }

    pub fn put(&mut self, rows: &[Row]) {
        for row in rows {
            match &row.value {
                Some(value) => drop(self.0.insert((row.table, row.key.clone()), value.clone())),
                None => drop(self.0.remove(&(row.table, row.key.clone()))),
            }
        }
    }

    /// Rows of a table behind a key.
    #[must_use]
    pub fn behind(&self, table: Table, after: &[u8], max: usize) -> Vec<Row> {
        let behind = (Bound::Excluded((table, after.to_vec())), Bound::Unbounded);
        let rows = self.0.range(behind).take_while(|((other, _), _)| *other == table);
        let row = |((table, key), value): (&(Table, Vec<u8>), &Bytes)| (*table, key.clone(), Some(value.clone()));
        rows.map(row).map(|(table, key, value)| Row { table, key, value }).take(max).collect()
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

impl IndexScan for Rows {
    fn index(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault> {
        let rows = self.0.range((Table::Index, prefix.to_vec())..);
        let rows = rows.take_while(|((table, key), _)| *table == Table::Index && key.starts_with(prefix));
        Ok(rows.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}

impl StateReader for Rows {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }
}
