//! The Raft log: entries and hard state, written in batches. A membership is here
//! only for the bug that kept it apart from the applied index.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use consilium_consensus::{
    HardState, LogBounds, LogEntry, LogError, LogIndex, LogPosition, LogReader, Membership, Persist, Term,
};
use consilium_kit::Rng;
use consilium_replica::ports::{Log, LogBatch, LogStart, PortFault};

use super::port::Tripwire;
use crate::env::CrashPoint;

#[derive(Clone, Debug)]
enum Batch {
    Round(Persist),
    Membership(Membership),
    Reset(LogPosition, HardState),
    Compact(LogPosition),
}

#[derive(Clone, Debug)]
struct Content {
    truncated: LogPosition,
    /// Encoded, as on a disk.
    entries: BTreeMap<LogIndex, Bytes>,
    hard_state: HardState,
    membership: Membership,
}

impl Content {
    fn last(&self) -> LogIndex {
        self.entries.last_key_value().map_or(self.truncated.index, |(index, _)| *index)
    }

    fn apply(&mut self, batch: &Batch) {
        match batch {
            Batch::Round(persist) => self.round(persist),
            Batch::Membership(membership) => self.membership = membership.clone(),
            Batch::Reset(position, hard_state) => {
                self.entries.clear();
                self.truncated = *position;
                self.hard_state = *hard_state;
            }
            Batch::Compact(position) => {
                self.truncated = *position;
                self.entries = self.entries.split_off(&LogIndex(position.index.0 + 1));
            }
        }
    }

    fn round(&mut self, persist: &Persist) {
        if let Some(meta) = &persist.snapshot {
            self.entries.clear();
            self.truncated = meta.position();
            self.membership = meta.membership.clone();
        }
        if let Some(first) = persist.entries.first() {
            self.entries.split_off(&first.index);
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
#[derive(Clone, Debug)]
pub struct LogDisk {
    live: Content,
    durable: Content,
    /// Written and not synced.
    pending: Vec<Batch>,
}

impl LogDisk {
    pub(super) fn new(membership: Membership) -> Self {
        let content = Content {
            truncated: LogPosition::default(),
            entries: BTreeMap::new(),
            hard_state: HardState::default(),
            membership,
        };
        Self { live: content.clone(), durable: content, pending: Vec::new() }
    }

    fn write(&mut self, batch: Batch) {
        self.live.apply(&batch);
        self.pending.push(batch);
    }

    /// A round of the core.
    pub fn write_round(&mut self, round: &Persist) {
        self.write(Batch::Round(Persist { messages_after: Vec::new(), ..round.clone() }));
    }

    /// The membership in force, for that bug.
    pub fn write_membership(&mut self, membership: &Membership) {
        self.write(Batch::Membership(membership.clone()));
    }

    /// Replaces the log by a position.
    pub fn reset_to(&mut self, position: LogPosition, hard_state: HardState) {
        self.write(Batch::Reset(position, hard_state));
    }

    /// Drops the log up to a position.
    pub fn compact_to(&mut self, position: LogPosition) {
        self.write(Batch::Compact(position));
    }

    /// Makes all durable.
    pub fn sync(&mut self) {
        for batch in std::mem::take(&mut self.pending) {
            self.durable.apply(&batch);
        }
    }

    /// Loses what was not synced, except for a prefix. Returns how many batches.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) -> u64 {
        let kept = rng.below(self.pending.len() as u64 + 1) as usize;
        let lost = self.pending.len() - kept;
        self.pending.truncate(kept);
        self.sync();
        self.live = self.durable.clone();
        lost as u64
    }

    /// Term, vote and commit.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.live.hard_state
    }

    /// The stored membership, for that bug.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.live.membership.clone()
    }

    /// The last index.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        self.live.last()
    }

    /// The last index that a power cut would leave.
    #[must_use]
    pub fn durable_last(&self) -> LogIndex {
        self.durable.last()
    }

    /// An entry that was written.
    ///
    /// # Errors
    /// If it is not there.
    pub fn entry(&self, index: LogIndex) -> Result<LogEntry, LogError> {
        let bytes = self.live.entries.get(&index).ok_or(LogError::Missing { index })?;
        LogEntry::decode(bytes).map_err(|e| LogError::Corrupt { index, detail: e.to_string() })
    }
}

/// The log as a replica's port. Clones are the same log.
#[derive(Clone, Debug)]
pub struct LogHandle {
    /// The database.
    pub disk: Rc<RefCell<LogDisk>>,
    /// Where the machine may fail.
    pub tripwire: Rc<RefCell<Tripwire>>,
    /// A bug: a write is reported before it is synced.
    pub lazy: bool,
}

impl LogHandle {
    fn pass(&self, point: CrashPoint) -> Result<(), PortFault> {
        self.tripwire.borrow_mut().pass(point)
    }
}

impl Log for LogHandle {
    fn hard_state(&self) -> Result<HardState, PortFault> {
        Ok(self.disk.borrow().hard_state())
    }

    fn last(&self) -> LogIndex {
        self.disk.borrow().durable_last()
    }

    fn append(&self, batch: &LogBatch<'_>) -> Result<(), PortFault> {
        self.pass(CrashPoint::BeforeLog)?;
        if batch.rounds().iter().any(|round| round.snapshot.is_some()) {
            self.pass(CrashPoint::BeforeSnapshot)?;
        }
        batch.rounds().iter().for_each(|round| self.disk.borrow_mut().write_round(round));
        if batch.must_sync() && !self.lazy {
            self.disk.borrow_mut().sync();
        }
        self.pass(CrashPoint::AfterLog)
    }

    fn reset_to(&self, start: LogStart, hard_state: HardState) -> Result<(), PortFault> {
        let mut disk = self.disk.borrow_mut();
        disk.reset_to(start.position(), hard_state);
        disk.sync();
        Ok(())
    }

    fn compact_to(&self, start: LogStart) -> Result<(), PortFault> {
        self.pass(CrashPoint::BeforeCompaction)?;
        let mut disk = self.disk.borrow_mut();
        disk.compact_to(start.position());
        disk.sync();
        Ok(())
    }
}

impl LogReader for LogHandle {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        let log = self.disk.borrow();
        Ok(LogBounds { truncated: log.live.truncated, last: log.last() })
    }

    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        let log = self.disk.borrow();
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        for index in low.0..high.0 {
            let entry = log.entry(LogIndex(index))?;
            bytes += entry.data_len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn term(&self, index: LogIndex) -> Result<Term, LogError> {
        let log = self.disk.borrow();
        if index == log.live.truncated.index {
            return Ok(log.live.truncated.term);
        }
        log.entry(index).map(|entry| entry.term)
    }
}
