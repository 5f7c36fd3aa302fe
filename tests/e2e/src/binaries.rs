//! Where the shipped binaries and the shared material are.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// The node's binary: `CONSILIUM_E2E_NODE`, or beside this test's own folder.
///
/// # Errors
/// If it has not been built.
pub fn node_binary() -> anyhow::Result<PathBuf> {
    find("CONSILIUM_E2E_NODE", "consilium-node")
}

/// The command line's binary: `CONSILIUM_E2E_CLI`, or beside this test's own folder.
///
/// # Errors
/// If it has not been built.
pub fn cli_binary() -> anyhow::Result<PathBuf> {
    find("CONSILIUM_E2E_CLI", "consilium")
}

fn find(variable: &str, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        anyhow::ensure!(path.is_file(), "{variable} names {}, which is not a file", path.display());
        return Ok(path);
    }
    // target/PROFILE/deps/suite-HASH -> target/PROFILE/NAME
    let own = std::env::current_exe().context("own executable")?;
    let folder = own.parent().and_then(Path::parent).context("folder of the own executable")?;
    let path = folder.join(name);
    anyhow::ensure!(
        path.is_file(),
        "{} is missing: process tests run the shipped binaries. Build them with `cargo build --release --workspace` \
         or set {variable}",
        path.display()
    );
    Ok(path)
}

/// A folder of the shared material, if it is there. Otherwise says on stderr
/// that the test is skipped.
#[must_use]
pub fn shared_folder(below: &str) -> Option<PathBuf> {
    let base = std::env::var_os("CONSILIUM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let path = base.join(below);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: vectors absent at {}", path.display());
    None
}
