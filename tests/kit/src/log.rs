//! A Raft log in memory, kept as a database with a write-ahead log keeps it: a
//! write is there at once and durable after a sync. A crash of the process
//! keeps what was written; a power cut keeps what was synced and, of the rest, some
//! writes, of which those before the first hole can be read.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use consilium_consensus::{
    HardState, LogBounds, LogEntry, LogError, LogIndex, LogPosition, LogReader, Persist, PersistSeq,
};

use consilium_proto::ids::NodeId;
use consilium_proto::vote::Vote;

use crate::Rng;

#[derive(Clone, Debug)]
enum Batch {
    Round(Persist),
    Reset(LogPosition, HardState),
    Compact(LogPosition),
    Votes(Vec<Vote>),
    Trust,
}

#[derive(Clone, Debug, Default)]
struct Content {
    truncated: LogPosition,
    /// Encoded, as on a disk.
    entries: BTreeMap<LogIndex, Bytes>,
    hard_state: HardState,
    /// The newest of each other node.
    votes: BTreeMap<NodeId, Vote>,
    /// The end could not be read when the log was opened.
    damaged: bool,
}

impl Content {
    fn last(&self) -> LogIndex {
        self.entries.last_key_value().map_or(self.truncated.index, |(index, _)| *index)
    }

    fn last_position(&self) -> LogPosition {
        let last = self.entries.last_key_value();
        last.map_or(self.truncated, |(_, bytes)| LogEntry::decode(bytes).unwrap().position())
    }

    fn entry(&self, index: LogIndex) -> Result<LogEntry, LogError> {
        let bytes = self.entries.get(&index).ok_or(LogError::Missing { index })?;
        LogEntry::decode(bytes).map_err(|e| LogError::Corrupt { index, detail: e.to_string() })
    }

    fn apply(&mut self, batch: &Batch) {
        match batch {
            Batch::Round(persist) => self.round(persist),
            Batch::Reset(position, hard_state) => {
                self.entries.clear();
                self.truncated = *position;
                self.hard_state = *hard_state;
            }
            Batch::Compact(position) => {
                self.truncated = *position;
                self.entries = self.entries.split_off(&LogIndex(position.index.0 + 1));
            }
            Batch::Votes(votes) => self.votes.extend(votes.iter().map(|vote| (vote.validator, vote.clone()))),
            Batch::Trust => self.damaged = false,
        }
    }

    fn round(&mut self, persist: &Persist) {
        if let Some(meta) = &persist.snapshot {
            self.entries.clear();
            self.truncated = meta.position();
        }
        if let Some(first) = persist.entries.first() {
            self.entries.split_off(&first.index);
            assert!(first.index.0 <= self.last().0 + 1, "gap before {}", first.index);
        }
        for entry in &persist.entries {
            self.entries.insert(entry.index, entry.encode());
        }
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
    }
}

/// The log's database.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    live: Content,
    durable: Content,
    /// Written and not synced.
    pending: VecDeque<Batch>,
}

impl MemoryLog {
    /// A round of the core.
    pub fn write(&mut self, round: &Persist) {
        self.put(Batch::Round(Persist { messages_after: Vec::new(), ..round.clone() }));
    }

    /// Replaces the log by a position.
    pub fn reset_to(&mut self, position: LogPosition, hard_state: HardState) {
        self.put(Batch::Reset(position, hard_state));
    }

    /// Remembers votes of others.
    pub fn remember(&mut self, votes: &[Vote]) {
        self.put(Batch::Votes(votes.to_vec()));
    }

    /// It is not to be called damaged any more.
    pub fn trust(&mut self) {
        self.put(Batch::Trust);
    }

    /// Drops the log up to a position.
    pub fn compact_to(&mut self, position: LogPosition) {
        self.put(Batch::Compact(position));
    }

    fn put(&mut self, batch: Batch) {
        self.live.apply(&batch);
        self.pending.push_back(batch);
    }

    /// Makes all durable.
    pub fn sync(&mut self) {
        self.sync_first(self.pending.len());
    }

