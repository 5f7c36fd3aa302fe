//! What a test changes at the machine (mounts, network namespaces) is undone, whatever becomes
//! of the test: also when its process is killed.

use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Undoes something when it is dropped, or when this process is gone.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// `undo` is for the shell, with `$1` and so on for the arguments.
    ///
    /// # Errors
    /// If there is no shell.
    pub(crate) fn new(undo: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        // In a session of its own: what ends the test does not end it.
        let mut command = Command::new("setsid");
        command.args(["--wait", "sh", "-c", &format!("cat > /dev/null; {undo}"), "sh"]).args(arguments);
        Ok(Self(command.stdin(Stdio::piped()).spawn().context("setsid")?))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing can be done about one that fails.
        let _ = self.0.wait();
    }
}

/// Runs a command that must succeed.
///
/// # Errors
/// What it said, if it does not.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    anyhow::ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
