//! The guard's file: two slots written in turn, as in the daemon, so that a
//! torn write leaves the state before. A write of a killed process may be seen by
//! the next one and still be taken by a power cut.

use std::cell::RefCell;
use std::rc::Rc;

use consilium_consensus::{LogIndex, LogPosition, Term};
use consilium_kit::Rng;
use consilium_replica::ports::{Guard, GuardRecord, PortFault};

use super::CrashKind;
use super::port::Tripwire;
use crate::bugs::Bug;
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
    /// The slot that is not the newest cannot be read: it may have been newer.
    damaged: bool,
    /// Up to where the log has ever been, for [`Bug::WatermarkOfTheEnd`].
    longest: LogIndex,
}

fn newest(slots: &[Slot; 2]) -> Option<GuardRecord> {
    slots.iter().flatten().max_by_key(|(sequence, _)| *sequence).map(|(_, state)| *state)
}

impl GuardFile {
    /// The file of a node that has never voted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: [Some((0, GuardRecord::default())), None],
            writing: None,
            unsynced: None,
            damaged: false,
            longest: LogIndex(0),
        }
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

    /// The log ends there.
    pub fn note_end(&mut self, last: LogIndex) {
        self.longest = self.longest.max(last);
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
            self.damaged = false;
        }
    }

    /// The newest record rots, if there is one before it. Returns whether it did.
    pub fn rot(&mut self) -> bool {
        let newest = (0..2).max_by_key(|slot| self.slots[*slot].map(|(sequence, _)| sequence)).unwrap_or_default();
        if self.slots.contains(&None) || self.writing.is_some() || self.unsynced.is_some() {
            return false;
        }
        self.slots[newest] = None;
        self.damaged = true;
        true
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
                self.damaged = true;
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
    pub(super) bug: Option<Bug>,
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
        Ok(match self.bug {
            // What it holds is not read.
            Some(Bug::SkipVoteGuard) => GuardRecord::default(),
            // As if no later leader could cut the log.
            Some(Bug::WatermarkOfTheEnd) => {
                let last = LogPosition { index: self.file.longest, term: Term(u64::MAX), ..remembered.last };
                GuardRecord { last, ..remembered }
            }
            Some(_) | None => remembered,
        })
    }

    fn is_damaged(&self) -> bool {
        self.file.damaged
    }

    fn write(&mut self, record: GuardRecord) -> Result<(), PortFault> {
        self.file.write(record);
        self.tripwire.borrow_mut().pass(CrashPoint::BeforeGuard)
    }
}
