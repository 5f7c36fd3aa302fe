//! The disk of a machine: what survives a crash, and how much of it.
//!
//! Three parts, as in a real node: the Raft log and the ledger are databases
//! with a write-ahead log each, the guard is a small file. A write is visible
//! at once and durable after a sync. A crash of the process keeps everything
//! that was written, synced or not: the next process finds it, and a power cut
//! may take it then. A power cut keeps what was synced; of the rest some pages are
//! there, some are not, and some are zeros, and what comes before the first hole can be
//! read.

mod guard;
mod ledger;
mod log;
mod misread;
pub mod port;

pub use guard::{GuardFile, GuardPort};
pub use ledger::LedgerStore;
pub use log::{LogHandle, OwnLog};
pub use port::{LedgerHandle, SimLedger, Tripwire};

use std::cell::RefCell;
use std::rc::Rc;

use consilium_consensus::Membership;
use consilium_kit::{MemoryLog, Rng};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::NodeId;

use crate::bugs::Bug;

/// How a machine went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// The process was killed: the operating system keeps what was written. The newest
    /// blocks of the ledger are still in memory, and gone.
    Process,
    /// The power went: what was not synced may be gone.
    Power,
}

/// What a crash took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Writes that were not synced and are gone.
    pub writes: u64,
    /// Torn records.
    pub torn: u64,
}

/// Everything that a machine has stored.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Ties the disk to a raft id, as the marker file does.
    pub owner: NodeId,
    /// The Raft log.
    pub log: Rc<RefCell<MemoryLog>>,
    /// The membership in force, for the bug that stores it apart from the blocks.
    pub apart: Rc<RefCell<Membership>>,
    /// The ledger.
    pub ledger: Rc<RefCell<LedgerStore>>,
    /// The guard.
    pub guard: GuardFile,
    /// The ledger is to be rebuilt from certified blocks.
    pub repair: bool,
    /// Where the machine may fail.
    pub tripwire: Rc<RefCell<Tripwire>>,
}

impl Disk {
    /// The disk of a node after its set-up; the ledger is still empty.
    #[must_use]
    pub fn new(owner: NodeId, membership: Membership) -> Self {
        Self {
            owner,
            log: Rc::default(),
            apart: Rc::new(RefCell::new(membership)),
            ledger: Rc::default(),
            guard: GuardFile::new(),
            repair: false,
            tripwire: Rc::default(),
        }
    }

    /// Executes the genesis document on an empty disk.
    ///
    /// # Panics
    /// If the fixture's genesis does not execute.
    pub fn write_genesis(&mut self, genesis: &Genesis) {
        consilium_replica::start::write_genesis(&self.ledger_port(), genesis).expect("the fixture's genesis executes");
        self.log.borrow_mut().sync();
    }

    /// A copy that shares nothing with this one.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            log: Rc::new(self.log.as_ref().clone()),
            apart: Rc::new(self.apart.as_ref().clone()),
            ledger: Rc::new(self.ledger.as_ref().clone()),
            tripwire: Rc::default(),
            ..self.clone()
        }
    }

    /// The log as a port. `lazy` is a bug: a write is reported before it is synced.
    #[must_use]
    pub fn log_port(&self, lazy: bool) -> LogHandle {
        LogHandle::new(&self.log, &self.tripwire, lazy)
    }

    /// The ledger as a port.
    #[must_use]
    pub fn ledger_port(&self) -> LedgerHandle {
        LedgerHandle { store: Rc::clone(&self.ledger), tripwire: Rc::clone(&self.tripwire) }
    }

    /// The guard as a port, with what a bug does to it.
    pub fn guard_port(&mut self, bug: Option<Bug>) -> GuardPort<'_> {
        GuardPort { file: &mut self.guard, tripwire: &self.tripwire, bug }
    }

    /// The machine goes down.
    pub fn crash(&mut self, kind: CrashKind, rng: &mut Rng) -> Lost {
        let mut lost = Lost::default();
        lost.torn += u64::from(self.guard.crash(kind, rng));
        if kind == CrashKind::Power {
            lost.writes += self.log.borrow_mut().power_cut(rng);
        }
        lost.writes += self.ledger.borrow_mut().crash(rng);
        lost
    }
}
