//! A network that was left running: remembered, described, and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use consilium_e2e::eventually;

/// In every folder of a demonstration: nothing else is ever removed.
pub(crate) const MARK: &str = ".consilium-demo";
/// Beside a node's files while it runs on its own.
const PID: &str = "node/pid";
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// The file that names the folder of the network that runs.
fn note_file() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("consilium-demo"))
}

pub(crate) fn note(folder: &Path) -> anyhow::Result<()> {
    let file = note_file()?;
    fs::create_dir_all(file.parent().context("a file has a folder")?)?;
    Ok(fs::write(file, format!("{}\n", folder.display()))?)
}

/// The folder of the network that runs, if one was left.
pub(crate) fn noted() -> anyhow::Result<Option<PathBuf>> {
    let Ok(text) = fs::read_to_string(note_file()?) else { return Ok(None) };
    let folder = PathBuf::from(text.trim_end());
    Ok(Some(folder).filter(|folder| folder.join(MARK).is_file()))
}

/// Remembers a node's process.
pub(crate) fn note_node(home: &Path, pid: u32) -> anyhow::Result<()> {
    Ok(fs::write(home.join(PID), format!("{pid}\n"))?)
}

/// Stops and removes the network that was left running.
pub(crate) fn clean() -> anyhow::Result<()> {
    match noted()? {
        Some(folder) => {
            for home in fs::read_dir(&folder)?.flatten() {
                end_node(&folder, &home.path().join(PID))?;
            }
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            println!("stopped, and removed {}", folder.display());
        }
        None => println!("no demo network was left running"),
    }
    match fs::remove_file(note_file()?) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Ends a node by its pid file, if that process still is a node of this folder.
fn end_node(folder: &Path, file: &Path) -> anyhow::Result<()> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(()) };
    let Ok(pid) = text.trim_end().parse::<u32>() else { return Ok(()) };
    if !is_node_of(folder, pid) {
        return Ok(());
    }
    signal("-TERM", pid)?;
    let gone = || if is_node_of(folder, pid) { Err("it still runs") } else { Ok(()) };
    if eventually(&format!("end of process {pid}"), STOP_TIMEOUT, gone).is_err() {
        signal("-KILL", pid)?;
        eventually(&format!("end of process {pid}"), STOP_TIMEOUT, gone)?;
    }
    Ok(())
}

/// Process ids are used again: the command line tells.
fn is_node_of(folder: &Path, pid: u32) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    command.contains(&format!("consilium-node run --config {}/", folder.display()))
}

fn signal(signal: &str, pid: u32) -> anyhow::Result<()> {
    // It may have ended meanwhile; whether it has is looked at anyway.
    Command::new("kill").args([signal, &pid.to_string()]).output().context("cannot run kill")?;
    Ok(())
}
