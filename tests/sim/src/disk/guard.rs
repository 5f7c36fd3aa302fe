//! The guard's file: two slots written in turn, as in the daemon, so that a
//! torn write leaves the state before.

use consilium_consensus::voting::VoteGuard;

use crate::rng::Rng;

/// What the guard remembers: the newest vote, and how far the log went then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardState {
    /// The newest vote.
    pub vote: VoteGuard,
    /// The log held at least this index.
    pub last_index: u64,
    /// The log was committed at least up to here.
    pub commit: u64,
}

impl Default for GuardState {
    fn default() -> Self {
        Self { vote: VoteGuard::NONE, last_index: 0, commit: 0 }
    }
}

/// The file.
#[derive(Clone, Debug)]
pub struct GuardFile {
    slots: [Option<(u64, GuardState)>; 2],
    /// A write that is not synced yet.
    writing: Option<(u64, GuardState)>,
}

impl GuardFile {
    /// The file of a node that has never voted.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: [Some((0, GuardState::default())), None], writing: None }
    }

    /// What would be read now; `None` if neither slot is intact.
    #[must_use]
    pub fn read(&self) -> Option<GuardState> {
        self.slots.iter().flatten().max_by_key(|(sequence, _)| *sequence).map(|(_, state)| *state)
    }

    /// Starts a write.
    pub fn write(&mut self, state: GuardState) {
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
