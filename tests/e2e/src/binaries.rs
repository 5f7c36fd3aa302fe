//! Where the shipped binaries and the shared material are.

use std::path::PathBuf;

use anyhow::Context;

/// The node's binary: `CONSILIUM_E2E_NODE`, or of the same build as this program.
///
/// # Errors
/// If it has not been built.
pub fn node_binary() -> anyhow::Result<PathBuf> {
    find("CONSILIUM_E2E_NODE", "consilium-node")
}

/// The command line's binary: `CONSILIUM_E2E_CLI`, or of the same build as this program.
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
    // target/PROFILE/deps/suite-HASH, or target/PROFILE/consilium-demo -> target/PROFILE/NAME
    let own = std::env::current_exe().context("own executable")?;
    let above = own.ancestors().skip(1).find(|folder| folder.file_name().is_none_or(|name| name != "deps"));
    let path = above.context("folder of the own executable")?.join(name);
    anyhow::ensure!(
        path.is_file(),
        "{} is missing: the harness runs the shipped binaries. Build them with `make build` or set {variable}",
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
