//! A list of accesses as it is shown, with what is proven of it.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use consilium_client::access_log::{AccessLog, KeptAccess, KeptLog, SealedEntry};
use consilium_client::list_proofs::verify_log;
use consilium_client::{Client, files};
use consilium_proto::ids::PatientPseudonym;
use prost::Message;
use serde::Serialize;

use super::event::EventView;
use super::html;
use super::requests::Requests;
use crate::context::escaped;
use crate::text::{Zone, counted, table, time_ms};
use crate::{CliError, Context, petition};

/// Arguments of `access log`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("handed_on").args(["html", "proof"]).multiple(true))]
pub(crate) struct LogArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// What was kept last time: checks that it is still the beginning of the list, and shows what
    /// came since
    #[arg(long, value_name = "COUNT:ROOT")]
    pub(crate) since: Option<KeptAccess>,
    /// Show readers' names, too: opaque, as the ledger has them
    #[arg(long)]
    pub(crate) names: bool,
    /// Write a page to print; an existing file is left alone
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the whole list into a file that proves it: `access verify` and others verify it
    /// offline. It names the readers; an existing file is left alone
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    pub(crate) proof: Option<PathBuf>,
    /// Put what is kept from the patient until a date into page and file, too: then they are not for
    /// the patient
    #[arg(long, requires = "handed_on")]
    pub(crate) sealed: bool,
    /// Hours and minutes that times are ahead of UTC, such as +01:00
    #[arg(long, value_name = "OFFSET", default_value_t, allow_hyphen_values = true)]
    pub(crate) utc_offset: Zone,
    /// Show the lists of all pseudonyms that are linked with this one now, as one
    #[arg(long, conflicts_with_all = ["since", "html", "proof"])]
    pub(crate) linked: bool,
}

/// A list of accesses, proven.
#[derive(Serialize)]
pub(super) struct LogView {
    pub(super) patient: String,
    pub(super) ledger: String,
    /// Entries that were known before: the first that is shown has this number.
    pub(super) from: u64,
    /// Entries of the whole list.
    pub(super) count: u64,
    pub(super) root: String,
    /// To be kept, and given as --since next time.
    pub(super) keep: String,
    /// It is the list at this height.
    pub(super) at_height: u64,
    pub(super) at: String,
    pub(super) events: Vec<EventView>,
    /// Lawfully kept from this identity until a date.
    pub(super) sealed: Vec<SealedView>,
    /// Were sealed when the list was looked at before, and are open now.
    pub(super) opened: Vec<EventView>,
    #[serde(skip)]
    pub(super) at_ms: u64,
    #[serde(skip)]
    pub(super) zone: Zone,
    /// The file that was written to prove it.
    #[serde(skip)]
    pub(super) proof_file: Option<PathBuf>,
    /// What the patient has asked about it: lines of the page.
    #[serde(skip)]
    pub(super) petitions: Vec<[String; 4]>,
}

/// An entry that is sealed.
#[derive(Serialize)]
pub(super) struct SealedView {
    pub(super) number: u64,
    pub(super) until: String,
    #[serde(skip)]
    pub(super) until_shown: String,
    /// Its hash: what is shown then must have it.
    pub(super) sha256: String,
}

/// `access log`.
pub(super) async fn run(client: &Client, args: &LogArgs, ctx: &Context) -> Result<(), CliError> {
    let log = match &args.proof {
        Some(path) => prove(client, args, path).await?,
        None => {
            client.access_log(args.patient, args.since.clone().unwrap_or_else(|| KeptLog::nothing().into())).await?
        }
    };
    // A page is handed on.
    let log = if args.html.is_some() && !args.sealed { log.without_sealed() } else { log };
    let mut view = LogView::new(&log, client.genesis().ledger_id.to_string(), args.names, args.utc_offset);
    view.proof_file.clone_from(&args.proof);
    let Some(path) = &args.html else { return ctx.print(&view, |view| view.text(args.names)) };
    let (petitions, now) = client.petitions(Some(args.patient)).await?;
    view.petitions = petitions.iter().map(|known| petition::view::cells(known, now, args.utc_offset)).collect();
    files::write_new(path, html::page(&view, args.names).as_bytes(), files::SECRET_MODE)?;
    ctx.print(&view, |view| format!("written to {}\n{}", path.display(), view.proof()))
}

