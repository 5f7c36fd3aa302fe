//! Disks of nodes that are slow, as far as a test wants it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::preload::Preload;

/// How long the disk of one node takes.
#[derive(Debug, Clone)]
pub struct DiskPace(Preload);

impl DiskPace {
    /// A disk that is as fast as it is; what is set is kept in a folder.
    ///
    /// # Errors
    /// If there is no C compiler, or the folder cannot be written.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(Preload::new("disk", "DISK_SHIM_FILE", folder)?))
    }

    /// From now on each sync takes longer by this.
    ///
    /// # Errors
    /// If the file is gone.
    pub fn set(&self, longer: Duration) -> anyhow::Result<()> {
        self.0.set(i64::try_from(longer.as_millis())?)
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        self.0.apply(command);
    }
}
