//! The ledger on RocksDB: one column family per table of the rules, and three
//! of the node's own. All rows of a block, the applied index and the tip are
//! one batch (invariant I8), so that no crash can separate them.

use std::path::Path;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Membership, Term};
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, Location, Row, StateReader, StoreFault, Table, Tip, keys};
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::merkle::{Frontier, NodeReader};
use consilium_proto::pb;
use consilium_proto::vote::BlockCertificate;
use prost::Message;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, Direction, IteratorMode, ReadOptions, WriteBatch};

use super::{StorageError, database_options};

const NAME: &str = "ledger";
const CERTIFICATES: &str = "certificates";
const POSITIONS: &str = "positions";
const MEMBERSHIPS: &str = "memberships";
const META: &str = "meta";
const TIP: &[u8] = b"tip";

/// Value of the tip row.
#[derive(Clone, PartialEq, prost::Message)]
struct TipRow {
    #[prost(uint64, tag = "1")]
    applied_index: u64,
    #[prost(message, optional, tag = "2")]
    header: Option<pb::Header>,
    #[prost(bytes = "bytes", tag = "3")]
    frontier: Bytes,
}

/// A key and its value.
pub type StoredRow = (Box<[u8]>, Box<[u8]>);

/// The open database.
pub struct LedgerStore {
    db: DB,
}

impl std::fmt::Debug for LedgerStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerStore").finish_non_exhaustive()
    }
}

fn family_options(name: &str, cache: &Cache) -> rocksdb::Options {
    let mut block = BlockBasedOptions::default();
    block.set_block_cache(cache);
    block.set_cache_index_and_filter_blocks(true);
    block.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if [Table::State.name(), Table::Trie.name(), Table::Transactions.name(), Table::Versions.name()].contains(&name) {
        block.set_bloom_filter(10.0, false);
    }
    let mut options = rocksdb::Options::default();
    if name == Table::Transactions.name() {
        // Nearly every look-up is of a transaction that is not there.
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_memtable_whole_key_filtering(true);
    }
    options.set_block_based_table_factory(&block);
    options.set_write_buffer_size(32 * 1024 * 1024);
    options
}

