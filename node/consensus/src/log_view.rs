//! What the Raft library sees as its storage: a cached tail over the node's durable log.
//!
//! Entries of an output enter the cache before the library is told that they are "stable",
//! since it reads them back at once; they may only leave it once they are durable. The cache
//! is bounded apart from that. Writes happen elsewhere; this type never waits for one.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::convert::{entry_to_raft, snapshot_to_raft};
use crate::entry::LogEntry;
use crate::ids::{LogHash, LogIndex, LogPosition, RaftId};
use crate::log::{LogBounds, LogError, LogReader};
use crate::seal::Seal;
use crate::snapshot::SnapshotMeta;
use crate::term_runs::TermRuns;

/// What one small entry costs besides its content, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = 64;

pub(crate) struct LogView<R> {
    reader: R,
    initial: RaftState,
    runs: TermRuns,
    truncated: LogPosition,
    last: LogIndex,
    /// Of the last entries, ending at `last`; those of older ones are on disk.
    hashes: VecDeque<LogHash>,
    /// The last entries of the log, ending at `last`.
    cache: VecDeque<LogEntry>,
    cache_bytes: usize,
    cache_bytes_max: usize,
    /// The state that this node can hand out.
    offered: Option<SnapshotMeta>,
    /// Followers that need a state and found none. The trait gives only `&self`.
    wanted: RefCell<BTreeSet<RaftId>>,
    /// The first failed read.
    fault: RefCell<Option<LogError>>,
}

impl<R: LogReader> LogView<R> {
    pub(crate) fn new(
        reader: R,
        initial: RaftState,
        (bounds, runs, hashes): (LogBounds, TermRuns, VecDeque<LogHash>),
        cache_bytes_max: usize,
    ) -> Self {
        let LogBounds { truncated, last } = bounds;
        Self {
            reader,
            initial,
            runs,
            truncated,
            last,
            hashes,
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_bytes_max,
            offered: None,
            wanted: RefCell::default(),
            fault: RefCell::default(),
        }
    }

    pub(crate) fn truncated(&self) -> LogPosition {
        self.truncated
    }

    pub(crate) fn last(&self) -> LogIndex {
        self.last
    }

    /// What the entry at `index` commits to; `None` if it is not in the log, or not to be read.
    pub(crate) fn hash(&self, index: LogIndex) -> Option<LogHash> {
        if index == self.truncated.index {
            return Some(self.truncated.hash);
        }
        if index < self.truncated.index || index > self.last {
            return None;
        }
        if let Some(hash) = self.recent_hash(index) {
            return Some(hash);
        }
        let found = self.reader.position(index);
        found.map_err(|error| self.fault.borrow_mut().get_or_insert(error).clone()).ok().map(|found| found.hash)
    }

    /// Hash and seal of the entry at `index`; `None` if it is not in the log, or not to be read.
    pub(crate) fn sealed(&self, index: LogIndex) -> Option<(LogHash, Option<Seal>)> {
        if index <= self.truncated.index || index > self.last {
            return None;
        }
        let entries = self.read(index.0, index.0 + 1, usize::MAX).ok()?;
        entries.first().map(|entry| (entry.hash, entry.seal))
    }

    fn recent_hash(&self, index: LogIndex) -> Option<LogHash> {
        let first = self.last.0 + 1 - self.hashes.len() as u64;
        self.hashes.get(usize::try_from(index.0.checked_sub(first)?).ok()?).copied()
    }

    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    pub(crate) fn fault(&self) -> Option<LogError> {
        self.fault.borrow().clone()
    }

    pub(crate) fn offered(&self) -> Option<&SnapshotMeta> {
        self.offered.as_ref()
    }

    pub(crate) fn offer(&mut self, meta: SnapshotMeta) {
        self.offered = Some(meta);
    }

    /// Followers that asked for a state since the last call.
    pub(crate) fn take_wanted(&mut self) -> BTreeSet<RaftId> {
        std::mem::take(self.wanted.get_mut())
    }

    /// Takes entries of an output; the first one replaces what stood at its index and after.
    pub(crate) fn append(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        self.truncate_from(first.index);
        for entry in entries {
            self.cache_bytes += cost(entry);
            self.runs.push(entry.position());
            self.last = entry.index;
            self.hashes.push_back(entry.hash);
            self.cache.push_back(entry.clone());
        }
    }

    /// Replaces the whole log by a snapshot.
    pub(crate) fn reset(&mut self, position: LogPosition) {
        self.cache.clear();
        self.cache_bytes = 0;
        self.hashes.clear();
        self.runs = TermRuns::new(position);
        self.truncated = position;
        self.last = position.index;
        self.offered = None;
    }

