//! Wall clocks of nodes, to be set by a test: a shim of a few lines that is preloaded.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::compiled;

/// The wall clock of one node.
#[derive(Debug, Clone)]
pub struct WallClock {
    shim: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// A clock that is right, kept in a folder.
    ///
    /// # Errors
    /// If there is no C compiler, or the folder cannot be written.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("clock");
        std::fs::write(&file, 0_i64.to_ne_bytes())?;
        Ok(Self { shim: shim()?, file })
    }

    /// Sets it so many seconds ahead of the machine's, or behind it.
    ///
    /// # Errors
    /// If the file is gone.
    pub fn set(&self, ahead_s: i64) -> anyhow::Result<()> {
        // In place: the node has it mapped.
        let file = OpenOptions::new().write(true).open(&self.file)?;
        Ok(file.write_all_at(&ahead_s.to_ne_bytes(), 0)?)
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.shim).env("CLOCK_SHIM_FILE", &self.file);
    }
}

/// The shim, built once by each test process.
fn shim() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built =
        BUILT.get_or_init(|| compiled::build("clock_shim.c", &["-shared", "-fPIC"]).map_err(|e| format!("{e:#}")));
    built.clone().map_err(anyhow::Error::msg)
}
