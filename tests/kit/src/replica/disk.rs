//! The disk of a replica in memory: the log and the guard, and a journal of the
//! writes that take a sync.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use consilium_consensus::{HardState, LogBounds, LogEntry, LogError, LogIndex, LogPosition, LogReader};
use consilium_proto::vote::Vote;
use consilium_replica::ports::{Guard, GuardRecord, Log, LogBatch, LogStart, PortFault};

use super::LedgerPort;
use crate::{LogHandle, MemoryLog};

/// A write that takes a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// The ledger was synced.
    Ledger,
    /// The log was synced.
    Log,
    /// So many rounds were appended to the log, with one sync or none.
    Rounds { count: usize, synced: bool },
    /// The log was replaced by a position.
    Reset(LogPosition),
    /// The log was cut at a position.
    Compacted(LogPosition),
    /// The guard was read, and synced before.
    Recalled,
    /// The guard was written.
    Guard(GuardRecord),
}

/// What was written, in order. Clones are the same journal.
#[derive(Clone, Debug, Default)]
pub struct Journal(Rc<RefCell<Vec<Did>>>);

impl Journal {
    pub(super) fn note(&self, did: Did) {
        self.0.borrow_mut().push(did);
    }

    /// What was done since the last call.
    pub fn take(&self) -> Vec<Did> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// Everything that a node has stored. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub ledger: LedgerPort,
    pub log: LogPort,
    pub guard: GuardPort,
    pub journal: Journal,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        let journal = Journal::default();
        let ledger = LedgerPort::new(&journal);
        let log = LogPort { log: Rc::default(), journal: journal.clone() };
        let guard = GuardPort { record: Rc::default(), damaged: Rc::default(), journal: journal.clone() };
        Self { ledger, log, guard, journal }
    }
}

/// The Raft log as a port. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct LogPort {
    pub log: Rc<RefCell<MemoryLog>>,
    journal: Journal,
}

impl LogPort {
    fn reader(&self) -> LogHandle {
        LogHandle::new(&self.log)
    }
}

impl LogReader for LogPort {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        self.reader().bounds()
    }

    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        self.reader().entries(low, high, bytes_max)
    }

    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        self.reader().position(index)
    }
}

impl Log for LogPort {
    fn hard_state(&self) -> Result<HardState, PortFault> {
        Ok(self.log.borrow().hard_state())
    }

    fn last(&self) -> LogPosition {
        self.log.borrow().durable_last()
    }

    fn votes(&self) -> Result<Vec<Vote>, PortFault> {
        Ok(self.log.borrow().votes())
    }

    fn is_damaged(&self) -> Result<bool, PortFault> {
        Ok(self.log.borrow().is_damaged())
    }

    fn sync(&self) -> Result<(), PortFault> {
        self.log.borrow_mut().sync();
        self.journal.note(Did::Log);
        Ok(())
    }

    fn append(&self, batch: &LogBatch<'_>) -> Result<(), PortFault> {
        let (count, synced) = (batch.rounds().len(), batch.must_sync());
        let mut log = self.log.borrow_mut();
        batch.rounds().iter().for_each(|round| log.write(round));
        log.remember(batch.votes());
        if batch.trusts() {
            log.trust();
        }
        if synced {
            log.sync();
        }
        self.journal.note(Did::Rounds { count, synced });
        Ok(())
    }

    fn reset_to(&self, start: LogStart, hard_state: HardState) -> Result<(), PortFault> {
        let mut log = self.log.borrow_mut();
        log.reset_to(start.position(), hard_state);
        log.sync();
        self.journal.note(Did::Reset(start.position()));
        Ok(())
    }

    fn compact_to(&self, start: LogStart) -> Result<(), PortFault> {
        let mut log = self.log.borrow_mut();
        log.compact_to(start.position());
        log.sync();
        self.journal.note(Did::Compacted(start.position()));
        Ok(())
    }
}

/// The guard as a port. Clones are the same guard.
#[derive(Clone, Debug, Default)]
pub struct GuardPort {
    record: Rc<Cell<GuardRecord>>,
    /// A newer record cannot be read.
    pub damaged: Rc<Cell<bool>>,
    journal: Journal,
}

impl GuardPort {
    #[must_use]
    pub fn read(&self) -> GuardRecord {
        self.record.get()
    }
}

impl Guard for GuardPort {
    fn recall(&mut self) -> Result<GuardRecord, PortFault> {
        self.journal.note(Did::Recalled);
        Ok(self.read())
    }

    fn is_damaged(&self) -> bool {
        self.damaged.get()
    }

    fn write(&mut self, record: GuardRecord) -> Result<(), PortFault> {
        self.record.set(record);
        self.damaged.set(false);
        self.journal.note(Did::Guard(record));
        Ok(())
    }
}
