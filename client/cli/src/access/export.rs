//! `consilium access export`: a patient's list as FHIR AuditEvents.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use consilium_client::access_log::KeptLog;
use consilium_client::fhir::audit::{AuditStyle, audit_events, bundle};
use consilium_client::{Client, files};
use consilium_proto::ids::PatientPseudonym;
use serde::Serialize;

use crate::{CliError, Context};

/// Arguments of `access export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    patient: PatientPseudonym,
    /// Where it goes; an existing file is left alone
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// What was exported last time: only what came since
    #[arg(long, value_name = "COUNT:ROOT")]
    since: Option<KeptLog>,
    /// Tell readers by their opaque names, too
    #[arg(long)]
    names: bool,
}

/// How AuditEvents are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// IHE BALP, a resource on each line
    #[default]
    Balp,
    /// IHE BALP, a Bundle
    BalpBundle,
}

/// What was written.
#[derive(Serialize)]
pub(super) struct ExportView {
    pub(super) file: String,
    pub(super) from: u64,
    pub(super) events: u64,
    /// One event has a resource for each thing that was decided.
    pub(super) resources: usize,
    /// To be kept, and given as --since next time.
    pub(super) keep: String,
    pub(super) at_height: u64,
}

pub(super) async fn run(client: &Client, args: &ExportArgs, ctx: &Context) -> Result<(), CliError> {
    let log = client.access_log(args.patient, args.since.unwrap_or_else(KeptLog::nothing)).await?;
    let style = AuditStyle { ledger: client.genesis().ledger_id, names: args.names };
    let resources: Vec<_> = log.events.iter().flat_map(|event| audit_events(event, style)).collect();
    let view = ExportView {
        file: args.file.display().to_string(),
        from: log.from,
        events: log.events.len() as u64,
        resources: resources.len(),
        keep: log.kept().to_string(),
        at_height: log.header.height.0,
    };
    let text = match args.format {
        Format::Balp => resources.iter().map(|resource| format!("{resource}\n")).collect(),
        Format::BalpBundle => format!("{}\n", bundle(resources)),
    };
    files::write_new(&args.file, text.as_bytes(), files::SECRET_MODE)?;
    ctx.print(&view, ExportView::text)
}

impl ExportView {
    pub(super) fn text(&self) -> String {
        format!(
            "{} AuditEvents of {} entries, from number {}, written to {}\nkeep this for the next time: --since {}",
            self.resources, self.events, self.from, self.file, self.keep
        )
    }
}
