//! Wall clocks of nodes, to be set by a test.

use std::path::Path;
use std::process::Command;

use crate::preload::Preload;

/// The wall clock of one node.
#[derive(Debug, Clone)]
pub struct WallClock(Preload);

impl WallClock {
    /// A clock that is right, kept in a folder.
    ///
    /// # Errors
    /// If there is no C compiler, or the folder cannot be written.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(Preload::new("clock", "CLOCK_SHIM_FILE", folder)?))
    }

    /// Sets it so many seconds ahead of the machine's, or behind it.
    ///
    /// # Errors
    /// If the file is gone.
    pub fn set(&self, ahead_s: i64) -> anyhow::Result<()> {
        self.0.set(ahead_s)
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        self.0.apply(command);
    }
}
