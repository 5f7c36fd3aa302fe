//! The folder that `init` sets up: empty, but for what a file system puts at its top. A file
//! `INIT` lies there from the first step to the last, so that an `init` that was killed half-way
//! can be done again: without a `MARKER`, `run` refuses the folder, so that nothing in it has ever
//! voted. With one nothing is ever removed here.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::DataDir;
use crate::fault::Fault;
use crate::storage::StorageError;
use crate::storage::marker::MARKER_FILE;

/// Folders that file systems have at their top.
const OF_FILE_SYSTEMS: [&str; 2] = ["lost+found", ".snapshot"];
/// As many of what is in the way are named.
const NAMED_MAX: usize = 5;

/// What `init` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Nothing.
    Empty,
    /// What an earlier one had left, which was removed.
    BrokenOff,
}

/// Makes the folder ready for being set up.
///
/// # Errors
/// If it holds anything else, with names; or if the disk fails.
pub(super) fn begin(dir: &DataDir) -> Result<Begun, Fault> {
    let at = &dir.0;
    fs::create_dir_all(at).map_err(StorageError::file(at))?;
    if at.join(MARKER_FILE).exists() {
        let text = format!("{} holds a node already; `init` needs an empty folder", at.display());
        return Err(Fault::Setup(text));
    }
    let broken_off = dir.init().exists();
    let own = [dir.init(), dir.raft(), dir.ledger(), dir.guard()];
    let mut others = Vec::new();
    for entry in fs::read_dir(at).map_err(StorageError::file(at))? {
        let path = entry.map_err(StorageError::file(at))?.path();
        let in_the_way = !(is_of_the_file_system(&path) || broken_off && own.contains(&path));
        if in_the_way {
            others.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    if !others.is_empty() {
        others.sort();
        let more = if others.len() > NAMED_MAX { ", ..." } else { "" };
        others.truncate(NAMED_MAX);
        let names = others.join(", ");
        return Err(Fault::Setup(format!("{} holds {names}{more}; `init` needs an empty folder", at.display())));
    }
    File::create(dir.init()).and_then(|file| file.sync_all()).map_err(StorageError::file(dir.init()))?;
    sync(at)?;
    if !broken_off {
        return Ok(Begun::Empty);
    }
    for path in own.iter().filter(|path| **path != dir.init()) {
        remove(path)?;
    }
    sync(at)?;
    Ok(Begun::BrokenOff)
}

/// Notes that the folder is set up: its marker is written.
///
/// # Errors
/// If the disk fails.
pub(super) fn end(dir: &DataDir) -> Result<(), Fault> {
    if dir.init().exists() {
        remove(&dir.init())?;
        sync(&dir.0)?;
    }
    Ok(())
}

fn is_of_the_file_system(path: &Path) -> bool {
    path.is_dir() && OF_FILE_SYSTEMS.iter().any(|name| path.file_name() == Some(name.as_ref()))
}

fn remove(path: &Path) -> Result<(), StorageError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(StorageError::file(path)),
    }
}

fn sync(folder: &Path) -> Result<(), StorageError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StorageError::file(folder))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn dir() -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir(folder.path().join("data"));
        (folder, dir)
    }

    #[test]
    fn what_a_broken_off_init_left_is_removed() {
        let (_folder, dir) = dir();
        assert_eq!(begin(&dir).unwrap(), Begun::Empty);
        fs::create_dir_all(dir.raft().join("deep")).unwrap();
        fs::write(dir.guard(), "half").unwrap();
        assert_eq!(begin(&dir).unwrap(), Begun::BrokenOff);
        assert!(!dir.raft().exists() && !dir.guard().exists() && dir.init().exists());
        end(&dir).unwrap();
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0);
        end(&dir).unwrap();
    }

    #[test]
    fn what_may_have_voted_is_never_removed() {
        let (_folder, dir) = dir();
        begin(&dir).unwrap();
        fs::create_dir_all(dir.ledger()).unwrap();
        fs::write(dir.0.join(MARKER_FILE), "{}").unwrap();
        assert!(begin(&dir).unwrap_err().to_string().contains("holds a node already"));
        // Its end came after the marker and before the last step.
        end(&dir).unwrap();
        fs::remove_file(dir.0.join(MARKER_FILE)).unwrap();
        let refused = begin(&dir).unwrap_err().to_string();
        assert!(refused.ends_with("holds ledger; `init` needs an empty folder"), "{refused}");
        assert!(dir.ledger().exists());
    }

    #[test]
    fn folders_of_a_file_system_are_not_in_the_way_and_others_are_named() {
        let (_folder, dir) = dir();
        fs::create_dir_all(dir.0.join("lost+found")).unwrap();
        assert_eq!(begin(&dir).unwrap(), Begun::Empty);
        end(&dir).unwrap();
        for name in ["c", "a", "f", "b", "e", "d"] {
            fs::write(dir.0.join(name), "").unwrap();
        }
        let refused = begin(&dir).unwrap_err().to_string();
        assert!(refused.contains("holds a, b, c, d, e, ...; `init` needs an empty folder"), "{refused}");
        assert!(!dir.init().exists());
    }
}
