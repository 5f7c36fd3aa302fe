//! `consilium access verify`: what a file proves, offline, with the genesis document alone: a
//! decision, a list of accesses, or which records a patient has.

use std::path::PathBuf;

use clap::Args;
use consilium_client::files;
use consilium_client::list_proofs::{Certified, LIST_PROOF_BYTES_MAX, VerifiedFile, verify_file};
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use serde::Serialize;

use super::decision::ReceiptView;
use super::log::LogView;
use crate::patient::RecordsView;
use crate::text::Zone;
use crate::{CliError, Context};

/// Arguments of `access verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Made by `access decision --receipt`, `access log --proof` or `patient records --proof`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show readers' names, too: opaque, as the ledger has them
    #[arg(long)]
    names: bool,
    /// Hours and minutes that times of a list are ahead of UTC, such as +01:00
    #[arg(long, value_name = "OFFSET", default_value_t, allow_hyphen_values = true)]
    utc_offset: Zone,
}

/// A whole list, and who says that it is.
#[derive(Serialize)]
pub(super) struct VerifiedView<T> {
    /// Which list: `access_log` or `record_lists`.
    pub(super) proves: &'static str,
    #[serde(flatten)]
    pub(super) list: T,
    pub(super) certified: CertifiedView,
}

/// The certified header that makes the list's block final.
#[derive(Serialize)]
pub(super) struct CertifiedView {
    pub(super) height: u64,
    pub(super) signed_power: u64,
    pub(super) total_power: u64,
}

pub(super) fn run(args: &VerifyArgs, ctx: &Context) -> Result<(), CliError> {
    let genesis = Genesis::parse(&files::read(&ctx.genesis_path()?, GENESIS_BYTES_MAX as u64)?)?;
    let ledger = genesis.ledger_id.to_string();
    match verify_file(&files::read(&args.file, LIST_PROOF_BYTES_MAX)?, &genesis)? {
        VerifiedFile::Decision(report) => ctx.print(&ReceiptView::new(&report, args.names), ReceiptView::text),
        VerifiedFile::Log(report) => {
            let log = LogView::new(&report.log, ledger, args.names, args.utc_offset);
            let view = VerifiedView::new("access_log", log, &report.certified);
            ctx.print(&view, |view| {
                let list = format!("{}{}", view.list.text(args.names), withheld(report.log.sealed.len()));
                view.text(&list, &view.list.ledger, view.list.at_height)
            })
        }
        VerifiedFile::Lists(report) => {
            let lists = RecordsView::new(&report.lists, ledger, report.kind);
            let view = VerifiedView::new("record_lists", lists, &report.certified);
            ctx.print(&view, |view| view.text(&view.list.text(), &view.list.ledger, view.list.at_height))
        }
    }
}

/// Whoever has a file can leave hashes in place of entries, and the tree stays what it is.
pub(super) fn withheld(entries: usize) -> String {
    match entries {
        0 => String::new(),
        _ => format!(
            "\n{entries} withheld: that this is lawful is the word of whoever made this file, or had it since. Ask \
             the network itself for what you may see of it."
        ),
    }
}

impl<T> VerifiedView<T> {
    fn new(proves: &'static str, list: T, certified: &Certified) -> Self {
        let Certified { height, signed_power, total_power, .. } = *certified;
        Self { proves, list, certified: CertifiedView { height: height.0, signed_power, total_power } }
    }

    pub(super) fn text(&self, list: &str, ledger: &str, at_height: u64) -> String {
        let CertifiedView { signed_power, total_power, .. } = self.certified;
        format!(
            "verified\n{list}\nwhole up to block {at_height} of ledger {ledger}, certified by {signed_power} of \
             {total_power} voting power; what came later is not in this file"
        )
    }
}

#[cfg(test)]
mod tests;
