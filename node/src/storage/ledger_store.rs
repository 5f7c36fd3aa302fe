//! The ledger on RocksDB. All rows of a block, the applied index and the tip are
//! written at once (invariant I8), so that no crash can separate them; they reach
//! the database behind the replica's back ([`write_behind`](super::write_behind)).

use std::mem;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use consilium_consensus::{LogPosition, Membership};
use consilium_ledger::{Executed, Row, keys};
use consilium_proto::pb;
use consilium_proto::vote::BlockCertificate;
use prost::Message;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompactionStyle, DBCompressionType, DataBlockIndexType,
};

use super::family::Family;
use super::ledger_reader::{Ledger, NAME, TIP};
use super::overlay::NewRow;
use super::rot::Rot;
use super::write_behind::WriteBehind;
use super::{StorageError, database_options, tip_row};
use crate::config::OPEN_FILES_DEFAULT;

pub use super::ledger_reader::StoredRow;

/// The open database: reads the present state, and writes.
pub type LedgerStore = Ledger<WriteBehind>;

/// Values of a bulky family from so many bytes on lie in files of their own, written once.
const APART_BYTES: u64 = 512;
/// Sorted files of a family that are merged at once: each row is written again about so much less
/// often than it has neighbours to be merged with.
const MERGED_FILES: i32 = 8;

/// Rows come under keys without order, a few hundred bytes each, and stay. In levels each would be
/// written again ten times for each level that the ledger reaches; files of like size are merged
/// instead, which writes it again once for each doubling or so. Payloads and wraps are most of the
/// bytes: they are left where they were written. What is dropped among them is given back by who
/// drops it, not by the way.
fn family_options(family: Family, cache: &Cache) -> rocksdb::Options {
    let mut block = BlockBasedOptions::default();
    block.set_block_cache(cache);
    block.set_cache_index_and_filter_blocks(true);
    block.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = rocksdb::Options::default();
    if family.is_scattered() {
        block.set_bloom_filter(10.0, false);
        block.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_memtable_whole_key_filtering(true);
    }
    options.set_block_based_table_factory(&block);
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_level_zero_file_num_compaction_trigger(MERGED_FILES);
    options.set_level_zero_slowdown_writes_trigger(5 * MERGED_FILES);
    options.set_level_zero_stop_writes_trigger(8 * MERGED_FILES);
    // Of hashes and ciphertexts nothing is gained; names and ids are worth it where they stay.
    options.set_bottommost_compression_type(DBCompressionType::Lz4);
    if family.is_bulky() {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(APART_BYTES);
    }
    // Larger than what all of them have in memory before it goes to files.
    options.set_write_buffer_size(128 * 1024 * 1024);
    options
}

fn families(cache: &Cache) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    Family::all().map(move |family| ColumnFamilyDescriptor::new(family.name(), family_options(family, cache)))
}

fn of_tables(rows: Vec<Row>) -> impl Iterator<Item = NewRow> {
    rows.into_iter().map(|Row { table, key, value }| (Family::Table(table), key, value))
}

impl LedgerStore {
    /// Opens or creates the database. It has no log of writes, but one that a version before wrote:
    /// that counts up to the first damage in it. What is not in its files is executed again from the
    /// Raft log, which begins where the ledger was synced; a ledger that lost more than that is refused
    /// by what the Raft log says.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StorageError> {
        Self::open_within(path, cache_bytes, OPEN_FILES_DEFAULT)
    }

    /// As [`open`](Self::open), with at most so many of its files open at once.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn open_within(path: &Path, cache_bytes: usize, open_files_max: u32) -> Result<Self, StorageError> {
        let cache = Cache::new_lru_cache(cache_bytes);
        let mut options = database_options();
        options.set_max_open_files(i32::try_from(open_files_max).unwrap_or(i32::MAX));
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
        options.set_atomic_flush(true);
        let database = DB::open_cf_descriptors(&options, path, families(&cache));
        let database = database.map_err(StorageError::database(NAME))?;
        let source = WriteBehind::start(database).map_err(StorageError::file(path))?;
        Ok(Self { source, rot: Arc::default() })
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
        // Who looks at a ledger that no node is about to mend is told of any damage.
        let mut options = database_options();
        options.create_if_missing(false);
        let database = DB::open_cf_descriptors_read_only(&options, path, families(&cache), false);
        let database = database.map_err(StorageError::database(NAME))?;
        Ok(Self { source: WriteBehind::read_only(database), rot: Arc::default() })
    }

    /// Stores a block, in one batch, and takes its rows for that; with Raft's membership as of `position`, if
    /// it has changed since the block before. What a restart or a follower goes
    /// on from is then always of one moment.
    ///
    /// # Errors
    /// If the disk fails: the node stops.
    pub fn write_block(
        &self,
        position: LogPosition,
        executed: &mut Executed,
        membership: Option<&Membership>,
    ) -> Result<(), StorageError> {
        let height = || keys::height(executed.tip.header.height);
        let own = [
            (Family::Positions, height(), Some(Bytes::copy_from_slice(&position.encode()))),
            (Family::Meta, TIP.to_vec(), Some(Bytes::from(tip_row::encode(position.index, &executed.tip)))),
        ];
        let membership = membership.map(|membership| Bytes::from(membership.encode()));
        let membership = membership.map(|membership| (Family::Memberships, height(), Some(membership)));
        let rows = of_tables(mem::take(&mut executed.rows)).chain(own).chain(membership);
        self.source.write(rows).map_err(|e| self.failed(e))
    }

    /// Stores rows that no header covers, in one batch.
    ///
    /// # Errors
    /// If the disk fails: the node stops.
    pub fn write_rows(&self, rows: Vec<Row>) -> Result<(), StorageError> {
        self.source.write(of_tables(rows)).map_err(|e| self.failed(e))
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.source.flush().map_err(|e| self.failed(e))
    }

    /// Stores a certificate. It can be had again from peers: not synced.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), StorageError> {
        let value = pb::BlockCertificate::from(certificate).encode_to_vec();
        let row = (Family::Certificates, keys::height(certificate.height), Some(Bytes::from(value)));
        self.source.write([row]).map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
mod tests;
