//! `consilium policy`: access policies, looked at before anyone votes on them. Nothing of it asks a
//! node.

mod example;
mod test_run;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use consilium_client::files;
use consilium_policy::{DEFAULT_POLICY, ENGINE_VERSION, Policies, PolicyProblem};
use consilium_proto::limits::POLICY_BYTES_MAX;
use serde::Serialize;

use super::context::{escaped, write_stdout};
use super::{CliError, Context};
use example::DEFAULT_EXAMPLES;
use test_run::{Expectations, TestView};

/// Access policies: checked here, proposed with `consilium governance propose access-policy`
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

/// What to do with access policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Say whether a text can be brought into force, and if not, why
    Check {
        /// The text
        file: PathBuf,
    },
    /// Decide example requests by a text, and say where that is not what is expected: what the
    /// default policy decides, whichever one is in force, unless --against or --examples says
    /// otherwise. Ends with 1 if anything is decided otherwise
    Test {
        /// The text; without one, the default policy
        file: Option<PathBuf>,
        /// The examples [default: those of `policy examples`]
        #[arg(long, value_name = "FILE")]
        examples: Option<PathBuf>,
        /// Expect what this text decides of the examples, as the one in force (`governance rules
        /// --policy`)
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Show what is decided as expected, too
        #[arg(long)]
        all: bool,
    },
    /// Print the policy of a network that has not decided on another one
    Default,
    /// Print the examples that the default policy decides as expected
    Examples,
}

/// A policy that can be brought into force.
#[derive(Serialize)]
struct CheckedView {
    /// Bytes.
    bytes: usize,
    /// What decides.
    engine: &'static str,
}

/// Runs `consilium policy`.
pub(crate) fn run(args: PolicyArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        PolicyCommand::Check { file } => {
            let text = read(&file)?;
            compile(&text)?;
            let view = CheckedView { bytes: text.len(), engine: ENGINE_VERSION };
            ctx.print(&view, |view| format!("a policy of {} bytes, as {} reads it", view.bytes, view.engine))
        }
        PolicyCommand::Test { file, examples, against, all } => {
            let text = file.map_or_else(|| Ok(DEFAULT_POLICY.to_owned()), |file| read(&file))?;
            let view = tested(&compile(&text)?, examples.as_deref(), against.as_deref())?;
            ctx.print(&view, |view| view.text(all).lines().map(escaped).collect::<Vec<_>>().join("\n"))?;
            match view.differences() {
                0 => Ok(()),
                _ => Err(CliError::failed("the policy decides examples otherwise than expected")),
            }
        }
        PolicyCommand::Default => write_stdout(DEFAULT_POLICY.as_bytes()),
        PolicyCommand::Examples => write_stdout(DEFAULT_EXAMPLES.as_bytes()),
    }
}

/// What a policy decides of examples, those of a file or the default ones, and how that was expected.
fn tested(policies: &Policies, examples: Option<&Path>, against: Option<&Path>) -> Result<TestView, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::failed(error.to_string());
    let expected_by = Expectations::of(examples, against);
    let mut examples = match examples {
        Some(path) => example::read(path)?,
        None => example::parse(DEFAULT_EXAMPLES).map_err(|e| failed(&e))?,
    };
    if let Some(other) = against {
        let other = compile(&read(other)?)?;
        examples.iter_mut().try_for_each(|example| example.expect_as(&other)).map_err(|e| failed(&e))?;
    }
    TestView::of(policies, &examples, expected_by).map_err(|e| failed(&e))
}

fn read(file: &Path) -> Result<String, CliError> {
    let text = files::read(file, POLICY_BYTES_MAX as u64)?;
    String::from_utf8(text).map_err(|_| CliError::failed("the policy is not UTF-8"))
}

fn compile(text: &str) -> Result<Policies, CliError> {
    Policies::compile(text).map_err(|problem: PolicyProblem| CliError::failed(problem.to_string()))
}

#[cfg(test)]
mod tests;
