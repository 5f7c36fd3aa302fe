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

use std::path::PathBuf;

use clap::{Args, Subcommand};
use consilium_client::access_log::{KeptLog, verify_decision};
use consilium_client::files;
use consilium_client::receipts::RECEIPT_BYTES_MAX;
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::ids::TransactionId;
use prost::Message;

use crate::{CliError, Context, petition};
use decision::{DecidedView, ReceiptView};
pub(crate) use event::EventView;
use log::{LogArgs, LogView};

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
    /// Verify the receipt of a decision offline, against --genesis alone
    Verify {
        /// Receipt made by `access decision --receipt`
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Show the reader's name, too: opaque, as the ledger has it
        #[arg(long)]
        names: bool,
    },
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
        AccessCommand::Log(args) => {
            let client = ctx.client().await?;
            let since = args.since.clone().unwrap_or_else(|| KeptLog::nothing().into());
            let log = client.access_log(args.patient, since).await?;
            // A page is handed on.
            let log = if args.html.is_some() && !args.sealed { log.without_sealed() } else { log };
            let ledger = client.genesis().ledger_id.to_string();
            let mut view = LogView::new(&args, ledger, &log);
            let Some(path) = &args.html else { return ctx.print(&view, |view| view.text(args.names)) };
            let (petitions, now) = client.petitions(Some(args.patient)).await?;
            view.petitions = petitions.iter().map(|known| petition::view::cells(known, now, args.utc_offset)).collect();
            files::write_new(path, html::page(&view, args.names).as_bytes(), files::SECRET_MODE)?;
            ctx.print(&view, |view| format!("written to {}\n{}", path.display(), view.proof()))
        }
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
        AccessCommand::Verify { file, names } => {
            let genesis = Genesis::parse(&files::read(&ctx.genesis_path()?, GENESIS_BYTES_MAX as u64)?)?;
            let report = verify_decision(&files::read(&file, RECEIPT_BYTES_MAX)?, &genesis)?;
            ctx.print(&ReceiptView::new(&report, names), ReceiptView::text)
        }
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
