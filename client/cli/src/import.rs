//! `consilium import`: FHIR files and folders, with progress, a journal to
//! continue from, and a summary.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use consilium_proto::ids::PatientPseudonym;
use indicatif::ProgressBar;
use serde_json::json;

use super::context::escaped;
use super::record::tell_recipients;
use super::text::counted;
use super::{CliError, Context, Output};
use consilium_client::ClientError;
use consilium_client::fhir::{BundleKind, PassedOver};
use consilium_client::records::RecordWriter;
use consilium_client::records::import::{
    BundlePolicy, EXTENSIONS, Event, Found, ImportOptions, ImportSummary, Journal, find, import,
};

/// Import FHIR R4 files (.json, .ndjson, and both as .gz) and folders, each resource as a record
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Files and folders; in folders, hidden files and links are passed over
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Note here what is certified; a second run continues after the first
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// What becomes of a Bundle of which some resources cannot be taken
    #[arg(long, value_name = "HOW", value_enum, default_value = "by-type", env = "CONSILIUM_IMPORT_BUNDLES")]
    pub(crate) bundles: Bundles,
    /// Transactions on their way at once
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) in_flight: NonZero<usize>,
}

/// See [`BundlePolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bundles {
    /// Nothing of it is taken
    Whole,
    /// All else is taken
    Each,
    /// Nothing of a transaction, a document, a message; all else of a batch, a search, a history, a collection
    ByType,
}

impl From<Bundles> for BundlePolicy {
    fn from(how: Bundles) -> Self {
        match how {
            Bundles::Whole => Self::Whole,
            Bundles::Each => Self::Each,
            Bundles::ByType => Self::ByType,
        }
    }
}

/// Imports.
pub(crate) async fn run(args: ImportArgs, ctx: &Context) -> Result<(), CliError> {
    let found = find(&args.paths).map_err(|(path, cause)| ClientError::file(path, cause))?;
    if found.files.is_empty() {
        return Err(nothing_found(&args.paths, &found));
    }
    tell_passed_over(&found);
    let files = found.files;
    let client = ctx.client().await?;
    let validator = ctx.profile()?.validator();
    let writer = RecordWriter::new(client.clone()).await?;
    tell_recipients(writer.recipients());
    eprintln!("and for each patient's own keys, where there are any");
    let journal = match args.journal {
        Some(path) => {
            let opened = Journal::open(&path, client.genesis().ledger_id);
            let journal = opened.map_err(|e| ClientError::file(&path, e))?;
            Some((path, journal))
        }
        None => None,
    };
    let resumable = journal.is_some();
    let bar = ctx.progress(files.iter().map(|f| f.bytes).sum(), "import");
    let watcher = Watcher { bar: bar.clone(), text: ctx.output == Output::Text, told: Arc::default() };
    let told = Arc::clone(&watcher.told);
    let notify = Box::new(move |event| watcher.tell(event));
    let (bundles, in_flight) = (args.bundles.into(), args.in_flight);
    let options = ImportOptions { files, journal, bundles, validator, in_flight, notify };
    let result = import(client, &writer, options).await;
    bar.finish_and_clear();
    let summary = result?;
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    ctx.print(&to_json(&summary, &told), |_| to_text(&summary))?;
    conclude(&summary, resumable)
}

/// Names of other files that are shown.
const OTHERS_SHOWN_MAX: usize = 3;

/// A run that imports nothing is a mistake of whoever started it: the folder is another one, or empty.
fn nothing_found(paths: &[PathBuf], found: &Found) -> CliError {
    let where_to: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    let (holds, others) = (if paths.len() == 1 { "holds" } else { "hold" }, passed_over(found));
    let others = if others.is_empty() { String::new() } else { format!(" ({others})") };
    CliError::failed(escaped(&format!(
        "nothing to import: {} {holds} no {EXTENSIONS} file{others}",
        where_to.join(", ")
    )))
}

fn tell_passed_over(found: &Found) {
    let others = passed_over(found);
    if !others.is_empty() {
        eprintln!("{}", escaped(&format!("not imported: {others}")));
    }
}

