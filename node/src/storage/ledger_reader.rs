//! Reading the ledger: written once, for the present state of the database and
//! for a snapshot of it. Who reads several rows that belong together takes a
//! snapshot ([`LedgerStore::snapshot`](super::ledger_store::LedgerStore)); the
//! replica, the only writer, reads what is there.
//!
//! An iterator of RocksDB gives a failure of the disk as its last item: every
//! item is looked at.

use std::sync::Arc;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Membership};
use consilium_ledger::rights::IndexScan;
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Location, StateReader, StoreFault, Table, Tip, keys};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb;
use consilium_proto::vote::BlockCertificate;
use consilium_proto::wire_scan;
use prost::Message;
use rocksdb::{ColumnFamily, DB, DBIterator, Direction, IteratorMode, ReadOptions};

use super::family::Family;
use super::merge::merge;
use super::overlay::{Recent, Value, is_nearer};
use super::rot::Rot;
use super::write_behind::WriteBehind;
use super::{StorageError, tip_row};

pub(super) const NAME: &str = "ledger";
pub(super) const TIP: &[u8] = b"tip";

/// A key and its value.
pub type StoredRow = (Box<[u8]>, Bytes);

/// Where rows are read from: the database, and what is in front of it.
pub trait Source {
    /// The database itself.
    fn database(&self) -> &DB;

    /// A row that is in front of the database, if there is one of that key.
    fn recent_row(&self, family: Family, key: &[u8]) -> Option<Value>;

    /// A value in the database.
    ///
    /// # Errors
    /// If the disk fails.
    fn get(&self, family: &ColumnFamily, key: &[u8]) -> Result<Option<Vec<u8>>, rocksdb::Error>;

    /// Rows of the database in order, and what is in front of them.
    fn iterate(&self, family: &ColumnFamily, options: ReadOptions, mode: IteratorMode<'_>) -> (Recent, DBIterator<'_>);
}

impl Source for WriteBehind {
    fn database(&self) -> &DB {
        self.database()
    }

    fn recent_row(&self, family: Family, key: &[u8]) -> Option<Value> {
        self.recent_row(family, key)
    }

    fn get(&self, family: &ColumnFamily, key: &[u8]) -> Result<Option<Vec<u8>>, rocksdb::Error> {
        self.database().get_cf(family, key)
    }

    fn iterate(&self, family: &ColumnFamily, options: ReadOptions, mode: IteratorMode<'_>) -> (Recent, DBIterator<'_>) {
        self.with_recent(|database| database.iterator_cf_opt(family, options, mode))
    }
}

/// The tables of the ledger as one source has them.
pub struct Ledger<S> {
    pub(super) source: S,
    pub(super) rot: Arc<Rot>,
}

impl<S> std::fmt::Debug for Ledger<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl<S: Source> Ledger<S> {
    pub(super) fn family(&self, family: Family) -> &ColumnFamily {
        self.source.database().cf_handle(family.name()).expect("all families are opened with the database")
    }

    /// A failure of the database, which is looked at.
    pub(super) fn failed(&self, source: rocksdb::Error) -> StorageError {
        self.rot.note(&source);
        StorageError::Database { name: NAME, source }
    }

    pub(super) fn value(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        if let Some(value) = self.source.recent_row(family, key) {
            return Ok(value);
        }
        let value = self.source.get(self.family(family), key).map_err(|e| self.failed(e))?;
        Ok(value.map(Bytes::from))
    }

    /// The row nearest to a height in a family that is kept by height.
    fn near(&self, family: Family, height: Height, direction: Direction) -> Result<Option<StoredRow>, StorageError> {
        let start = keys::height(height);
        let mode = IteratorMode::From(&start, direction);
        let (recent, mut rows) = self.source.iterate(self.family(family), ReadOptions::default(), mode);
        let stored = rows.next().transpose().map_err(|e| self.failed(e))?;
        let stored = stored.map(|(key, value)| (key, Bytes::from(value)));
        let recent = recent.near(family, &start, direction);
        Ok(match (recent, stored) {
            (Some(recent), Some(stored)) if is_nearer(&stored.0, &recent.0, direction) => Some(stored),
            (recent, stored) => recent.or(stored),
        })
    }

    /// Where the ledger stands, with the applied index; `None` before genesis.
    ///
    /// # Errors
    /// If the disk fails or the row is damaged.
    pub fn tip(&self) -> Result<Option<(LogIndex, Tip)>, StorageError> {
        self.value(Family::Meta, TIP)?.map(|bytes| tip_row::decode(&bytes)).transpose()
    }