/// Writes the file that proves the list, and answers with what it proves.
async fn prove(client: &Client, args: &LogArgs, path: &Path) -> Result<AccessLog, CliError> {
    let file = client.access_log_proof(args.patient, args.sealed).await?.encode_to_vec();
    let report = verify_log(&file, client.genesis())?;
    files::write_new(path, &file, files::SECRET_MODE)?;
    Ok(report.log)
}

impl LogView {
    pub(super) fn new(log: &AccessLog, ledger: String, names: bool, zone: Zone) -> Self {
        let event = |event| EventView::new(event, names).shown_in(zone);
        Self {
            patient: log.patient.to_string(),
            ledger,
            from: log.from,
            count: log.count,
            root: log.root.to_string(),
            keep: log.kept_access().to_string(),
            at_height: log.header.height.0,
            at: time_ms(log.header.time.0),
            events: log.events.iter().map(event).collect(),
            sealed: log.sealed.iter().map(|entry| SealedView::new(entry, zone)).collect(),
            opened: log.opened.iter().map(event).collect(),
            at_ms: log.header.time.0,
            zone,
            proof_file: None,
            petitions: Vec::new(),
        }
    }

    pub(super) fn head(&self, names: bool) -> Vec<String> {
        head(self.zone, names)
    }

    pub(super) fn text(&self, names: bool) -> String {
        let head = self.head(names);
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let shown = match self.events.is_empty() {
            true if !self.sealed.is_empty() => "no entry is shown\n".to_owned(),
            true if self.from == 0 => "nobody has asked\n".to_owned(),
            true => "nobody has asked since\n".to_owned(),
            false => table(&head, self.events.iter().map(|event| event.cells(names))),
        };
        let opened = match self.opened.is_empty() {
            true => String::new(),
            false => {
                let rows = self.opened.iter().map(|event| event.cells(names));
                format!("these were sealed, and are open now:\n{}\n", table(&head, rows))
            }
        };
        format!("{shown}\n{opened}{}{}", self.requests().text(), self.proof())
    }

    pub(super) fn requests(&self) -> Requests {
        Requests::of(self.events.iter().chain(&self.opened))
    }

    /// Of each entry that is sealed, until when.
    pub(super) fn seals(&self) -> Vec<String> {
        let told = |entry: &SealedView| {
            let SealedView { number, until_shown, .. } = entry;
            format!("entry {number} is sealed until {until_shown}: it counts, and must be shown then")
        };
        self.sealed.iter().map(told).collect()
    }

    /// What is proven of the list, and what to keep.
    pub(super) fn proof(&self) -> String {
        let since = match self.from {
            0 => String::new(),
            from => format!(" The first {from} are those that you had kept."),
        };
        let seals: String = self.seals().iter().map(|line| format!("{line}\n")).collect();
        format!(
            "{seals}{} in all up to {} (block {}), proven: none is missing, changed or swapped.{since}\n\
             keep this for the next time: --since {}{}",
            counted(self.count, "entry", "entries"),
            self.zone.time_ms(self.at_ms),
            self.at_height,
            self.keep,
            self.proof_file.as_deref().map_or(String::new(), written)
        )
    }
}

/// Says what to do with a file that proves a list.
pub(crate) fn written(proof: &Path) -> String {
    let proof = escaped(&proof.display().to_string());
    format!("\nwritten to {proof}, which proves it to anybody offline: consilium access verify {proof}")
}

/// Where the column of the names goes.
pub(super) const NAME_COLUMN: usize = 5;

/// Columns of a list.
pub(super) fn head(zone: Zone, names: bool) -> Vec<String> {
    let time = zone.head("TIME");
    let mut head: Vec<_> =
        ["NO", &time, "HOSPITAL", "ROLE", "UNIT", "PURPOSE", "ASKED TO", "DECIDED"].map(str::to_owned).into();
    if names {
        head.insert(NAME_COLUMN, "NAME".to_owned());
    }
    head
}

impl SealedView {
    pub(super) fn new(entry: &SealedEntry, zone: Zone) -> Self {
        let (until, until_shown) = (time_ms(entry.until.0), zone.time_ms(entry.until.0));
        Self { number: entry.sequence, until, until_shown, sha256: entry.leaf.to_string() }
    }
}
