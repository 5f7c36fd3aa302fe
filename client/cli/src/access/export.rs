//! `consilium access export`: a patient's list, or the accesses of the own hospital's people, as
//! FHIR AuditEvents.

mod member;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use consilium_client::access_log::{KeptAccess, KeptLog};
use consilium_client::fhir::audit::{AuditStyle, audit_events, bundle};
use consilium_client::{Client, files};
use consilium_proto::ids::{Height, PatientPseudonym};
use serde::Serialize;

use crate::text::counted;
use crate::{CliError, Context};

/// Arguments of `access export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX", required_unless_present = "member", requires = "file")]
    patient: Option<PatientPseudonym>,
    /// Where it goes; an existing file is left alone
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Instead of a patient's list: all accesses by people of the own hospital, to whichever
    /// patient, a resource on each line (role auditor). Given again after it was interrupted, it
    /// goes on where it was
    #[arg(long, value_name = "FILE", conflicts_with_all = ["patient", "file", "since", "format"])]
    member: Option<PathBuf>,
    /// Of --member only what is behind this block: what was kept last time
    #[arg(long, value_name = "HEIGHT", requires = "member", default_value_t = 0)]
    after: u64,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// What was exported last time: only what came since, or was sealed and is open now
    #[arg(long, value_name = "COUNT:ROOT")]
    since: Option<KeptAccess>,
    /// Tell readers by their opaque names, too
    #[arg(long)]
    names: bool,
    /// Write what is kept from the patient until a date, too: then it is not for the patient
    #[arg(long)]
    sealed: bool,
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
    /// Entries that are kept from the patient until a date, and left out.
    pub(super) sealed: usize,
    /// One event has a resource for each thing that was decided.
    pub(super) resources: usize,
    /// To be kept, and given as --since next time.
    pub(super) keep: String,
    pub(super) at_height: u64,
}

pub(super) async fn run(client: &Client, args: &ExportArgs, ctx: &Context) -> Result<(), CliError> {
    let style = AuditStyle { ledger: client.genesis().ledger_id, names: args.names };
    if let Some(file) = &args.member {
        return member::run(client, (file, Height(args.after)), (style, args.sealed), ctx).await;
    }
    let (Some(patient), Some(file)) = (args.patient, &args.file) else {
        return Err(CliError::failed("name a patient and a file, or --member and a file"));
    };
    let log = client.access_log(patient, args.since.clone().unwrap_or_else(|| KeptLog::nothing().into())).await?;
    let log = if args.sealed { log } else { log.without_sealed() };
    let resources: Vec<_> = log.opened.iter().chain(&log.events).flat_map(|event| audit_events(event, style)).collect();
    let view = ExportView {
        file: file.display().to_string(),
        from: log.from,
        events: (log.opened.len() + log.events.len()) as u64,
        sealed: log.sealed.len(),
        resources: resources.len(),
        keep: log.kept_access().to_string(),
        at_height: log.header.height.0,
    };
    let text = match args.format {
        Format::Balp => resources.iter().map(|resource| format!("{resource}\n")).collect(),
        Format::BalpBundle => format!("{}\n", bundle(resources)),
    };
    files::write_new(file, text.as_bytes(), files::SECRET_MODE)?;
    ctx.print(&view, ExportView::text)
}

/// That something is not in the file.
fn left_out(sealed: u64) -> String {
    match sealed {
        0 => String::new(),
        _ => format!("\n{} left out: kept from the patient still", counted(sealed, "entry is", "entries are")),
    }
}

impl ExportView {
    pub(super) fn text(&self) -> String {
        format!(
            "{} of {}, from number {}, written to {}{}\nkeep this for the next time: --since {}",
            counted(self.resources as u64, "AuditEvent", "AuditEvents"),
            counted(self.events, "entry", "entries"),
            self.from,
            self.file,
            left_out(self.sealed as u64),
            self.keep
        )
    }
}
