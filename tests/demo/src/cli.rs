//! The shipped command line, run as a person would: in the demonstration's
//! folder, with relative paths, so that a printed line can be copied. Nothing
//! of the environment's `CONSILIUM_*` settings reaches it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use consilium_e2e::{cli_binary, eventually_async};
use serde_json::Value;

use crate::tell::Tell;

/// For the longest import on a slow machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// For a load test, which says itself how long it takes.
const LOAD_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Every command with its answer, for whoever looks for a fault.
const LOG: &str = "commands.log";

/// Runs commands in one folder.
pub(crate) struct Cli {
    program: PathBuf,
    folder: PathBuf,
    tell: Rc<Tell>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Answer {
    line: String,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command that has not ended. It is killed if it is dropped.
pub(crate) struct Running {
    line: String,
    child: Ended,
    pub(crate) out: PathBuf,
    err: PathBuf,
    log: PathBuf,
}

impl Cli {
    pub(crate) fn new(folder: &Path, tell: Rc<Tell>) -> anyhow::Result<Self> {
        Ok(Self { program: cli_binary()?, folder: folder.to_owned(), tell })
    }

    /// Prints the line and the answer.
    pub(crate) async fn show(&self, line: &str) -> anyhow::Result<Answer> {
        let answer = self.ask(line).await?;
        self.tell.quote(&answer.out);
        Ok(answer)
    }

    /// Prints the line; the caller shows of the answer what matters.
    pub(crate) async fn ask(&self, line: &str) -> anyhow::Result<Answer> {
        self.start(line)?.end().await?.good()
    }

    /// Prints nothing: a line that was shown for another member.
    pub(crate) async fn quietly(&self, line: &str) -> anyhow::Result<Answer> {
        self.spawn(line)?.end().await?.good()
    }

    /// Prints the line and the objection; an agreement is an error.
    pub(crate) async fn refused(&self, line: &str, why_wrong: &str) -> anyhow::Result<()> {
        let answer = self.start(line)?.end().await?;
        anyhow::ensure!(answer.code.is_some_and(|code| code != 0), "{why_wrong}");
        self.tell.quote_lines(answer.err.lines().next());
        Ok(())
    }

    /// One of the above.
    pub(crate) async fn ask_if(&self, shown: bool, line: &str) -> anyhow::Result<Answer> {
        if shown { self.ask(line).await } else { self.quietly(line).await }
    }

    /// Either answer is good. Prints nothing.
    pub(crate) async fn try_quietly(&self, line: &str) -> anyhow::Result<Answer> {
        self.spawn(line)?.end().await
    }

    /// Prints the line and lets it run.
    pub(crate) fn start(&self, line: &str) -> anyhow::Result<Running> {
        self.tell.command(&format!("consilium {line}"));
        self.spawn(line)
    }

    /// Prints the line; the command talks to the terminal itself.
    pub(crate) async fn hand_over(&self, line: &str, more: &[String]) -> anyhow::Result<()> {
        self.tell.command(&format!("consilium {line} {}", more.join(" ")));
        let mut command = self.command(line, more);
        let mut child = Ended(command.stdin(Stdio::null()).spawn()?);
        let status = wait(&mut child.0, line, LOAD_TIMEOUT).await?;
        anyhow::ensure!(status.success(), "`consilium {line}` ended with {status}");
        Ok(())
    }

    fn command(&self, line: &str, more: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).args(words(line)).args(more);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CONSILIUM_") {
                command.env_remove(name);
            }
        }
        command
    }

    fn spawn(&self, line: &str) -> anyhow::Result<Running> {
        let scratch = self.folder.join("commands");
        fs::create_dir_all(&scratch)?;
        let number = (0..).find(|n| !scratch.join(format!("{n}.out")).exists()).context("a free number")?;
        let (out, err) = (scratch.join(format!("{number}.out")), scratch.join(format!("{number}.err")));
        let mut command = self.command(line, &[]);
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let child = Ended(command.spawn().with_context(|| self.program.display().to_string())?);
        Ok(Running { line: line.to_owned(), child, out, err, log: self.folder.join(LOG) })
    }
}

impl Running {
    pub(crate) fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.0.try_wait()?.is_none())
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> anyhow::Result<Answer> {
        let status = wait(&mut self.child.0, &self.line, COMMAND_TIMEOUT).await?;
        let text = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (out, err) = (text(&self.out)?, text(&self.err)?);
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "$ consilium {}\n{out}{err}", self.line)?;
        Ok(Answer { line: std::mem::take(&mut self.line), code: status.code(), out, err })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing can be done about a file that is gone already.
        let _ = fs::remove_file(&self.out);
        let _ = fs::remove_file(&self.err);
    }
}

/// A child that does not outlive its parent's interest.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Answer {
    /// This answer, if the command did what it was asked for.
    pub(crate) fn good(self) -> anyhow::Result<Self> {
        let Self { line, code, out, err } = &self;
        anyhow::ensure!(*code == Some(0), "`consilium {line}` failed (exit code {code:?}):\n{out}{err}");
        Ok(self)
    }

    /// The values under a name, wherever it is in its JSON documents, one a line.
    pub(crate) fn values(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for line in self.out.lines() {
            let document = serde_json::from_str(line);
            collect(
                &document.with_context(|| format!("no JSON from `consilium {}`: {line}", self.line))?,
                name,
                &mut found,
            );
        }
        Ok(found)
    }

    /// The first of these values.
    pub(crate) fn text(&self, name: &str) -> anyhow::Result<String> {
        let first = self.values(name)?.into_iter().next();
        first.with_context(|| format!("no {name} in the answer to `consilium {}`: {}", self.line, self.out))
    }

    /// The same as a number.
    pub(crate) fn number(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("{name} is {text}"))
    }
}

/// Texts and numbers under a name, also in what lies below.
fn collect(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            match fields.get(name) {
                Some(Value::String(text)) => found.push(text.clone()),
                Some(Value::Number(number)) => found.push(number.to_string()),
                Some(Value::Object(_) | Value::Array(_) | Value::Null | Value::Bool(_)) | None => {}
            }
            fields.values().for_each(|below| collect(below, name, found));
        }
        Value::Array(values) => values.iter().for_each(|below| collect(below, name, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn wait(child: &mut Child, line: &str, timeout: Duration) -> anyhow::Result<ExitStatus> {
    eventually_async(&format!("end of `consilium {line}`"), timeout, || {
        std::future::ready(match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it still runs".to_owned()),
            Err(e) => Err(e.to_string()),
        })
    })
    .await
}

/// A line as a shell would divide it: at spaces outside of double quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_line_is_divided_at_spaces_outside_of_quotes() {
        assert_eq!(
            words("member part  --name \"St Mary\" --stake 5"),
            ["member", "part", "--name", "St Mary", "--stake", "5"]
        );
    }
}
