//! The guard's file: two slots written in turn, as in the daemon, so that a
//! torn write leaves the state before. A write of a killed process may be seen by
//! the next one and still be taken by a power cut.

use std::cell::RefCell;
use std::rc::Rc;

use consilium_kit::Rng;
use consilium_replica::ports::{Guard, GuardRecord, PortFault};

use super::CrashKind;
use super::port::Tripwire;
use crate::crash_point::CrashPoint;

type Slot = Option<(u64, GuardRecord)>;

/// The file.
#[derive(Clone, Debug)]
pub struct GuardFile {
    slots: [Slot; 2],
    /// A write that is under way.
    writing: Slot,
    /// A slot that was written and not synced before its process was killed, and
    /// what is on the disk instead.
    unsynced: Option<(usize, Slot)>,
}

fn newest(slots: &[Slot; 2]) -> Option<GuardRecord> {
    slots.iter().flatten().max_by_key(|(sequence, _)| *sequence).map(|(_, state)| *state)
}

impl GuardFile {
    /// The file of a node that has never voted.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: [Some((0, GuardRecord::default())), None], writing: None, unsynced: None }
    }

    /// What would be read now; `None` if neither slot is intact.
    #[must_use]
    pub fn read(&self) -> Option<GuardRecord> {
        newest(&self.slots)
    }

    /// What would be read after a power cut.
    #[must_use]
    pub fn durable(&self) -> Option<GuardRecord> {
        let mut slots = self.slots;
        if let Some((slot, before)) = self.unsynced {
            slots[slot] = before;
        }
        newest(&slots)
    }

    /// Starts a write.
    pub fn write(&mut self, state: GuardRecord) {
        let newest = self.slots.iter().flatten().map(|(sequence, _)| *sequence).max().unwrap_or(0);
        self.writing = Some((newest + 1, state));
    }

    /// What was written is durable.
    pub fn sync(&mut self) {
        self.unsynced = None;
        if let Some((sequence, state)) = self.writing.take() {
            self.slots[(sequence % 2) as usize] = Some((sequence, state));
        }
    }

    /// Goes down, maybe in the middle of a write: it landed, did not, or is torn;
    /// what was not synced is gone with the power. Returns whether a slot is torn.
    pub fn crash(&mut self, kind: CrashKind, rng: &mut Rng) -> bool {
        if let Some((slot, before)) = self.unsynced.filter(|_| kind == CrashKind::Power) {
            self.unsynced = None;
            self.slots[slot] = before;
        }
        let Some((sequence, state)) = self.writing.take() else { return false };
        let slot = (sequence % 2) as usize;
        match (rng.below(3), kind) {
            (0, _) => {}
            (_, CrashKind::Process) => {
                self.unsynced = Some((slot, self.slots[slot]));
                self.slots[slot] = Some((sequence, state));
            }
            (1, CrashKind::Power) => self.slots[slot] = Some((sequence, state)),
            (_, CrashKind::Power) => {
                self.slots[slot] = None;
                return true;
            }
        }
        false
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
    /// A bug: what it holds is not read.
    pub(super) forgets: bool,
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
    fn recall(&mut self) -> Result<GuardRecord, PortFault> {
        self.file.sync();
        let remembered = self.file.read().ok_or_else(|| PortFault::corrupt("guard", "no intact slot"))?;
        Ok(if self.forgets { GuardRecord::default() } else { remembered })
    }

    fn write(&mut self, record: GuardRecord) -> Result<(), PortFault> {
        self.file.write(record);
        self.tripwire.borrow_mut().pass(CrashPoint::BeforeGuard)
    }
}