/// `3 others: notes.txt, scan.pdf, ...; 1 hidden; 2 links`.
fn passed_over(found: &Found) -> String {
    let mut parts = Vec::new();
    if !found.others.is_empty() {
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<_> = found.others.iter().filter_map(name).take(OTHERS_SHOWN_MAX).collect();
        if found.others.len() > OTHERS_SHOWN_MAX {
            names.push("...".into());
        }
        let count = counted(found.others.len() as u64, "other file", "other files");
        parts.push(format!("{count}: {}", names.join(", ")));
    }
    if found.hidden > 0 {
        parts.push(format!("{} hidden", found.hidden));
    }
    if found.links > 0 {
        parts.push(counted(found.links as u64, "link", "links"));
    }
    parts.join("; ")
}

fn conclude(summary: &ImportSummary, resumable: bool) -> Result<(), CliError> {
    if let Some(cause) = &summary.stopped_by {
        let hint = match resumable {
            true => "run the same command again: the journal keeps it from writing anything twice",
            false => "with --journal FILE a second run would continue where this one stopped",
        };
        return Err(CliError::failed(format!("the import was stopped: {cause}")).hint(hint));
    }
    let mut refused = Vec::new();
    if summary.refused > 0 {
        refused.push(counted(summary.refused, "document", "documents"));
    }
    if summary.resources_refused > 0 {
        let of = counted(summary.bundles_in_part, "Bundle", "Bundles");
        refused.push(format!("{} of {of}", counted(summary.resources_refused, "resource", "resources")));
    }
    if !refused.is_empty() {
        let were = if summary.refused + summary.resources_refused == 1 { "was" } else { "were" };
        return Err(CliError::failed(format!("{} {were} refused; all others are certified", refused.join(" and "))));
    }
    if summary.is_of_nothing() {
        return Err(CliError::failed("nothing was imported: the files hold no FHIR resource"));
    }
    Ok(())
}

/// What was told, for JSON output.
#[derive(Default)]
struct Told {
    skipped: Vec<serde_json::Value>,
    refused: Vec<serde_json::Value>,
    bundles: Vec<serde_json::Value>,
    deletions: Vec<serde_json::Value>,
    findings: Vec<serde_json::Value>,
}

struct Watcher {
    bar: ProgressBar,
    text: bool,
    told: Arc<Mutex<Told>>,
}

impl Watcher {
    fn tell(&self, event: Event) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Found { bytes, .. } => self.bar.set_length(bytes),
            Event::Read { bytes } => self.bar.inc(bytes),
            Event::Certified { .. } => self.bar.tick(),
            Event::Skipped { path, reason } => {
                self.line(&format!("skipped {}: {reason}", path.display()));
                told.skipped.push(json!({ "file": path.display().to_string(), "reason": reason }));
            }
            Event::Refused { path, error } | Event::EntryRefused { path, error } => {
                self.line(&format!("refused {}: {error}", path.display()));
                told.refused.push(json!({
                    "file": path.display().to_string(),
                    "line": error.line,
                    "path": error.path,
                    "problem": error.problem.to_string(),
                }));
            }
            Event::BundleRefused { path, kind, refused, others } => {
                let others = counted(others as u64, "other resource", "other resources");
                self.line(&format!(
                    "refused {}: {refused} of the {} cannot be taken, so {others} of it not either (--bundles)",
                    path.display(),
                    kind.as_str()
                ));
                told.bundles.push(bundle(&path, kind, refused, 0));
            }
            Event::BundleInPart { path, kind, refused, taken } => {
                let counts = counted(taken as u64, "resource is taken", "resources are taken");
                self.line(&format!("in part {}: of the {} {counts}, {refused} refused", path.display(), kind.as_str()));
                told.bundles.push(bundle(&path, kind, refused, taken));
            }
            Event::PassedOver { path, entries } => self.passed_over(&mut told, &path, &entries),
            Event::NotValid { path, report } => {
                for finding in &report.findings {
                    self.line(&format!("{}: {finding}", path.display()));
                    told.findings.push(json!({
                        "file": path.display().to_string(),
                        "line": finding.line,
                        "path": finding.path,
                        "problem": finding.problem.to_string(),
                    }));
                }
                if report.more > 0 {
                    self.line(&format!("{}: and {} findings more", path.display(), report.more));
                }
            }
            Event::Unreadable { path, cause } => {
                self.line(&format!("refused {}: {cause}", path.display()));
                told.refused.push(json!({ "file": path.display().to_string(), "problem": cause }));
            }
            Event::BundleDivided { path, transactions } => {
                self.line(&format!("divided {}: the Bundle needs {transactions} transactions", path.display()));
            }
        }
    }

    /// What Bundles hold beside resources. Nobody's records change by it.
    fn passed_over(&self, told: &mut Told, path: &Path, entries: &PassedOver) {
        for deletion in &entries.deletions {
            let resource = deletion.resource().map(|(kind, id)| format!("{kind}/{id}"));
            let shown = resource.as_deref().unwrap_or("what a search finds");
            self.line(&format!("not retracted {}: {shown} is deleted there", path.display()));
            told.deletions.push(json!({ "file": path.display().to_string(), "resource": resource }));
        }
        let others = entries.outcomes + entries.without_resource;
        if others > 0 {
            let others = counted(others as u64, "entry holds", "entries hold");
            self.line(&format!("passed over {}: {others} no resource, or the outcome of a search", path.display()));
        }
    }

    /// One line on stderr, above the bar.
    fn line(&self, text: &str) {
        if self.text {
            let text = escaped(text);
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }
}

