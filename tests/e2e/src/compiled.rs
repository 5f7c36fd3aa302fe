//! What Rust without `unsafe` cannot say to the kernel: C programs of a few lines, built when
//! a test needs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use anyhow::Context;
use consilium_proto::hash::sha256;

/// Builds a C source of this folder, beside this program, if nobody has done so yet.
///
/// # Errors
/// If there is no C compiler, or it refuses.
pub(crate) fn build(source: &str, arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).join(source);
    let version = hex::encode(&sha256(&[&fs::read(&source)?])[..8]);
    let name = source.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
    let program = env::current_exe()?.with_file_name(format!("{name}-{version}"));
    if program.exists() {
        return Ok(program);
    }
    // Other processes may do the same: whoever is done first or last, it is whole.
    let own = program.with_extension(process::id().to_string());
    let mut clang = Command::new("clang");
    let built = clang.args(arguments).args(["-O1", "-o"]).arg(&own).arg(source).output();
    let built = built.context("clang: deploy/setup.sh installs it")?;
    anyhow::ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fs::rename(&own, &program)?;
    Ok(program)
}
