//! The Raft log of the test kit as a replica's port.

use std::cell::RefCell;
use std::rc::Rc;

use consilium_consensus::{HardState, LogBounds, LogEntry, LogError, LogIndex, LogPosition, LogReader, Term};
use consilium_kit::MemoryLog;
use consilium_proto::vote::Vote;
use consilium_replica::ports::{Log, LogBatch, LogStart, PortFault};

use super::port::Tripwire;
use crate::crash_point::CrashPoint;

/// The log as a replica's port. Clones are the same log.
#[derive(Clone, Debug)]
pub struct LogHandle {
    disk: Rc<RefCell<MemoryLog>>,
    reader: consilium_kit::LogHandle,
    tripwire: Rc<RefCell<Tripwire>>,
    lazy: bool,
}

impl LogHandle {
    /// `lazy` is a bug: a write is reported before it is synced.
    pub(super) fn new(disk: &Rc<RefCell<MemoryLog>>, tripwire: &Rc<RefCell<Tripwire>>, lazy: bool) -> Self {
        let reader = consilium_kit::LogHandle::new(disk);
        Self { disk: Rc::clone(disk), reader, tripwire: Rc::clone(tripwire), lazy }
    }

    fn pass(&self, point: CrashPoint) -> Result<(), PortFault> {
        self.tripwire.borrow_mut().pass(point)
    }
}

impl Log for LogHandle {
    fn hard_state(&self) -> Result<HardState, PortFault> {
        Ok(self.disk.borrow().hard_state())
    }

    fn last(&self) -> LogPosition {
        self.disk.borrow().durable_last()
    }

    fn votes(&self) -> Result<Vec<Vote>, PortFault> {
        Ok(self.disk.borrow().votes())
    }

    fn is_damaged(&self) -> Result<bool, PortFault> {
        Ok(self.disk.borrow().is_damaged())
    }

    fn sync(&self) -> Result<(), PortFault> {
        self.disk.borrow_mut().sync();
        Ok(())
    }

    fn append(&self, batch: &LogBatch<'_>) -> Result<(), PortFault> {
        self.pass(CrashPoint::BeforeLog)?;
        if batch.rounds().iter().any(|round| round.snapshot.is_some()) {
            self.pass(CrashPoint::BeforeSnapshot)?;
        }
        let before = self.last();
        batch.rounds().iter().for_each(|round| self.disk.borrow_mut().write(round));
        if !batch.votes().is_empty() {
            self.disk.borrow_mut().remember(batch.votes());
        }
        if batch.trusts() {
            self.disk.borrow_mut().trust();
        }
        if batch.must_sync() && !self.lazy {
            self.disk.borrow_mut().sync();
        }
        if self.last().index < before.index {
            self.pass(CrashPoint::AfterCut)?;
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
        self.reader.bounds()
    }

    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        self.reader.entries(low, high, bytes_max)
    }

    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        self.reader.position(index)
    }
}

/// The node's own log, as it is looked at while the ledger is rebuilt.
pub struct OwnLog {
    log: LogHandle,
    /// The bug: nobody looks whether it goes on from a block.
    unread: bool,
}

impl OwnLog {
    /// A node's log; with the bug, if `unread`.
    #[must_use]
    pub fn new(log: LogHandle, unread: bool) -> Self {
        Self { log, unread }
    }
}

impl LogReader for OwnLog {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        self.log.bounds()
    }

    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        self.log.entries(low, high, bytes_max)
    }

    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        let position = self.log.position(index)?;
        Ok(if self.unread { LogPosition { term: Term(u64::MAX), ..position } } else { position })
    }
}
