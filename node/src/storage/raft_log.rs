//! The Raft log on RocksDB. The writer thread is its only writer; the driver
//! reads entries that have left the core's cache.
//!
//! Keys: `e` and index (8 bytes, big-endian) for entries; `hard_state`,
//! `membership`, `truncated` for the rest.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consilium_consensus::{
    HardState, LogBounds, LogEntry, LogError, LogIndex, LogPosition, LogReader, Membership, Persist, Term,
};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

use super::{StorageError, database_options};

const NAME: &str = "raft";
const HARD_STATE: &[u8] = b"hard_state";
const MEMBERSHIP: &[u8] = b"membership";
const TRUNCATED: &[u8] = b"truncated";

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct RaftLog {
    db: Arc<DB>,
    /// Last stored index.
    last: Arc<AtomicU64>,
}

fn entry_key(index: LogIndex) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&index.0.to_be_bytes());
    key
}

impl RaftLog {
    /// Opens or creates the log.
    ///
    /// # Errors
    /// If the database is damaged.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let mut options = database_options();
        options.set_write_buffer_size(64 * 1024 * 1024);
        options.set_max_write_buffer_number(3);
        let db = DB::open(&options, path).map_err(StorageError::database(NAME))?;
        let log = Self { db: Arc::new(db), last: Arc::new(AtomicU64::new(0)) };
        let last = log.find_last()?;
        log.last.store(last.0, Ordering::Release);
        Ok(log)
    }

    /// Stores the first membership; the log is empty.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn initialize(&self, membership: &Membership) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put(MEMBERSHIP, membership.encode());
        self.write(batch, true)
    }

    /// The stored hard state; zeros for a new log.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn hard_state(&self) -> Result<HardState, StorageError> {
        match self.get(HARD_STATE)? {
            Some(bytes) => HardState::decode(&bytes).map_err(|e| StorageError::corrupt("hard state", e)),
            None => Ok(HardState::default()),
        }
    }

    /// The stored membership.
    ///
    /// # Errors
    /// If the disk fails, or the value is absent or damaged.
    pub fn membership(&self) -> Result<Membership, StorageError> {
        let bytes = self.get(MEMBERSHIP)?.ok_or_else(|| StorageError::corrupt("membership", "absent"))?;
        Membership::decode(&bytes).map_err(|e| StorageError::corrupt("membership", e))
    }

    /// Stores a membership with the index it was applied at.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_membership(&self, membership: &Membership) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put(MEMBERSHIP, membership.encode());
        self.write(batch, true)
    }

    /// Writes several rounds in one batch, synced if any of them asks for it.
    ///
    /// # Errors
    /// If the disk fails: the node stops.
    pub fn persist(&self, rounds: &[Persist]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let mut last = self.last();
        for round in rounds {
            last = append_round(&mut batch, round, last);
        }
        let sync = rounds.iter().any(|round| round.must_sync);
        self.write(batch, sync)?;
        self.last.store(last.0, Ordering::Release);
        Ok(())
    }

    /// Replaces the log by a position: everything up to there is in the state.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn reset_to(&self, position: LogPosition, hard_state: HardState) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.delete_range(entry_key(LogIndex(0)), entry_key(LogIndex(u64::MAX)));
        batch.put(TRUNCATED, encode_position(position));
        batch.put(HARD_STATE, hard_state.encode());
        self.write(batch, true)?;
        self.last.store(position.index.0, Ordering::Release);
        Ok(())
    }

    /// Drops entries up to and including a position.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn compact_to(&self, position: LogPosition) -> Result<(), StorageError> {
        // From the known start, so that a later seek does not cross tombstones.
        let start = self.truncated()?.index;
        let mut batch = WriteBatch::default();
        batch.delete_range(entry_key(start), entry_key(LogIndex(position.index.0 + 1)));
        batch.put(TRUNCATED, encode_position(position));
        self.write(batch, true)
    }

    /// Last stored index.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        LogIndex(self.last.load(Ordering::Acquire))
    }

    /// The position before the first entry.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn truncated(&self) -> Result<LogPosition, StorageError> {
        let Some(bytes) = self.get(TRUNCATED)? else { return Ok(LogPosition::default()) };
        let bytes: [u8; 16] =
            bytes.as_ref().try_into().map_err(|_| StorageError::corrupt("truncated position", "length"))?;
        let (index, term) = bytes.split_at(8);
        let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).unwrap_or_default();
        Ok(LogPosition { index: LogIndex(number(index)), term: Term(number(term)) })
    }

    fn find_last(&self) -> Result<LogIndex, StorageError> {
        let truncated = self.truncated()?.index;
        let end = entry_key(LogIndex(u64::MAX));
        let mut iterator = self.db.iterator(IteratorMode::From(&end, Direction::Reverse));
        match iterator.next() {
            Some(Err(source)) => Err(StorageError::Database { name: NAME, source }),
            Some(Ok((key, _))) if key.len() == 9 && key[0] == b'e' => {
                let index = key[1..].try_into().map(u64::from_be_bytes).unwrap_or_default();
                Ok(LogIndex(index).max(truncated))
            }
            Some(Ok(_)) | None => Ok(truncated),
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let value = self.db.get(key).map_err(StorageError::database(NAME))?;
        Ok(value.map(Bytes::from))
    }

    fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(StorageError::database(NAME))
    }
}

