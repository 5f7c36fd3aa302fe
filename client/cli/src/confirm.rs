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
mod tests {
    use super::*;

    fn decide(yes: bool, interactive: bool, answer: &str) -> (Result<(), CliError>, String) {
        let mut out = Vec::new();
        let consent = Consent { yes };
        let result = consent.decide("ends\u{1b}[2J all", "Sign?", interactive, &mut answer.as_bytes(), &mut out);
        (result, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn a_person_must_say_yes_in_full() {
        let (result, shown) = decide(false, true, "yes\n");
        assert_eq!(result, Ok(()));
        assert_eq!(shown, "ends\\u{1b}[2J all\n\nSign? Type yes: ");
        for answer in ["", "y\n", "YES\n", "no\n"] {
            assert!(decide(false, true, answer).0.is_err(), "{answer:?}");
        }
    }

    #[test]
    fn where_nobody_answers_only_the_flag_agrees() {
        let (result, shown) = decide(false, false, "yes\n");
        assert_eq!(result, Err(CliError::usage("nobody is there to agree").hint("read the above, then pass --yes")));
        assert!(shown.starts_with("ends"), "what it does is shown all the same: {shown}");
        assert_eq!(decide(true, false, "").0, Ok(()));
        assert_eq!(decide(true, true, "").1, "ends\\u{1b}[2J all\n");
    }
}
