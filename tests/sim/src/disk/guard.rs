//! The guard's file: two slots written in turn, as in the daemon, so that a
//! torn write leaves the state before.

use std::cell::RefCell;
use std::rc::Rc;

use consilium_kit::Rng;
use consilium_replica::ports::{Guard, GuardRecord, PortFault};

use super::port::Tripwire;
use crate::env::CrashPoint;

/// The file.
#[derive(Clone, Debug)]
pub struct GuardFile {
    slots: [Option<(u64, GuardRecord)>; 2],
    /// A write that is not synced yet.
    writing: Option<(u64, GuardRecord)>,
}

impl GuardFile {
    /// The file of a node that has never voted.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: [Some((0, GuardRecord::default())), None], writing: None }
    }

    /// What would be read now; `None` if neither slot is intact.
    #[must_use]
    pub fn read(&self) -> Option<GuardRecord> {
        self.slots.iter().flatten().max_by_key(|(sequence, _)| *sequence).map(|(_, state)| *state)
    }

    /// Starts a write.
    pub fn write(&mut self, state: GuardRecord) {
        let newest = self.slots.iter().flatten().map(|(sequence, _)| *sequence).max().unwrap_or(0);
        self.writing = Some((newest + 1, state));
    }

    /// The write is durable.
    pub fn sync(&mut self) {
        if let Some((sequence, state)) = self.writing.take() {
            self.slots[(sequence % 2) as usize] = Some((sequence, state));
        }
    }

    /// Goes down in the middle of a write: it landed, did not, or is torn.
    /// Returns whether it is torn.
    pub fn crash(&mut self, rng: &mut Rng) -> bool {
        let Some((sequence, state)) = self.writing.take() else { return false };
        let slot = (sequence % 2) as usize;
        match rng.below(3) {
            0 => false,
            1 => {
                self.slots[slot] = Some((sequence, state));
                false
            }
            _ => {
                self.slots[slot] = None;
                true
            }
        }
    }
}

impl Default for GuardFile {
    fn default() -> Self {
        Self::new()
    }
}

/// The file as a replica's port. A write is torn by a crash until it is synced, so
/// whoever has the product write here reports it only after [`Self::sync`].
pub struct GuardPort<'a> {
    pub(super) file: &'a mut GuardFile,
    pub(super) tripwire: &'a Rc<RefCell<Tripwire>>,
}

impl GuardPort<'_> {
    /// The write is durable.
    ///
    /// # Errors
    /// If this is where the machine fails.
    pub fn sync(&mut self) -> Result<(), PortFault> {
        self.file.sync();
        self.tripwire.borrow_mut().pass(CrashPoint::AfterGuard)
    }
}

impl Guard for GuardPort<'_> {
    fn write(&mut self, record: GuardRecord) -> Result<(), PortFault> {
        self.file.write(record);
        self.tripwire.borrow_mut().pass(CrashPoint::BeforeGuard)
    }
}
