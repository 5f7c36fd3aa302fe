//! The ledger on RocksDB: one column family per table of the rules, and three
//! of the node's own. All rows of a block, the applied index and the tip are
//! one batch (invariant I8), so that no crash can separate them.

use std::path::Path;
use std::sync::Arc;

use consilium_consensus::{LogPosition, Membership};
use consilium_ledger::{Executed, Row, Table, keys};
use consilium_proto::pb;
use consilium_proto::vote::BlockCertificate;
use prost::Message;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DataBlockIndexType, WriteBatch};

use super::ledger_reader::{CERTIFICATES, Ledger, MEMBERSHIPS, META, NAME, POSITIONS, TIP};
use super::rot::Rot;
use super::{StorageError, database_options, tip_row};

pub use super::ledger_reader::StoredRow;

/// The open database: reads the present state, and writes.
pub type LedgerStore = Ledger<DB>;

/// Whether rows of a table are looked for one by one under keys without order: old and new ones
/// lie in all files, and most of what is looked into does not hold them.
fn is_scattered(family: &str) -> bool {
    let scattered = [
        Table::State,
        Table::Trie,
        Table::Transactions,
        Table::Versions,
        Table::Payloads,
        Table::Wraps,
        Table::Descriptors,
        Table::Lookups,
        Table::Texts,
    ];
    scattered.iter().any(|table| table.name() == family)
}

fn family_options(name: &str, cache: &Cache) -> rocksdb::Options {
    let mut block = BlockBasedOptions::default();
    block.set_block_cache(cache);
    block.set_cache_index_and_filter_blocks(true);
    block.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = rocksdb::Options::default();
    if is_scattered(name) {
        block.set_bloom_filter(10.0, false);
        block.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_memtable_whole_key_filtering(true);
    }
    options.set_block_based_table_factory(&block);
    options.set_write_buffer_size(32 * 1024 * 1024);
    options
}

impl LedgerStore {
    /// Opens or creates the database. Its log of writes counts up to the first damage in
    /// it: a power cut may leave zeros or pages out of order behind what was synced. What
    /// was behind is executed again from the Raft log, which begins where the ledger was
    /// synced; a ledger that lost more than that is refused by what the Raft log says.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StorageError> {
        let cache = Cache::new_lru_cache(cache_bytes);
        let names = Table::ALL.iter().map(|t| t.name()).chain([CERTIFICATES, POSITIONS, MEMBERSHIPS, META]);
        let families = names.map(|name| ColumnFamilyDescriptor::new(name, family_options(name, &cache)));
        let mut options = database_options();
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
        let source = DB::open_cf_descriptors(&options, path, families);
        Ok(Self { source: source.map_err(StorageError::database(NAME))?, rot: Arc::default() })
    }

    /// What has rotten in it, as far as somebody has met it.
    #[must_use]
    pub fn rot(&self) -> &Arc<Rot> {
        &self.rot
    }

    /// Opens the database to read only, while no node uses it.
    ///
    /// # Errors
    /// If it is damaged or in use.
    pub fn open_read_only(path: &Path) -> Result<Self, StorageError> {
        let cache = Cache::new_lru_cache(32 * 1024 * 1024);
        let names = Table::ALL.iter().map(|t| t.name()).chain([CERTIFICATES, POSITIONS, MEMBERSHIPS, META]);
        let families = names.map(|name| ColumnFamilyDescriptor::new(name, family_options(name, &cache)));
        // Who looks at a ledger that no node is about to mend is told of any damage.
        let mut options = database_options();
        options.create_if_missing(false);
        let source = DB::open_cf_descriptors_read_only(&options, path, families, false);
        Ok(Self { source: source.map_err(StorageError::database(NAME))?, rot: Arc::default() })
    }

    /// Stores a block, in one batch; with Raft's membership as of `position`, if
    /// it has changed since the block before. What a restart or a follower goes
    /// on from is then always of one moment.
    ///
    /// # Errors
    /// If the disk fails: the node stops.
    pub fn write_block(
        &self,
        position: LogPosition,
        executed: &Executed,
        membership: Option<&Membership>,
    ) -> Result<(), StorageError> {
        let mut batch = self.batch(&executed.rows);
        let height = keys::height(executed.tip.header.height);
        batch.put_cf(self.family(POSITIONS), &height, position.encode());
        if let Some(membership) = membership {
            batch.put_cf(self.family(MEMBERSHIPS), &height, membership.encode());
        }
        batch.put_cf(self.family(META), TIP, tip_row::encode(position.index, &executed.tip));
        self.source.write(batch).map_err(|e| self.failed(e))
    }

    fn batch(&self, rows: &[Row]) -> WriteBatch {
        let mut batch = WriteBatch::default();
        for Row { table, key, value } in rows {
            let family = self.family(table.name());
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        batch
    }

    /// Stores rows that no header covers, in one batch.
    ///
    /// # Errors
    /// If the disk fails: the node stops.
    pub fn write_rows(&self, rows: &[Row]) -> Result<(), StorageError> {
        self.source.write(self.batch(rows)).map_err(|e| self.failed(e))
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.source.flush_wal(true).map_err(|e| self.failed(e))
    }

    /// Stores a certificate. It can be had again from peers: not synced.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), StorageError> {
        let value = pb::BlockCertificate::from(certificate).encode_to_vec();
        self.source
            .put_cf(self.family(CERTIFICATES), keys::height(certificate.height), value)
            .map_err(|e| self.failed(e))
    }
}