    /// Makes a round durable, and all that was written before it.
    pub fn sync_to(&mut self, seq: PersistSeq) {
        let is_later = |batch: &Batch| matches!(batch, Batch::Round(round) if round.seq > seq);
        let count = self.pending.iter().position(is_later).unwrap_or(self.pending.len());
        self.sync_first(count);
    }

    fn sync_first(&mut self, count: usize) {
        for batch in self.pending.drain(..count) {
            self.durable.apply(&batch);
        }
    }

    /// Loses what was not synced, except for what can be read up to the first hole: the
    /// disk had some pages, lacks others, and has zeros for some. Returns how many batches.
    pub fn power_cut(&mut self, rng: &mut Rng) -> u64 {
        let pages: Vec<bool> = self.pending.iter().map(|_| rng.chance(500)).collect();
        let kept = pages.iter().take_while(|there| **there).count();
        let lost = self.pending.len() - kept;
        // Behind the hole something is there, or zeros are: it is not a log that just ends.
        let damaged = pages[kept..].contains(&true) || (lost > 0 && rng.chance(500));
        self.sync_first(kept);
        self.pending.clear();
        self.durable.damaged |= damaged;
        self.live = self.durable.clone();
        lost as u64
    }

    /// A damage at its end, of which nobody can tell whether it was promised.
    pub fn damage(&mut self) {
        self.live.damaged = true;
        self.durable.damaged = true;
    }

    /// Whether its end could not be read when it was opened, and nobody has settled that.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.live.damaged
    }

    /// Votes that it remembers.
    #[must_use]
    pub fn votes(&self) -> Vec<Vote> {
        self.live.votes.values().cloned().collect()
    }

    /// Term, vote and commit.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.live.hard_state
    }

    #[must_use]
    pub fn last(&self) -> LogIndex {
        self.live.last()
    }

    /// # Errors
    /// If it was not written, or not to be read again.
    pub fn entry(&self, index: LogIndex) -> Result<LogEntry, LogError> {
        self.live.entry(index)
    }

    /// The last position that a power cut would leave.
    #[must_use]
    pub fn durable_last(&self) -> LogPosition {
        self.durable.last_position()
    }

    /// Where the log that a power cut would leave begins.
    #[must_use]
    pub fn durable_truncated(&self) -> LogPosition {
        self.durable.truncated
    }
}

/// Which content a reader sees.
#[derive(Clone, Copy, Debug)]
enum Sees {
    Written,
    Synced,
}

/// The reader that a core gets.
#[derive(Clone, Debug)]
pub struct LogHandle {
    log: Rc<RefCell<MemoryLog>>,
    sees: Sees,
}

impl LogHandle {
    /// Sees what is written, as a node that reads its database does.
    #[must_use]
    pub fn new(log: &Rc<RefCell<MemoryLog>>) -> Self {
        Self { log: Rc::clone(log), sees: Sees::Written }
    }

    /// Sees only what is synced, so that a core which forgot to cache an entry
    /// on its way to disk is caught.
    #[must_use]
    pub fn of_synced(log: &Rc<RefCell<MemoryLog>>) -> Self {
        Self { log: Rc::clone(log), sees: Sees::Synced }
    }

    fn read<T>(&self, read: impl FnOnce(&Content) -> T) -> T {
        let log = self.log.borrow();
        match self.sees {
            Sees::Written => read(&log.live),
            Sees::Synced => read(&log.durable),
        }
    }
}

impl LogReader for LogHandle {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        Ok(self.read(|content| LogBounds { truncated: content.truncated, last: content.last() }))
    }

    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        self.read(|content| {
            let mut entries: Vec<LogEntry> = Vec::new();
            let mut bytes = 0;
            for index in low.0..high.0 {
                let entry = content.entry(LogIndex(index))?;
                bytes += entry.data_len();
                if bytes > bytes_max && !entries.is_empty() {
                    break;
                }
                entries.push(entry);
            }
            Ok(entries)
        })
    }

    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        self.read(|content| {
            if index == content.truncated.index {
                return Ok(content.truncated);
            }
            content.entry(index).map(|entry| entry.position())
        })
    }
}

#[cfg(test)]
mod tests;
