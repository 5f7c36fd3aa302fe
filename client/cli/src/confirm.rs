//! Asking before something is signed that cannot be taken back.
//!
//! What it does is shown on stderr first. On a terminal a person answers;
//! elsewhere `--yes` must have been given: a script that was not meant to
//! decide must not decide by accident.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::CliError;
use super::context::escaped;

/// Whether to ask.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Consent {
    /// Do not ask; needed where nobody can answer
    #[arg(long)]
    pub(crate) yes: bool,
}

impl Consent {
    /// Shows what is about to happen and asks for agreement.
    pub(crate) fn ask(self, about: &str, question: &str) -> Result<(), CliError> {
        let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
        let interactive = stdin.is_terminal() && stderr.is_terminal();
        self.decide(about, question, interactive, &mut stdin.lock(), &mut stderr)
    }

    fn decide(
        self,
        about: &str,
        question: &str,
        interactive: bool,
        answers: &mut dyn BufRead,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let failed = |e: std::io::Error| CliError::failed(format!("terminal: {e}"));
        for line in about.lines() {
            writeln!(out, "{}", escaped(line)).map_err(failed)?;
        }
        if self.yes {
            return Ok(());
        }
        if !interactive {
            return Err(CliError::usage("nobody is there to agree").hint("read the above, then pass --yes"));
        }
        write!(out, "\n{question} Type yes: ").and_then(|()| out.flush()).map_err(failed)?;
        let mut answer = String::new();
        answers.read_line(&mut answer).map_err(failed)?;
        match answer.trim() {
            "yes" => Ok(()),
            _ => Err(CliError::failed("not agreed; nothing was signed")),
        }
    }
}

#[cfg(test)]
mod tests;
