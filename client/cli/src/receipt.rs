//! `consilium receipt` and `consilium tx`: what became of a transaction, and
//! the proof of it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::ids::TransactionId;
use consilium_proto::pb;
use consilium_proto::receipt::Receipt;
use prost::Message;
use serde::Serialize;

use super::text::time_ms;
use super::{CliError, Context};
use consilium_client::ClientError;
use consilium_client::files::{self, PUBLIC_MODE};
use consilium_client::receipts::{self, RECEIPT_BYTES_MAX, ReceiptReport, TransactionFate};

/// Receipts.
#[derive(Debug, Args)]
pub(crate) struct ReceiptArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ReceiptCommand,
}

/// Receipts.
#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Fetch and verify the receipt of a transaction
    Get {
        /// Transaction id, hexadecimal
        transaction_id: TransactionId,
        /// New file for the receipt, protobuf
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Folder for one COSE receipt (RFC 9942) per validator
        #[arg(long, value_name = "DIR")]
        cose: Option<PathBuf>,
    },
    /// Verify a receipt offline, against --genesis alone
    Verify {
        /// Receipt made by `receipt get --out`
        file: PathBuf,
    },
}

/// Transactions.
#[derive(Debug, Args)]
pub(crate) struct TxArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: TxCommand,
}

/// Transactions.
#[derive(Debug, Subcommand)]
pub(crate) enum TxCommand {
    /// Show what became of a transaction
    Status {
        /// Transaction id, hexadecimal
        transaction_id: TransactionId,
        /// End of its validity, milliseconds since 1970: without it an unknown
        /// transaction counts as pending
        #[arg(long, value_name = "MS")]
        valid_until: Option<u64>,
    },
}

#[derive(Serialize)]
struct StatusView {
    transaction_id: String,
    status: &'static str,
    #[serde(flatten)]
    receipt: Option<CertifiedView>,
}

#[derive(Serialize)]
struct CertifiedView {
    height: u64,
    outcome: &'static str,
}

/// Runs `consilium receipt`.
pub(crate) async fn run(args: ReceiptArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        ReceiptCommand::Get { transaction_id, out, cose } => {
            let client = ctx.client().await?;
            let receipt = client.receipt(transaction_id).await?;
            if let Some(out) = &out {
                files::write_new(out, &pb::Receipt::from(&receipt).encode_to_vec(), PUBLIC_MODE)?;
            }
            if let Some(dir) = &cose {
                write_cose(&receipt, client.genesis(), dir)?;
            }
            ctx.print(&receipts::report(&receipt, client.genesis())?, describe)
        }
        ReceiptCommand::Verify { file } => {
            let document = files::read(&ctx.genesis_path()?, GENESIS_BYTES_MAX as u64)?;
            let genesis = Genesis::parse(&document)?;
            let (_, report) = receipts::verify_receipt(&files::read(&file, RECEIPT_BYTES_MAX)?, &genesis)?;
            ctx.print(&report, describe)
        }
    }
}

/// Runs `consilium tx`.
pub(crate) async fn run_tx(args: TxArgs, ctx: &Context) -> Result<(), CliError> {
    let TxCommand::Status { transaction_id, valid_until } = args.command;
    let fate = ctx.client().await?.transaction_fate(transaction_id, valid_until).await?;
    let (status, receipt) = match fate {
        TransactionFate::Certified(receipt) => ("certified", Some(receipt)),
        TransactionFate::Pending => ("pending", None),
        TransactionFate::Expired => ("expired", None),
    };
    let receipt = receipt.map(|r| CertifiedView { height: r.leaf.height.0, outcome: r.leaf.outcome.as_str_name() });
    let view = StatusView { transaction_id: transaction_id.to_string(), status, receipt };
    ctx.print(&view, |v| match (&v.receipt, v.status) {
        (Some(r), _) => format!("certified at height {}: {} (proven by its receipt)", r.height, r.outcome),
        (None, "expired") => "expired: not on the ledger, and can never be".to_owned(),
        (None, _) => "pending: may still execute".to_owned(),
    })
}

/// For a receipt that holds its changes of the validators.
fn write_cose(receipt: &Receipt, genesis: &Genesis, dir: &Path) -> Result<(), ClientError> {
    std::fs::create_dir_all(dir).map_err(|e| ClientError::file(dir, e))?;
    let founders = genesis.validators()?;
    let set = receipt.set_changes.last().map_or(&founders, |change| &change.next);
    for (id, cose) in receipt.cose_receipts(set) {
        files::write_new(&dir.join(format!("validator-{id}.cose")), &cose, PUBLIC_MODE)?;
    }
    Ok(())
}

fn describe(report: &ReceiptReport) -> String {
    let mut text = format!(
        "verified\ntransaction {}\nof the author with key {}\non ledger {}\nat height {}, outcome {}\ncertified by the head at height {}, block time {}\n\
         signed by {} of {} voting power:\n",
        report.transaction_id,
        report.author.as_deref().unwrap_or("(not shown)"),
        report.ledger_id,
        report.height,
        report.outcome,
        report.certified_height,
        time_ms(report.by_time_ms),
        report.signed_power,
        report.total_power,
    );
    for signer in &report.signers {
        let node = signer.spiffe_id.clone().unwrap_or_else(|| format!("node {}, which joined later", signer.raft_id));
        text += &format!("  {node} (power {})\n", signer.power);
    }
    text
}

#[cfg(test)]
mod tests;
