//! The ledger as of one moment: whoever answers a request reads all of it from
//! one snapshot, so that what it decides by and what it releases belong
//! together, whatever the replica writes meanwhile.
//!
//! A snapshot keeps RocksDB from forgetting what it holds: it is taken for one
//! answer, or one item of a stream, and dropped.

use std::sync::Arc;

use bytes::Bytes;
use consilium_consensus::LogIndex;
use consilium_ledger::Tip;
use consilium_proto::header::Header;
use consilium_proto::ids::Height;
use rocksdb::{ColumnFamily, DB, DBIterator, IteratorMode, ReadOptions};

use super::StorageError;
use super::family::Family;
use super::ledger_reader::{Ledger, Source, TIP};
use super::ledger_store::LedgerStore;
use super::overlay::{Recent, Value};
use super::tip_row;

/// Reads the ledger as it was when the snapshot was taken.
pub type LedgerSnapshot<'a> = Ledger<Moment<'a>>;

/// A moment of the database, and of what was in front of it then.
pub struct Moment<'a> {
    database: &'a DB,
    snapshot: rocksdb::Snapshot<'a>,
    recent: Recent,
    applied: LogIndex,
    tip: Tip,
}

impl LedgerStore {
    /// The ledger as of now.
    ///
    /// # Errors
    /// If the disk fails, or there is no genesis block.
    pub fn snapshot(&self) -> Result<LedgerSnapshot<'_>, StorageError> {
        let database = self.source.database();
        let (recent, snapshot) = self.source.with_recent(DB::snapshot);
        let tip = match recent.get(Family::Meta, TIP) {
            Some(tip) => tip,
            None => snapshot.get_cf(self.family(Family::Meta), TIP).map_err(|e| self.failed(e))?.map(Bytes::from),
        };
        let tip = tip.ok_or_else(|| StorageError::corrupt("ledger", "has no genesis block"))?;
        let (applied, tip) = tip_row::decode(&tip)?;
        let rot = Arc::clone(&self.rot);
        Ok(Ledger { source: Moment { database, snapshot, recent, applied, tip }, rot })
    }
}

impl LedgerSnapshot<'_> {
    /// The newest header of that moment.
    #[must_use]
    pub fn tip_header(&self) -> &Header {
        &self.source.tip.header
    }

    /// The height of that moment: of every row that is read here.
    #[must_use]
    pub fn height(&self) -> Height {
        self.tip_header().height
    }

    /// The entry of the log that holds the newest block.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.source.applied
    }
}

impl Source for Moment<'_> {
    fn database(&self) -> &DB {
        self.database
    }

    fn recent_row(&self, family: Family, key: &[u8]) -> Option<Value> {
        self.recent.get(family, key)
    }

    fn get(&self, family: &ColumnFamily, key: &[u8]) -> Result<Option<Vec<u8>>, rocksdb::Error> {
        self.snapshot.get_cf(family, key)
    }

    fn iterate(&self, family: &ColumnFamily, options: ReadOptions, mode: IteratorMode<'_>) -> (Recent, DBIterator<'_>) {
        (self.recent.clone(), self.snapshot.iterator_cf_opt(family, options, mode))
    }
}

#[cfg(test)]
pub(crate) mod tests;
