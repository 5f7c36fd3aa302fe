//! A number that a test sets and a running node sees at once, by a shim of a few lines in C
//! that is preloaded into it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compiled;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Preload {
    shim: PathBuf,
    file: PathBuf,
    variable: &'static str,
}

impl Preload {
    /// The number of the shim with a name, zero at first, kept in a folder. The shim is
    /// `src/<name>_shim.c`, and reads the file that `variable` names.
    ///
    /// # Errors
    /// If there is no C compiler, or the folder cannot be written.
    pub(crate) fn new(name: &'static str, variable: &'static str, folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(name);
        std::fs::write(&file, 0_i64.to_ne_bytes())?;
        let shim = compiled::build(&format!("{name}_shim.c"), &["-shared", "-fPIC"])?;
        Ok(Self { shim, file, variable })
    }

    /// Sets it.
    ///
    /// # Errors
    /// If the file is gone.
    pub(crate) fn set(&self, number: i64) -> anyhow::Result<()> {
        // In place: the node has it mapped.
        let file = OpenOptions::new().write(true).open(&self.file)?;
        Ok(file.write_all_at(&number.to_ne_bytes(), 0)?)
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        let before = command.get_envs().find(|(name, _)| *name == "LD_PRELOAD").and_then(|(_, value)| value);
        let mut shims = before.map(std::ffi::OsStr::to_os_string).unwrap_or_default();
        if !shims.is_empty() {
            shims.push(":");
        }
        shims.push(&self.shim);
        command.env("LD_PRELOAD", shims).env(self.variable, &self.file);
    }
}
