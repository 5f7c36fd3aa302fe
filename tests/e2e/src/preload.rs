//! A number that a test sets and a running node sees at once, by a shim of a few lines in C
//! that is preloaded into it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

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
        Ok(Self { shim: shim(name)?, file, variable })
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

/// A shim, built once by each test process.
fn shim(name: &'static str) -> anyhow::Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shim) = built.get(name) {
        return Ok(shim.clone());
    }
    let shim = build(name)?;
    built.insert(name, shim.clone());
    Ok(shim)
}

fn build(name: &str) -> anyhow::Result<PathBuf> {
    let source = format!("{}/src/{name}_shim.c", env!("CARGO_MANIFEST_DIR"));
    let shim = std::env::temp_dir().join(format!("consilium-{name}-shim-{}.so", std::process::id()));
    let mut clang = Command::new("clang");
    let built = clang.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).output();
    let built = built.context("clang: deploy/setup.sh installs it")?;
    anyhow::ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(shim)
}
