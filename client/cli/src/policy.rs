//! `consilium policy`: access policies, looked at before anyone votes on them. Nothing of it asks a
//! node.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use consilium_client::files;
use consilium_policy::{DEFAULT_POLICY, ENGINE_VERSION, PolicyProblem, check};
use consilium_proto::limits::POLICY_BYTES_MAX;
use serde::Serialize;

use super::{CliError, Context};

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
    /// Print the policy of a network that has not decided on another one
    Default,
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
            let text = files::read(&file, POLICY_BYTES_MAX as u64)?;
            let text = String::from_utf8(text).map_err(|_| CliError::failed("the policy is not UTF-8"))?;
            check(&text).map_err(|problem: PolicyProblem| CliError::failed(problem.to_string()))?;
            let view = CheckedView { bytes: text.len(), engine: ENGINE_VERSION };
            ctx.print(&view, |view| format!("a policy of {} bytes, as {} reads it", view.bytes, view.engine))
        }
        PolicyCommand::Default => {
            print!("{DEFAULT_POLICY}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn scripts_get_what_was_checked() {
        json::snapshot::check("policy-checked", &CheckedView { bytes: DEFAULT_POLICY.len(), engine: ENGINE_VERSION });
        assert_eq!(check(DEFAULT_POLICY), Ok(()));
    }
}