    /// Raft's membership as of the entry that holds a block.
    ///
    /// # Errors
    /// If the disk fails, or there is none.
    pub fn membership_at(&self, height: Height) -> Result<Membership, StorageError> {
        let row = self.near(Family::Memberships, height, Direction::Reverse)?;
        let (_, bytes) = row.ok_or_else(|| StorageError::corrupt("membership", "absent"))?;
        decode_membership(&bytes)
    }

    /// The membership, if it changed with exactly this block.
    ///
    /// # Errors
    /// If the disk fails or the row is damaged.
    pub fn membership_changed_at(&self, height: Height) -> Result<Option<Membership>, StorageError> {
        self.value(Family::Memberships, &keys::height(height))?.map(|bytes| decode_membership(&bytes)).transpose()
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
        self.near(Family::Certificates, height, direction)?.map(|(_, value)| decode_certificate(&value)).transpose()
    }

    /// The certificate over exactly this height.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn certificate_at(&self, height: Height) -> Result<Option<BlockCertificate>, StorageError> {
        self.value(Family::Certificates, &keys::height(height))?.map(|value| decode_certificate(&value)).transpose()
    }

    /// Where in the Raft log a block stood.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn position(&self, height: Height) -> Result<Option<LogPosition>, StorageError> {
        let Some(value) = self.value(Family::Positions, &keys::height(height))? else { return Ok(None) };
        let position = LogPosition::decode(&value);
        position.map(Some).ok_or_else(|| StorageError::corrupt("position", "length"))
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
        let Some(block) = self.read(Table::Blocks, &keys::height(height))? else { return Ok(None) };
        // The other fields are the transactions of the block: nothing is made of them.
        let header = match wire_scan::fields(&block).next() {
            Some(Ok((1, wire_scan::Value::Bytes(header)))) => block.slice_ref(header),
            Some(_) | None => return Err(StorageError::corrupt("block", "no header")),
        };
        let header = pb::Header::decode(header).map_err(|e| StorageError::corrupt("block", e))?;
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
        self.value(Family::Table(table), key)
    }

    /// A decoded row.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn message<M: Message + Default>(&self, table: Table, key: &[u8]) -> Result<Option<M>, StorageError> {
        let Some(bytes) = self.read(table, key)? else { return Ok(None) };
        M::decode(bytes).map(Some).map_err(|e| StorageError::corrupt(table.name(), e))
    }

    /// A decoded row of the authenticated state.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn state<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, StorageError> {
        self.message(Table::State, key)
    }

    /// Rows of a table whose keys start with `prefix`, from `start` on.
    pub fn scan<'a>(
        &'a self,
        table: Table,
        prefix: &[u8],
        start: &[u8],
    ) -> impl Iterator<Item = Result<StoredRow, StorageError>> + use<'a, S> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let mode = IteratorMode::From(start, Direction::Forward);
        let family = Family::Table(table);
        let (recent, stored) = self.source.iterate(self.family(family), options, mode);
        let stored = stored.map(|item| item.map(|(key, value)| (key, Bytes::from(value))).map_err(|e| self.failed(e)));
        merge(recent.scans(family, start, prefix), stored)
    }
}

fn decode_membership(value: &[u8]) -> Result<Membership, StorageError> {
    Membership::decode(value).map_err(|e| StorageError::corrupt("membership", e))
}

fn decode_certificate(value: &[u8]) -> Result<BlockCertificate, StorageError> {
    let message = pb::BlockCertificate::decode(value).map_err(|e| StorageError::corrupt("certificate", e))?;
    BlockCertificate::try_from(&message).map_err(|e| StorageError::corrupt("certificate", e))
}

impl<S: Source> TrieStore for Ledger<S> {
    type Error = StorageError;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StorageError> {
        self.read(Table::Trie, &path.to_bytes())
    }
}

impl<S: Source> StateReader for Ledger<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.read(table, key).map_err(|e| StoreFault::Read { table: table.name(), cause: e.to_string() })
    }
}

impl<S: Source> IndexScan for Ledger<S> {
    fn index(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault> {
        let rows = self.scan(Table::Index, prefix, prefix).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|e| StoreFault::Read { table: Table::Index.name(), cause: e.to_string() })?;
        Ok(rows.into_iter().map(|(key, value)| (key.to_vec(), value)).collect())
    }
}
