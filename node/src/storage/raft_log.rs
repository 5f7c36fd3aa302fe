//! The Raft log on RocksDB. The log writer's thread is its only writer; the replica
//! reads entries that have left the core's cache.
//!
//! Keys: `e` and index (8 bytes, big-endian) for entries; `v` and raft id (the same) for
//! votes of others; `hard_state` and `truncated`; `damaged` while the end of the log is
//! missing. The membership is not here: it belongs to the
//! applied index, and lies in the batch that carries that.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use consilium_consensus::{HardState, LogBounds, LogEntry, LogError, LogIndex, LogPosition, LogReader, Persist};
use consilium_proto::ids::NodeId;
use consilium_proto::pb;
use consilium_proto::vote::Vote;
use consilium_replica::ports::{GuardRecord, Log, LogBatch, LogStart, PortFault};
use consilium_replica::start::log_reaches;
use prost::Message;
use rocksdb::{DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

use super::log_space::LogSpace;
use super::{StorageError, database_options};

pub(super) const NAME: &str = "raft";
/// Bytes that are kept in memory before they become a table.
const WRITE_BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// Files of it that are open at once: more than it has, since it is cut.
pub(crate) const OPEN_FILES_MAX: u16 = 256;
const HARD_STATE: &[u8] = b"hard_state";
const TRUNCATED: &[u8] = b"truncated";
const DAMAGED: &[u8] = b"damaged";

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct RaftLog {
    // Before the database: its thread ends first.
    space: Arc<LogSpace>,
    db: Arc<DB>,
    /// The last stored position.
    last: Arc<Mutex<LogPosition>>,
}

/// A flipped bit in the middle of what was written, and the zeros of a power cut at its end,
/// look alike: what can be read before is kept, with a note that there was more. What must
/// be there all the same the guard knows: it is asked before anything is given up.
fn open_database(path: &Path, write_buffer_bytes: usize, guard: &GuardRecord) -> Result<(DB, bool), StorageError> {
    let mut options = database_options();
    options.set_write_buffer_size(write_buffer_bytes);
    options.set_max_write_buffer_number(3);
    options.set_max_open_files(i32::from(OPEN_FILES_MAX));
    let damage = match DB::open(&options, path) {
        Ok(db) => return Ok((db, false)),
        Err(error) if error.kind() == rocksdb::ErrorKind::Corruption => error,
        Err(error) => return Err(StorageError::Database { name: NAME, source: error }),
    };
    tracing::warn!(path = %path.display(), %damage, "opening up to the first damage");
    options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
    {
        let seen = DB::open_for_read_only(&options, path, false).map_err(StorageError::database(NAME))?;
        log_reaches(guard, find_last(&seen)?.index, stored_hard_state(&seen)?)
            .map_err(|refused| StorageError::WrongDisk(refused.to_string()))?;
    }
    let db = DB::open(&options, path).map_err(StorageError::database(NAME))?;
    let mut write = WriteOptions::default();
    write.set_sync(true);
    db.put_opt(DAMAGED, [], &write).map_err(StorageError::database(NAME))?;
    Ok((db, true))
}

fn vote_key(node: NodeId) -> [u8; 9] {
    let mut key = [b'v'; 9];
    key[1..].copy_from_slice(&node.0.to_be_bytes());
    key
}

pub(super) fn entry_key(index: LogIndex) -> [u8; 9] {
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
        Self::open_guarded(path, &GuardRecord::default())
    }

    /// Opens or creates the log, which must hold what the guard knows.
    ///
    /// # Errors
    /// If the database is damaged, so that what a vote vouched for cannot be read; nothing was
    /// changed then.
    pub fn open_guarded(path: &Path, guard: &GuardRecord) -> Result<Self, StorageError> {
        Self::open_buffered(path, WRITE_BUFFER_BYTES, guard)
    }

    fn open_buffered(path: &Path, write_buffer_bytes: usize, guard: &GuardRecord) -> Result<Self, StorageError> {
        let (db, damaged) = open_database(path, write_buffer_bytes, guard)?;
        let db = Arc::new(db);
        let space = LogSpace::start(Arc::clone(&db)).map_err(StorageError::file(path))?;
        let log = Self { space: Arc::new(space), db, last: Arc::default() };
        log.set_last(find_last(&log.db)?);
        if damaged {
            tracing::warn!(
                path = %path.display(),
                last = log.last().index.0,
                "the end of the Raft log cannot be read and is left out: the peers are asked what this node acknowledged"
            );
        }
        Ok(log)
    }

    /// Begins a log, once in a node's life: a log without a hard state is one
    /// that was lost.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn initialize(&self) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put(HARD_STATE, HardState::default().encode());
        self.write(batch, true)
    }

    fn set_last(&self, position: LogPosition) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    fn persist(&self, writes: &LogBatch<'_>) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let mut last = self.last();
        for round in writes.rounds() {
            last = append_round(&mut batch, round, last);
        }
        for vote in writes.votes() {
            batch.put(vote_key(vote.validator), pb::Vote::from(vote).encode_to_vec());
        }
        if writes.trusts() {
            batch.delete(DAMAGED);
        }
        self.write(batch, writes.must_sync())?;
        self.set_last(last);
        for replaced in writes.rounds().iter().filter_map(|round| round.snapshot.as_ref()) {
            self.space.give_back(LogIndex(0), replaced.index);
        }
        Ok(())
    }

    fn reset(&self, position: LogPosition, hard_state: HardState) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.delete_range(entry_key(LogIndex(0)), entry_key(LogIndex(u64::MAX)));
        batch.put(TRUNCATED, position.encode());
        batch.put(HARD_STATE, hard_state.encode());
        self.write(batch, true)?;
        self.set_last(position);
        self.space.give_back(LogIndex(0), position.index);
        Ok(())
    }

    fn compact(&self, position: LogPosition) -> Result<(), StorageError> {
        // From the known start, so that a later seek does not cross tombstones.
        let start = self.truncated()?.index;
        let mut batch = WriteBatch::default();
        batch.delete_range(entry_key(start), entry_key(LogIndex(position.index.0 + 1)));
        batch.put(TRUNCATED, position.encode());
        self.write(batch, true)?;
        self.space.give_back(start, position.index);
        Ok(())
    }

    /// The position before the first entry.
    ///
    /// # Errors
    /// If the disk fails or the value is damaged.
    pub fn truncated(&self) -> Result<LogPosition, StorageError> {
        truncated(&self.db)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        get(&self.db, key)
    }

    fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(StorageError::database(NAME))
    }
}

