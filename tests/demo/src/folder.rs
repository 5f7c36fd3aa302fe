//! The folder in which a story happens.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::Story;
use crate::kept::{self, MARK};
use crate::scene::private_folder;

/// Named by `DEMO_DIR`, or a new one among the temporary files; for a load test
/// below `BENCH_DIR`, or in the build folder.
pub(crate) struct StoryFolder {
    path: PathBuf,
    keep: Cell<bool>,
}

impl StoryFolder {
    pub(crate) fn make(story: &Story) -> anyhow::Result<Self> {
        let path = match story {
            Story::Hospitals | Story::Governance | Story::Traitor | Story::Consent => match set_variable("DEMO_DIR") {
                Some(path) => named(&path)?,
                None => new_below(&std::env::temp_dir(), "consilium-demo")?,
            },
            Story::Bench(_) => {
                let parent = set_variable("BENCH_DIR").map_or_else(build_folder, Ok)?;
                new_below(&parent, "consilium-bench")?
            }
        };
        fs::write(path.join(MARK), "")?;
        Ok(Self { path, keep: Cell::new(false) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The network is left running here, for `make clean-demo` to remove.
    pub(crate) fn keep(&self) -> anyhow::Result<()> {
        kept::note(&self.path)?;
        self.keep.set(true);
        Ok(())
    }

    /// After a failure.
    pub(crate) fn leave(self) {
        eprintln!("The logs and files of this run are in {}", self.path.display());
        eprintln!("Every command and its answer: {}/commands.log; nodes: */node/node.log", self.path.display());
    }

    pub(crate) fn remove_unless_kept(self) -> anyhow::Result<()> {
        if self.keep.get() {
            return Ok(());
        }
        fs::remove_dir_all(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

fn set_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn named(path: &Path) -> anyhow::Result<PathBuf> {
    private_folder(path).with_context(|| format!("DEMO_DIR={}", path.display()))?;
    let empty = fs::read_dir(path)?.next().is_none();
    anyhow::ensure!(empty, "DEMO_DIR={} is not empty; name a new folder", path.display());
    Ok(fs::canonicalize(path)?)
}

fn new_below(parent: &Path, name: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let parent = fs::canonicalize(parent)?;
    let path = parent.join(format!("{name}.{}", std::process::id()));
    anyhow::ensure!(!path.exists(), "{} is there already, from an earlier run; remove it", path.display());
    private_folder(&path)?;
    Ok(path)
}

/// target/release/consilium-demo -> target
fn build_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(2).context("the folder of the build")?.to_owned())
}
