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

use super::context::escaped;
use super::{CliError, Context};
use example::DEFAULT_EXAMPLES;
use test_run::TestView;

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
    /// Decide example requests by a text, and say where that is not what is expected. Ends with 1
    /// if anything is decided otherwise
    Test {
        /// The text; without one, the default policy
        file: Option<PathBuf>,
        /// The examples [default: those of `policy examples`]
        #[arg(long, value_name = "FILE")]
        examples: Option<PathBuf>,
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
        PolicyCommand::Test { file, examples, all } => {
            let text = file.map_or_else(|| Ok(DEFAULT_POLICY.to_owned()), |file| read(&file))?;
            let examples = match examples {
                Some(path) => example::read(&path)?,
                None => example::parse(DEFAULT_EXAMPLES).map_err(|e| CliError::failed(e.to_string()))?,
            };
            let view = TestView::of(&compile(&text)?, &examples).map_err(|e| CliError::failed(e.to_string()))?;
            ctx.print(&view, |view| view.text(all).lines().map(escaped).collect::<Vec<_>>().join("\n"))?;
            match view.differences() {
                0 => Ok(()),
                _ => Err(CliError::failed("the policy decides examples otherwise than expected")),
            }
        }
        PolicyCommand::Default => {
            print!("{DEFAULT_POLICY}");
            Ok(())
        }
        PolicyCommand::Examples => {
            print!("{DEFAULT_EXAMPLES}");
            Ok(())
        }
    }
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
