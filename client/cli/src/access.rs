//! `consilium access`: who has asked to read a patient's records, what for, and what was decided;
//! with proof that no entry was left out, changed or swapped. Shown are member, role and purpose;
//! the name of a reader only where it is asked for.

mod accounting;
mod changes;
mod decision;
mod event;
mod export;
mod feed;
mod holders;
mod html;
mod late;
mod linked;
mod log;
mod qr;
mod readers;
mod requests;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use consilium_client::access_log::verify_decision;
use consilium_client::files;
use consilium_proto::ids::TransactionId;
use prost::Message;

use crate::{CliError, Context};
use decision::{DecidedView, ReceiptView};
pub(crate) use event::EventView;
use log::LogArgs;
pub(crate) use log::written;

/// Who has read what
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: AccessCommand,
}

/// Who has asked to read a patient's records, for auditors, and for the patient and those who
/// speak for it; and what has changed since, for who has read it.
#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// The list of accesses to a patient's records, proven to be whole
    Log(LogArgs),
    /// What was decided of one request (also for who made it, if all of it was permitted)
    Decision {
        /// The transaction of the request
        #[arg(value_name = "TRANSACTION")]
        transaction: TransactionId,
        /// Show the reader's name, too: opaque, as the ledger has it
        #[arg(long)]
        names: bool,
        /// Write a receipt of the decision, which `access verify` and others verify offline; an
        /// existing file is left alone. It names the reader and the records
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
    },
    /// Verify the receipt of a decision, or the file of a whole list, offline, against --genesis alone
    Verify(verify::VerifyArgs),
    /// Write the list as FHIR R4 AuditEvents (IHE BALP) into a file
    Export(export::ExportArgs),
    /// To whom a member has given a patient's records: HIPAA's accounting of disclosures
    Accounting(accounting::AccountingArgs),
    /// What people of the own member have asked for, and which of it somebody should look at
    Feed(feed::FeedArgs),
    /// Whose keys open a patient's records
    Holders(holders::HoldersArgs),
    /// Who has read a record, to be told that it was amended or entered in error
    FormerReaders(readers::FormerReadersArgs),
    /// A reading without a quorum that may be in no list: shows it, and enters it
    Late(late::LateArgs),
    /// What has changed since this identity has read it (for services: or others of their hospital)
    Changes(changes::ChangesArgs),
    /// The same, as it happens
    Watch(changes::WatchArgs),
}

/// Runs `consilium access`.
pub(crate) async fn run(args: AccessArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        AccessCommand::Log(args) if args.linked => linked::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Log(args) => log::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Decision { transaction, names, receipt: None } => {
            let view = DecidedView::new(&ctx.client().await?.decision(transaction).await?, names);
            ctx.print(&view, DecidedView::text)
        }
        AccessCommand::Decision { transaction, names, receipt: Some(file) } => {
            let client = ctx.client().await?;
            let receipt = client.decision_receipt(transaction).await?.encode_to_vec();
            let report = verify_decision(&receipt, client.genesis())?;
            files::write_new(&file, &receipt, files::SECRET_MODE)?;
            ctx.print(&ReceiptView::new(&report, names), ReceiptView::text)
        }
        AccessCommand::Verify(args) => verify::run(&args, ctx),
        AccessCommand::Export(args) => export::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Accounting(args) => accounting::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Feed(args) => feed::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Holders(args) => holders::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::FormerReaders(args) => readers::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Late(args) => late::run(args, ctx).await,
        AccessCommand::Changes(args) => changes::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Watch(args) => changes::watch(&ctx.client().await?, &args, ctx).await,
    }
}

#[cfg(test)]
pub(crate) mod tests;