impl Log for RaftLog {
    fn hard_state(&self) -> Result<HardState, PortFault> {
        Ok(stored_hard_state(&self.db)?)
    }

    fn last(&self) -> LogPosition {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn votes(&self) -> Result<Vec<Vote>, PortFault> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(vote_key(NodeId(u64::MAX)));
        let rows = self.db.iterator_opt(IteratorMode::From(&vote_key(NodeId(0)), Direction::Forward), options);
        let vote = |bytes: &[u8]| {
            let stored = pb::Vote::decode(bytes).map_err(|e| StorageError::corrupt("remembered vote", e))?;
            Vote::try_from(&stored).map_err(|e| StorageError::corrupt("remembered vote", e))
        };
        let rows = rows.map(|row| vote(&row.map_err(StorageError::database(NAME))?.1));
        Ok(rows.collect::<Result<_, StorageError>>()?)
    }

    fn is_damaged(&self) -> Result<bool, PortFault> {
        Ok(self.get(DAMAGED)?.is_some())
    }

    fn sync(&self) -> Result<(), PortFault> {
        Ok(self.db.flush_wal(true).map_err(StorageError::database(NAME))?)
    }

    fn append(&self, batch: &LogBatch<'_>) -> Result<(), PortFault> {
        Ok(self.persist(batch)?)
    }

    fn reset_to(&self, start: LogStart, hard_state: HardState) -> Result<(), PortFault> {
        Ok(self.reset(start.position(), hard_state)?)
    }

    fn compact_to(&self, start: LogStart) -> Result<(), PortFault> {
        Ok(self.compact(start.position())?)
    }
}

fn get(db: &DB, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
    let value = db.get(key).map_err(StorageError::database(NAME))?;
    Ok(value.map(Bytes::from))
}

fn stored_hard_state(db: &DB) -> Result<HardState, StorageError> {
    let bytes = get(db, HARD_STATE)?.ok_or_else(|| StorageError::corrupt("hard state", "absent"))?;
    HardState::decode(&bytes).map_err(|e| StorageError::corrupt("hard state", e))
}

fn truncated(db: &DB) -> Result<LogPosition, StorageError> {
    let Some(bytes) = get(db, TRUNCATED)? else { return Ok(LogPosition::default()) };
    LogPosition::decode(&bytes).ok_or_else(|| StorageError::corrupt("truncated position", "length"))
}

fn find_last(db: &DB) -> Result<LogPosition, StorageError> {
    let truncated = truncated(db)?;
    let end = entry_key(LogIndex(u64::MAX));
    let mut iterator = db.iterator(IteratorMode::From(&end, Direction::Reverse));
    match iterator.next() {
        Some(Err(source)) => Err(StorageError::Database { name: NAME, source }),
        Some(Ok((key, value))) if key.len() == 9 && key[0] == b'e' => {
            let entry = LogEntry::decode(&Bytes::from(value)).map_err(|e| StorageError::corrupt("last entry", e))?;
            Ok(if entry.index > truncated.index { entry.position() } else { truncated })
        }
        Some(Ok(_)) | None => Ok(truncated),
    }
}

/// Adds a round to a batch and returns the last position after it.
fn append_round(batch: &mut WriteBatch, round: &Persist, mut last: LogPosition) -> LogPosition {
    if let Some(meta) = &round.snapshot {
        batch.delete_range(entry_key(LogIndex(0)), entry_key(LogIndex(u64::MAX)));
        batch.put(TRUNCATED, meta.position().encode());
        last = meta.position();
    }
    if let (Some(first), Some(end)) = (round.entries.first(), round.entries.last()) {
        if first.index <= last.index {
            batch.delete_range(entry_key(first.index), entry_key(last.index.next()));
        }
        for entry in &round.entries {
            batch.put(entry_key(entry.index), entry.encode());
        }
        last = end.position();
    }
    if let Some(hard_state) = &round.hard_state {
        batch.put(HARD_STATE, hard_state.encode());
    }
    last
}

impl LogReader for RaftLog {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        let truncated = self.truncated().map_err(io)?;
        Ok(LogBounds { truncated, last: self.last().index })
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

    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        let truncated = self.truncated().map_err(io)?;
        if truncated.index == index {
            return Ok(truncated);
        }
        let value = self.db.get(entry_key(index)).map_err(io)?.ok_or(LogError::Missing { index })?;
        Ok(decode_entry(index, value.into())?.position())
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

#[cfg(test)]
mod tests;