impl LedgerStore {
    /// Opens or creates the database.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StorageError> {
        let cache = Cache::new_lru_cache(cache_bytes);
        let names = Table::ALL.iter().map(|t| t.name()).chain([CERTIFICATES, POSITIONS, MEMBERSHIPS, META]);
        let families = names.map(|name| ColumnFamilyDescriptor::new(name, family_options(name, &cache)));
        let db = DB::open_cf_descriptors(&database_options(), path, families).map_err(StorageError::database(NAME))?;
        Ok(Self { db })
    }

    /// Opens the database to read only, while no node uses it.
    ///
    /// # Errors
    /// If it is damaged or in use.
    pub fn open_read_only(path: &Path) -> Result<Self, StorageError> {
        let cache = Cache::new_lru_cache(32 * 1024 * 1024);
        let names = Table::ALL.iter().map(|t| t.name()).chain([CERTIFICATES, POSITIONS, MEMBERSHIPS, META]);
        let families = names.map(|name| ColumnFamilyDescriptor::new(name, family_options(name, &cache)));
        let mut options = database_options();
        options.create_if_missing(false);
        let db =
            DB::open_cf_descriptors_read_only(&options, path, families, false).map_err(StorageError::database(NAME))?;
        Ok(Self { db })
    }

    fn family(&self, name: &'static str) -> &rocksdb::ColumnFamily {
        self.db.cf_handle(name).expect("all families are opened with the database")
    }

    /// Where the ledger stands, with the applied index; `None` before genesis.
    ///
    /// # Errors
    /// If the disk fails or the row is damaged.
    pub fn tip(&self) -> Result<Option<(LogIndex, Tip)>, StorageError> {
        let Some(bytes) = self.db.get_cf(self.family(META), TIP).map_err(StorageError::database(NAME))? else {
            return Ok(None);
        };
        let row = TipRow::decode(bytes.as_slice()).map_err(|e| StorageError::corrupt("tip", e))?;
        let header = row.header.ok_or_else(|| StorageError::corrupt("tip", "no header"))?;
        let header = Header::try_from(&header).map_err(|e| StorageError::corrupt("tip", e))?;
        let frontier = Frontier::decode(&row.frontier).map_err(|e| StorageError::corrupt("tip", e))?;
        if frontier.root() != header.tree_root || frontier.size() != header.tree_size {
            return Err(StorageError::corrupt("tip", "the tree does not have the header's root"));
        }
        Ok(Some((LogIndex(row.applied_index), Tip { header, frontier })))
    }

    /// Stores a block, in one batch; with Raft's membership as of `position`, if
    /// it has changed since the block before. What a restart or a follower goes
    /// on from is then always of one moment (traps 5, 10).
    ///
    /// # Errors
    /// If the disk fails: the node stops.
    pub fn write_block(
        &self,
        position: LogPosition,
        executed: &Executed,
        membership: Option<&Membership>,
    ) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for Row { table, key, value } in &executed.rows {
            let family = self.family(table.name());
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        let height = keys::height(executed.tip.header.height);
        let mut place = position.index.0.to_be_bytes().to_vec();
        place.extend_from_slice(&position.term.0.to_be_bytes());
        batch.put_cf(self.family(POSITIONS), &height, place);
        if let Some(membership) = membership {
            batch.put_cf(self.family(MEMBERSHIPS), &height, membership.encode());
        }
        self.put_tip(&mut batch, position.index, &executed.tip);
        self.db.write(batch).map_err(StorageError::database(NAME))
    }

    fn put_tip(&self, batch: &mut WriteBatch, index: LogIndex, tip: &Tip) {
        let row = TipRow {
            applied_index: index.0,
            header: Some((&tip.header).into()),
            frontier: tip.frontier.encode().into(),
        };
        batch.put_cf(self.family(META), TIP, row.encode_to_vec());
    }

    /// Raft's membership as of the entry that holds a block.
    ///
    /// # Errors
    /// If the disk fails, or there is none.
    pub fn membership_at(&self, height: Height) -> Result<Membership, StorageError> {
        let key = keys::height(height);
        let mode = IteratorMode::From(&key, Direction::Reverse);
        let row = self.db.iterator_cf(self.family(MEMBERSHIPS), mode).next();
        let row = row.transpose().map_err(StorageError::database(NAME))?;
        let (_, bytes) = row.ok_or_else(|| StorageError::corrupt("membership", "absent"))?;
        Membership::decode(&bytes).map_err(|e| StorageError::corrupt("membership", e))
    }

    /// The membership, if it changed with exactly this block.
    ///
    /// # Errors
    /// If the disk fails or the row is damaged.
    pub fn membership_changed_at(&self, height: Height) -> Result<Option<Membership>, StorageError> {
        let row =
            self.db.get_cf(self.family(MEMBERSHIPS), keys::height(height)).map_err(StorageError::database(NAME))?;
        let decode = |bytes: Vec<u8>| Membership::decode(&bytes).map_err(|e| StorageError::corrupt("membership", e));
        row.map(decode).transpose()
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.db.flush_wal(true).map_err(StorageError::database(NAME))
    }

    /// Stores a certificate. It can be had again from peers: not synced.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), StorageError> {
        let value = pb::BlockCertificate::from(certificate).encode_to_vec();
        self.db
            .put_cf(self.family(CERTIFICATES), keys::height(certificate.height), value)
            .map_err(StorageError::database(NAME))
    }

    /// The certificate of the lowest certified height at or above `height`.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn certificate_from(&self, height: Height) -> Result<Option<BlockCertificate>, StorageError> {
        self.certificate_near(height, Direction::Forward)
    }

    /// The certificate of the highest certified height at or below `height`.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn certificate_up_to(&self, height: Height) -> Result<Option<BlockCertificate>, StorageError> {
        self.certificate_near(height, Direction::Reverse)
    }

    fn certificate_near(&self, height: Height, direction: Direction) -> Result<Option<BlockCertificate>, StorageError> {
        let start = keys::height(height);
        let mode = IteratorMode::From(&start, direction);
        let Some(item) = self.db.iterator_cf(self.family(CERTIFICATES), mode).next() else { return Ok(None) };
        let (_, value) = item.map_err(StorageError::database(NAME))?;
        decode_certificate(&value).map(Some)
    }

    /// The certificate over exactly this height.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn certificate_at(&self, height: Height) -> Result<Option<BlockCertificate>, StorageError> {
        let value =
            self.db.get_cf(self.family(CERTIFICATES), keys::height(height)).map_err(StorageError::database(NAME))?;
        value.map(|v| decode_certificate(&v)).transpose()
    }

    /// Where in the Raft log a block stood.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn position(&self, height: Height) -> Result<Option<LogPosition>, StorageError> {
        let value =
            self.db.get_cf(self.family(POSITIONS), keys::height(height)).map_err(StorageError::database(NAME))?;
        let Some(value) = value else { return Ok(None) };
        let value: [u8; 16] = value.as_slice().try_into().map_err(|_| StorageError::corrupt("position", "length"))?;
        let (index, term) = value.split_at(8);
        let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).unwrap_or_default();
        Ok(Some(LogPosition { index: LogIndex(number(index)), term: Term(number(term)) }))
    }

    /// A block.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn block(&self, height: Height) -> Result<Option<pb::Block>, StorageError> {
        let Some(bytes) = self.read(Table::Blocks, &keys::height(height))? else { return Ok(None) };
        pb::Block::decode(bytes).map(Some).map_err(|e| StorageError::corrupt("block", e))
    }

    /// A header.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn header(&self, height: Height) -> Result<Option<Header>, StorageError> {
        let Some(block) = self.block(height)? else { return Ok(None) };
        let header = block.header.ok_or_else(|| StorageError::corrupt("block", "no header"))?;
        Header::try_from(&header).map(Some).map_err(|e| StorageError::corrupt("block", e))
    }

    /// Where a transaction is.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn location(&self, id: &TransactionId) -> Result<Option<Location>, StorageError> {
        let bytes = self.read(Table::Transactions, &keys::transaction(id))?;
        bytes.map(|b| Location::decode(&b)).transpose().map_err(|e| StorageError::corrupt("transaction", e))
    }

    /// A row of a table.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let value = self.db.get_cf(self.family(table.name()), key).map_err(StorageError::database(NAME))?;
        Ok(value.map(Bytes::from))
    }

    /// A decoded row.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn message<M: Message + Default>(&self, table: Table, key: &[u8]) -> Result<Option<M>, StorageError> {
        let Some(bytes) = self.read(table, key)? else { return Ok(None) };
        M::decode(bytes).map(Some).map_err(|e| StorageError::corrupt(table.name(), e))
    }

    /// Rows of a table whose keys start with `prefix`, from `start` on.
    pub fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        start: &[u8],
    ) -> impl Iterator<Item = Result<StoredRow, StorageError>> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        self.db
            .iterator_cf_opt(self.family(table.name()), options, IteratorMode::From(start, Direction::Forward))
            .map(|item| item.map_err(StorageError::database(NAME)))
    }
}

fn decode_certificate(value: &[u8]) -> Result<BlockCertificate, StorageError> {
    let message = pb::BlockCertificate::decode(value).map_err(|e| StorageError::corrupt("certificate", e))?;
    BlockCertificate::try_from(&message).map_err(|e| StorageError::corrupt("certificate", e))
}

impl TrieStore for LedgerStore {
    type Error = StorageError;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StorageError> {
        self.read(Table::Trie, &path.to_bytes())
    }
}

impl StateReader for LedgerStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.read(table, key).map_err(|e| StoreFault::Read { table: table.name(), cause: e.to_string() })
    }
}

impl NodeReader for LedgerStore {
    type Error = StorageError;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, StorageError> {
        let Some(bytes) = self.read(Table::Tree, &keys::tree_node(level, index))? else { return Ok(None) };
        Hash::try_from(bytes.as_ref()).map(Some).map_err(|e| StorageError::corrupt("tree node", e))
    }
}
