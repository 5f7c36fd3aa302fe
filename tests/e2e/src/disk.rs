//! Looking at, copying and damaging the files of a stopped node.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// All files below a folder, in a fixed order. What vanishes while it is
/// listed (a running database compacts) is left out.
///
/// # Errors
/// If the folder itself cannot be read.
pub fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file below a folder holds these bytes; names it.
///
/// # Errors
/// If the folder cannot be read.
pub fn holds(folder: &Path, needle: &[u8]) -> anyhow::Result<Option<PathBuf>> {
    anyhow::ensure!(!needle.is_empty(), "nothing to search for");
    for path in files_below(folder)? {
        let bytes = fs::read(&path).unwrap_or_default();
        if bytes.windows(needle.len()).any(|window| window == needle) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Copies a folder with everything below it.
///
/// # Errors
/// If a file cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    for path in files_below(from)? {
        let target = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file has a folder")?)?;
        fs::copy(&path, &target).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Inverts one bit of each occurrence of `needle` in the files below a folder;
/// answers with the files that were damaged.
///
/// # Errors
/// If a file cannot be read or written.
pub fn flip_bits(folder: &Path, needle: &[u8]) -> anyhow::Result<Vec<PathBuf>> {
    let mut damaged = Vec::new();
    for path in files_below(folder)? {
        let mut bytes = fs::read(&path)?;
        let places: Vec<usize> =
            bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle).map(|(i, _)| i).collect();
        if places.is_empty() {
            continue;
        }
        for place in places {
            bytes[place + needle.len() / 2] ^= 1;
        }
        fs::write(&path, bytes)?;
        damaged.push(path);
    }
    Ok(damaged)
}