fn bundle(path: &Path, kind: BundleKind, refused: usize, taken: usize) -> serde_json::Value {
    json!({ "file": path.display().to_string(), "type": kind.as_str(), "refused": refused, "taken": taken })
}

fn per_second(count: u64, summary: &ImportSummary) -> f64 {
    let seconds = summary.elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn to_json(summary: &ImportSummary, told: &Told) -> serde_json::Value {
    let pair = |(one, other): &(PatientPseudonym, PatientPseudonym)| json!([one.to_string(), other.to_string()]);
    let two: Vec<_> = summary.under_two.iter().map(pair).collect();
    json!({
        "kinds": summary.kinds,
        "records": summary.records(),
        "bytes": summary.bytes(),
        "transactions": summary.transactions,
        "transactions_recovered": summary.transactions_recovered,
        "records_known": summary.records_known,
        "bundles": summary.bundles,
        "bundles_divided": summary.bundles_divided,
        "bundles_in_part": summary.bundles_in_part,
        "resources_refused": summary.resources_refused,
        "deletions": told.deletions,
        "files_skipped": summary.files_skipped,
        "refused": summary.refused,
        "skipped_files": told.skipped,
        "refused_documents": told.refused,
        "refused_bundles": told.bundles,
        "findings": summary.findings,
        "fhir_findings": told.findings,
        "elapsed_ms": u64::try_from(summary.elapsed.as_millis()).unwrap_or(u64::MAX),
        "transactions_per_second": per_second(summary.transactions, summary),
        "records_per_second": per_second(summary.records(), summary),
        "patients_under_two_pseudonyms": two,
        "stopped_by": summary.stopped_by.as_ref().map(ToString::to_string),
    })
}

fn to_text(summary: &ImportSummary) -> String {
    let mut lines: Vec<String> =
        summary.kinds.iter().map(|(kind, k)| format!("{kind:<28} {:>9} {:>14}", k.records, k.bytes)).collect();
    if !lines.is_empty() {
        lines.insert(0, format!("{:<28} {:>9} {:>14}", "KIND", "RECORDS", "BYTES"));
    }
    lines.push(format!("{:<28} {:>9} {:>14}", "all", summary.records(), summary.bytes()));
    lines.push(format!(
        "{} in {:.1} s: {:.1} tx/s, {:.0} records/s",
        counted(summary.transactions, "transaction", "transactions"),
        summary.elapsed.as_secs_f64(),
        per_second(summary.transactions, summary),
        per_second(summary.records(), summary),
    ));
    let mut note = |count: u64, text: &str| {
        if count > 0 {
            lines.push(format!("{count} {text}"));
        }
    };
    note(summary.transactions_recovered, "transactions of an earlier run were found certified or sent again");
    note(summary.records_known, "resources were certified by an earlier run");
    note(summary.bundles_divided, "Bundles needed more than one transaction");
    note(summary.files_skipped, "files hold no FHIR resources and were skipped");
    note(summary.findings, "findings against FHIR R4");
    note(summary.refused, "documents were refused");
    note(summary.resources_refused, "resources of Bundles were refused, the others of these are certified");
    note(summary.deletions, "resources are deleted by Bundles; their records were left as they are");
    for (one, other) in &summary.under_two {
        lines.push(format!(
            "one patient has two pseudonyms: {one} and {other}; `consilium patient link` says that they are one"
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
