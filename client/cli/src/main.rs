//! The command line `consilium`: arguments, output, exit codes.
//!
//! Machine output goes to stdout; errors, hints and progress to stderr. Exit
//! codes: 0 done, 1 failed or verification failed, 2 wrong usage, 141 if nobody reads the output. No command
//! takes a secret as an argument, or prints one.

#![forbid(unsafe_code)]

mod access;
mod bench;
mod certs;
mod config_file;
mod confirm;
mod consent;
mod context;
mod custodian;
mod disclosure;
mod emergency;
mod governance;
mod hint;
mod identity;
mod import;
mod json;
mod keys;
mod ledger;
mod member;
mod named;
mod network;
mod node;
mod operate;
mod patient;
mod petition;
mod policy;
mod private;
mod receipt;
mod record;
mod stake;
mod text;
mod validators;
mod watch;
mod when;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use serde::Serialize;

pub(crate) use context::{CliError, ConnectionArgs, Context, Output};

use consilium_client::Submitted;

/// Records, identities and operation of a Consilium network.
#[derive(Debug, Parser)]
#[command(name = "consilium", version, max_term_width = 100, propagate_version = true)]
pub(crate) struct Cli {
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    pub(crate) output: Output,
    /// Which ledger, nodes and identity.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Submit, amend, retract, get and find records
    Record(record::RecordArgs),
    /// Find and register patients, and who speaks for them
    Patient(patient::PatientArgs),
    /// Put, revoke, list and ask consents of patients
    Consent(consent::ConsentArgs),
    /// Declare and review emergencies
    Emergency(emergency::EmergencyArgs),
    /// Who has asked to read what, and what was decided
    Access(access::AccessArgs),
    /// Ask a hospital about records and who read them, and answer
    Petition(petition::PetitionArgs),
    /// Say and confirm that records are handed on under a legal duty
    Disclosure(disclosure::DisclosureArgs),
    /// Show and name a member's custody key
    Custodian(custodian::CustodianArgs),
    /// Check access policies before anyone votes on them
    Policy(policy::PolicyArgs),
    /// Import FHIR files and folders
    Import(import::ImportArgs),
    /// Export and verify the whole ledger
    Ledger(ledger::LedgerArgs),
    /// Enrol, show and revoke identities
    Identity(identity::IdentityArgs),
    /// Fetch and verify receipts
    Receipt(receipt::ReceiptArgs),
    /// Ask what became of a transaction
    Tx(receipt::TxArgs),
    /// Follow certified blocks until interrupted
    Watch(watch::WatchArgs),
    /// Show the nodes as they see themselves, and their alarms
    Status(operate::StatusArgs),
    /// Planned operations on nodes
    Operator(operate::OperatorArgs),
    /// Run a member's certificate authority
    Certs(certs::CertsArgs),
    /// Make keys
    Keys(keys::KeysArgs),
    /// A member's part, invitations, and joining with one
    Member(member::MemberArgs),
    /// The members' common steps in founding a network
    Network(network::NetworkArgs),
    /// What the members decide together
    Governance(governance::GovernanceArgs),
    /// How a member's stake is delegated
    Stake(stake::StakeArgs),
    /// Who certifies, why, and who may not
    Validators(validators::ValidatorsArgs),
    /// Register, replace and retire a member's own nodes
    Node(node::NodeArgs),
    /// Measure throughput and latency of record submission
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// A submitted transaction, as every command shows it.
#[derive(Debug, Serialize)]
pub(crate) struct SubmittedView {
    /// Hexadecimal.
    pub(crate) transaction_id: String,
    /// Its block.
    pub(crate) height: u64,
    /// What the rules said.
    pub(crate) outcome: &'static str,
    /// Whether a verified receipt came with it.
    pub(crate) receipt_verified: bool,
}

impl SubmittedView {
    /// From an SDK answer.
    pub(crate) fn new(done: &Submitted) -> Self {
        Self {
            transaction_id: done.transaction_id.to_string(),
            height: done.height.0,
            outcome: done.outcome.as_str_name(),
            receipt_verified: done.receipt.is_some(),
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let proof = if self.receipt_verified { ", receipt verified" } else { "" };
        format!("transaction {} at height {}{proof}", self.transaction_id, self.height)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return CliError::failed(format!("cannot start: {e}")).report(),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => e.report(),
    }
}

async fn run(cli: Cli) -> Result<(), CliError> {
    let ctx = Context::new(cli.output, cli.connection);
    // One arm of it holds more than a stack frame should.
    let done = Box::pin(perform(cli.command, &ctx)).await;
    ctx.tell_of_false_answers();
    done
}

async fn perform(command: Command, ctx: &Context) -> Result<(), CliError> {
    match command {
        Command::Record(args) => record::run(args, ctx).await,
        Command::Patient(args) => Box::pin(patient::run(args, ctx)).await,
        Command::Consent(args) => consent::run(args, ctx).await,
        Command::Emergency(args) => emergency::run(args, ctx).await,
        Command::Access(args) => access::run(args, ctx).await,
        Command::Petition(args) => petition::run(args, ctx).await,
        Command::Disclosure(args) => disclosure::run(args, ctx).await,
        Command::Custodian(args) => custodian::run(args, ctx).await,
        Command::Policy(args) => policy::run(args, ctx),
        Command::Import(args) => import::run(args, ctx).await,
        Command::Ledger(args) => ledger::run(args, ctx).await,
        Command::Identity(args) => identity::run(args, ctx).await,
        Command::Receipt(args) => receipt::run(args, ctx).await,
        Command::Tx(args) => receipt::run_tx(args, ctx).await,
        Command::Watch(args) => watch::run(args, ctx).await,
        Command::Status(args) => operate::run_status(args, ctx).await,
        Command::Operator(args) => operate::run_operator(args, ctx).await,
        Command::Certs(args) => certs::run(args, ctx),
        Command::Keys(args) => keys::run(&args, ctx),
        Command::Member(args) => member::run(args, ctx).await,
        Command::Network(args) => network::run(args, ctx),
        Command::Governance(args) => governance::run(args, ctx).await,
        Command::Stake(args) => stake::run(args, ctx).await,
        Command::Validators(args) => validators::run(args, ctx).await,
        Command::Node(args) => node::run(args, ctx).await,
        Command::Bench(args) => bench::run(args, ctx).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "consilium", &mut script);
            context::write_stdout(&script)
        }
    }
}

#[cfg(test)]
mod tests;
