//! `consilium patient records`: which records a patient has, proven to be all that there are.
//! Of a record only what the ledger says for ever: its kind, its level, when it was listed.

use std::path::{Path, PathBuf};

use clap::Args;
use consilium_client::list_proofs::verify_record_lists;
use consilium_client::record_lists::{KeptLists, RecordEntry, RecordList, RecordLists};
use consilium_client::{Client, files};
use consilium_proto::ids::PatientPseudonym;
use prost::Message;
use serde::Serialize;

use crate::access::written;
use crate::text::{table, time_ms};
use crate::words;
use crate::{CliError, Context};

/// Arguments of `patient records`.
#[derive(Debug, Args)]
pub(crate) struct RecordsArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// Only records of a kind, such as Observation
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// What was kept last time (--keep): checks that it is still the beginning of the lists, and
    /// shows what came since
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,
    /// Write what to keep for the next time; an existing file is left alone
    #[arg(long, value_name = "FILE")]
    pub(crate) keep: Option<PathBuf>,
    /// Write the whole lists into a file that proves them: `access verify` and others verify it
    /// offline; an existing file is left alone
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    pub(crate) proof: Option<PathBuf>,
}

/// The records of a patient, proven to be all.
#[derive(Serialize)]
pub(crate) struct RecordsView {
    patient: String,
    pub(crate) ledger: String,
    /// Null: of all kinds.
    kind: Option<String>,
    /// Nothing that was listed up to this height is missing.
    pub(crate) at_height: u64,
    at: String,
    lists: Vec<ListView>,
    /// Each record once.
    records: Vec<RecordView>,
}

/// A list: the records of one kind and confidentiality.
#[derive(Serialize)]
struct ListView {
    kind: String,
    /// HL7's letter.
    confidentiality: &'static str,
    /// Entries that were known before.
    from: u64,
    /// Entries of the whole list.
    count: u64,
    root: String,
}

#[derive(Serialize)]
struct RecordView {
    record: String,
    kind: String,
    /// HL7's letter.
    confidentiality: &'static str,
    /// The version that brought it into the list in which it stands.
    version: u32,
    listed: String,
}

/// `patient records`.
pub(crate) async fn records(args: RecordsArgs, ctx: &Context) -> Result<(), CliError> {
    let kept = match &args.since {
        Some(file) => {
            files::read_text(file)?.parse().map_err(|e| CliError::usage(format!("{}: {e}", file.display())))?
        }
        None => KeptLists::nothing(),
    };
    let client = ctx.client().await?;
    let lists = match &args.proof {
        Some(path) => prove(&client, &args, path).await?,
        None => client.record_lists(args.patient, args.kind.as_deref(), &kept).await?,
    };
    if let Some(file) = &args.keep {
        files::write_new(file, lists.keep(&kept).to_string().as_bytes(), files::SECRET_MODE)?;
    }
    let view = RecordsView::new(&lists, client.genesis().ledger_id.to_string(), args.kind);
    let written = args.proof.as_deref().map_or(String::new(), written);
    ctx.print(&view, |view| view.text() + &written)
}

/// Writes the file that proves the lists, and answers with what it proves.
async fn prove(client: &Client, args: &RecordsArgs, path: &Path) -> Result<RecordLists, CliError> {
    let file = client.record_lists_proof(args.patient, args.kind.as_deref()).await?.encode_to_vec();
    let report = verify_record_lists(&file, client.genesis())?;
    files::write_new(path, &file, files::SECRET_MODE)?;
    Ok(report.lists)
}

impl RecordsView {
    pub(crate) fn new(lists: &RecordLists, ledger: String, kind: Option<String>) -> Self {
        Self {
            patient: lists.patient.to_string(),
            ledger,
            kind,
            at_height: lists.header.height.0,
            at: time_ms(lists.header.time.0),
            lists: lists.lists.iter().map(ListView::new).collect(),
            records: lists.records().into_iter().map(RecordView::new).collect(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let head = ["RECORD", "KIND", "LEVEL", "VERSION", "LISTED (UTC)"];
        let since = self.lists.iter().any(|list| list.from > 0);
        let shown = match self.records.is_empty() {
            true if since => "no records since\n".to_owned(),
            true => "no records\n".to_owned(),
            false => table(&head, self.records.iter().map(RecordView::cells)),
        };
        format!("{shown}\n{}", self.proof(since))
    }

    /// What is proven.
    fn proof(&self, since: bool) -> String {
        let what = match &self.kind {
            Some(kind) => format!("records of kind {kind}"),
            None => "records".to_owned(),
        };
        let (since, first) = match since {
            true => (" since", " What you had kept is the beginning of it."),
            false => ("", ""),
        };
        let (height, at, number) = (self.at_height, &self.at, self.records.len());
        format!(
            "{number} {what}{since}, proven: this is all that there is of this patient up to {at} (block {height}); \
             none is left out, changed or swapped.{first}"
        )
    }
}

impl ListView {
    fn new(list: &RecordList) -> Self {
        Self {
            kind: list.kind.clone(),
            confidentiality: words::level(list.confidentiality),
            from: list.from,
            count: list.log.count,
            root: list.log.root.to_string(),
        }
    }
}

impl RecordView {
    fn new((list, entry): (&RecordList, &RecordEntry)) -> Self {
        Self {
            record: entry.record.to_string(),
            kind: list.kind.clone(),
            confidentiality: words::level(list.confidentiality),
            version: entry.version,
            listed: time_ms(entry.time.0),
        }
    }

    fn cells(&self) -> Vec<String> {
        let Self { record, kind, confidentiality, version, listed } = self;
        vec![record.clone(), kind.clone(), (*confidentiality).to_owned(), version.to_string(), listed.clone()]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::json;

    pub(crate) fn view(from: u64) -> RecordsView {
        let confidentiality = "N";
        let (kind, root) = ("Observation".to_owned(), "0a".repeat(32));
        RecordsView {
            patient: "07".repeat(16),
            ledger: "04".repeat(32),
            kind: Some(kind.clone()),
            at_height: 9,
            at: time_ms(2_000),
            lists: vec![ListView { kind: kind.clone(), confidentiality, from, count: from + 1, root }],
            records: vec![RecordView {
                record: "06".repeat(16),
                kind,
                confidentiality,
                version: 1,
                listed: time_ms(1_000),
            }],
        }
    }

    #[test]
    fn scripts_get_records_and_what_their_lists_are() {
        json::snapshot::check("patient-records", &view(0));
    }

    #[test]
    fn people_read_that_this_is_all() {
        let text = view(0).text();
        assert!(text.contains("1 records of kind Observation, proven: this is all that there is"), "{text}");
        let text = view(3).text();
        assert!(text.contains("Observation since, proven") && text.contains("What you had kept"), "{text}");
        let none = RecordsView { records: Vec::new(), kind: None, ..view(3) }.text();
        assert!(none.starts_with("no records since\n") && none.contains("0 records since"), "{none}");
    }
}