    /// Forgets entries up to `index`, which must be within the log. Gives where the log begins
    /// then; `None`, and nothing changed, if that cannot be read.
    pub(crate) fn compact_to(&mut self, index: LogIndex) -> Option<LogPosition> {
        let hash = self.hash(index)?;
        self.truncated = LogPosition { index, term: self.runs.term(index), hash };
        self.hashes.drain(..self.hashes.len().saturating_sub((self.last.0 - index.0) as usize));
        self.runs.compact_to(index);
        while self.cache.front().is_some_and(|entry| entry.index <= index) {
            self.pop_front();
        }
        if self.offered.as_ref().is_some_and(|meta| meta.index < index) {
            self.offered = None;
        }
        Some(self.truncated)
    }

    /// Drops the oldest cached entries beyond the limit, as far as they are durable.
    pub(crate) fn evict(&mut self, durable: LogIndex) {
        while self.cache_bytes > self.cache_bytes_max && self.cache.front().is_some_and(|entry| entry.index <= durable)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= cost(&entry);
        }
    }

    fn truncate_from(&mut self, index: LogIndex) {
        while self.cache.back().is_some_and(|entry| entry.index >= index) {
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= cost(&entry);
            }
        }
        self.runs.truncate_from(index);
        let kept = index.0.saturating_sub(self.last.0 + 1 - self.hashes.len() as u64);
        self.hashes.truncate(kept as usize);
        self.last = LogIndex(index.0.saturating_sub(1));
    }

    fn cache_first(&self) -> u64 {
        self.last.0 + 1 - self.cache.len() as u64
    }

    /// Entries of `[low, high)` as far as `bytes_max` allows, at least one.
    fn read(&self, low: u64, high: u64, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        let cache_first = self.cache_first();
        let mut entries = Vec::new();
        if low < cache_first {
            let stored_high = high.min(cache_first);
            entries = self.reader.entries(LogIndex(low), LogIndex(stored_high), bytes_max)?;
            self.check(low, stored_high, &entries)?;
            if (entries.len() as u64) < stored_high - low {
                return Ok(entries);
            }
        }
        let mut bytes: usize = entries.iter().map(cost).sum();
        for index in low.max(cache_first)..high {
            let entry = &self.cache[(index - cache_first) as usize];
            bytes += cost(entry);
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    /// What the disk returns is believed only if it is what was written there.
    fn check(&self, low: u64, high: u64, entries: &[LogEntry]) -> Result<(), LogError> {
        if entries.is_empty() {
            return Err(LogError::Missing { index: LogIndex(low) });
        }
        for (expected, entry) in (low..).zip(entries) {
            let index = LogIndex(expected);
            if entry.index != index || expected >= high {
                let detail = format!("found index {}", entry.index);
                return Err(LogError::Corrupt { index, detail });
            }
            if entry.term != self.runs.term(index) {
                let detail = format!("found term {}", entry.term);
                return Err(LogError::Corrupt { index, detail });
            }
            if self.recent_hash(index).is_some_and(|hash| hash != entry.hash) {
                return Err(LogError::Corrupt { index, detail: "found another entry".to_owned() });
            }
        }
        Ok(())
    }
}

fn cost(entry: &LogEntry) -> usize {
    entry.data_len() + ENTRY_OVERHEAD_BYTES
}

impl<R: LogReader> Storage for LogView<R> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low <= self.truncated.index.0 {
            return Err(StorageError::Compacted.into());
        }
        let bytes_max = max_size.into().map_or(usize::MAX, |max| max as usize);
        match self.read(low, high, bytes_max) {
            Ok(entries) => Ok(entries.iter().map(entry_to_raft).collect()),
            Err(error) => {
                self.fault.borrow_mut().get_or_insert(error.clone());
                // Only sending can be put off; elsewhere the library stops, as it must.
                if context.can_async() {
                    return Err(StorageError::LogTemporarilyUnavailable.into());
                }
                Err(StorageError::Other(Box::new(error)).into())
            }
        }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.truncated.index.0 {
            return Err(StorageError::Compacted.into());
        }
        if index > self.last.0 {
            return Err(StorageError::Unavailable.into());
        }
        Ok(self.runs.term(LogIndex(index)).0)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.index.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last.0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        // A state from before the node joined is of no use to it: it would refuse a configuration
        // without itself, and be sent the same one again.
        let serves = |meta: &&SnapshotMeta| {
            meta.index.0 >= request_index && RaftId::new(to).is_some_and(|to| meta.membership.contains(to))
        };
        match self.offered.as_ref().filter(serves) {
            Some(meta) => Ok(snapshot_to_raft(meta)),
            None => {
                self.wanted.borrow_mut().extend(RaftId::new(to));
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}