fn encode_position(position: LogPosition) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&position.index.0.to_be_bytes());
    out[8..].copy_from_slice(&position.term.0.to_be_bytes());
    out
}

/// Adds a round to a batch and returns the last index after it.
fn append_round(batch: &mut WriteBatch, round: &Persist, mut last: LogIndex) -> LogIndex {
    if let Some(meta) = &round.snapshot {
        batch.delete_range(entry_key(LogIndex(0)), entry_key(LogIndex(u64::MAX)));
        batch.put(TRUNCATED, encode_position(meta.position()));
        batch.put(MEMBERSHIP, meta.membership.encode());
        last = meta.index;
    }
    if let (Some(first), Some(end)) = (round.entries.first(), round.entries.last()) {
        if first.index <= last {
            batch.delete_range(entry_key(first.index), entry_key(LogIndex(last.0 + 1)));
        }
        for entry in &round.entries {
            batch.put(entry_key(entry.index), entry.encode());
        }
        last = end.index;
    }
    if let Some(hard_state) = &round.hard_state {
        batch.put(HARD_STATE, hard_state.encode());
    }
    last
}

impl LogReader for RaftLog {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        let truncated = self.truncated().map_err(io)?;
        Ok(LogBounds { truncated, last: self.last() })
    }

    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(entry_key(high));
        let iterator = self.db.iterator_opt(IteratorMode::From(&entry_key(low), Direction::Forward), options);
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut expected = low;
        // The iterator yields the database's status as its last item when a
        // read fails, so a damaged table never looks like the end of the log.
        for item in iterator {
            let (_, value) = item.map_err(io)?;
            let entry = decode_entry(expected, value)?;
            bytes += entry.data_len();
            if !entries.is_empty() && bytes > bytes_max {
                return Ok(entries);
            }
            expected = LogIndex(expected.0 + 1);
            entries.push(entry);
        }
        if expected < high { Err(LogError::Missing { index: expected }) } else { Ok(entries) }
    }

    fn term(&self, index: LogIndex) -> Result<Term, LogError> {
        let truncated = self.truncated().map_err(io)?;
        if truncated.index == index {
            return Ok(truncated.term);
        }
        let value = self.db.get(entry_key(index)).map_err(io)?.ok_or(LogError::Missing { index })?;
        Ok(decode_entry(index, value.into())?.term)
    }
}

fn decode_entry(index: LogIndex, value: Box<[u8]>) -> Result<LogEntry, LogError> {
    let entry =
        LogEntry::decode(&Bytes::from(value)).map_err(|e| LogError::Corrupt { index, detail: e.to_string() })?;
    if entry.index == index {
        Ok(entry)
    } else {
        Err(LogError::Corrupt { index, detail: format!("holds index {}", entry.index.0) })
    }
}

fn io(error: impl std::fmt::Display) -> LogError {
    LogError::Io { detail: error.to_string() }
}
