//! What the rules read again and again (members, signers, keys, the upper nodes
//! of the state tree), kept in memory for the applier alone: it is the only
//! writer, so its copy is never stale. Bounded in entries.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Row, StateReader, StoreFault, Table, keys};

use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

/// Entries kept; about 300 bytes each.
const ENTRIES_MAX: usize = 100_000;

type Rows = HashMap<(Table, Vec<u8>), Option<Bytes>>;

/// The cache. Records are left out: each is written once and seldom read.
#[derive(Debug, Default)]
pub struct StateCache {
    rows: RefCell<Rows>,
}

impl StateCache {
    /// Follows the rows of a block that was stored.
    pub fn update(&mut self, rows: &[Row]) {
        let cached = self.rows.get_mut();
        for row in rows {
            if is_cached(row.table, &row.key) {
                cached.insert((row.table, row.key.clone()), row.value.clone());
            }
        }
        if cached.len() > ENTRIES_MAX {
            cached.clear();
        }
    }

    /// The store, seen through the cache.
    #[must_use]
    pub fn reader<'a>(&'a self, store: &'a LedgerStore) -> CachedReader<'a> {
        CachedReader { cache: self, store }
    }
}

fn is_cached(table: Table, key: &[u8]) -> bool {
    match table {
        Table::Trie => true,
        Table::State => !keys::is_record(key),
        Table::Versions
        | Table::Payloads
        | Table::Wraps
        | Table::Transactions
        | Table::Tree
        | Table::Index
        | Table::Blocks => false,
    }
}

/// See [`StateCache::reader`].
#[derive(Debug)]
pub struct CachedReader<'a> {
    cache: &'a StateCache,
    store: &'a LedgerStore,
}

impl CachedReader<'_> {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        if !is_cached(table, key) {
            return self.store.read(table, key);
        }
        let place = (table, key.to_vec());
        if let Some(value) = self.cache.rows.borrow().get(&place) {
            return Ok(value.clone());
        }
        let value = self.store.read(table, key)?;
        self.cache.rows.borrow_mut().insert(place, value.clone());
        Ok(value)
    }
}

impl TrieStore for CachedReader<'_> {
    type Error = StorageError;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StorageError> {
        self.read(Table::Trie, &path.to_bytes())
    }
}

impl StateReader for CachedReader<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.read(table, key).map_err(|e| StoreFault::Read { table: table.name(), cause: e.to_string() })
    }
}
