//! `consilium record`: submit, amend, retract, get, find. Documents go in and
//! come out byte for byte.

mod access;
mod labels;
mod read;
mod refile;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use consilium_proto::envelope::SearchKey;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::pb;
use serde::Serialize;

use super::context::escaped;
use super::private;
use super::{CliError, Context};
use consilium_client::ClientError;
use consilium_client::fhir;
use consilium_client::fhir::validate::Validator;
use consilium_client::files;
use consilium_client::patients::Patients;
use consilium_client::records::{
    self, Described, Draft, LabelsBefore, Recipient, RecordDraft, RecordReader, RecordWriter, new_pseudonym,
};
use consilium_client::{Client, Submitted};
use labels::LabelArgs;
pub(crate) use labels::Labelling;
pub(crate) use read::{print_opened, write_out};

/// For what a person is asked.
const PATIENT: &str = "patient's identifier";

/// Submit, amend, retract, get and find records
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: RecordCommand,
}

/// What to do with records.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordCommand {
    /// Submit a document: a FHIR resource or Bundle, or with --kind and --patient-file anything else
    Submit(SubmitArgs),
    /// Submit a new version of a record
    Amend(AmendArgs),
    /// Mark a record as entered in error; its history stays
    Retract(RetractArgs),
    /// File a record under the patient whose it is: retracts it under the wrong one and writes it anew
    Move(refile::MoveArgs),
    /// Confirm, as a second person, that a record was filed under the wrong patient: until then that
    /// patient reads it still
    ConfirmMove(RetractArgs),
    /// Fetch, decrypt and write out a record, byte for byte
    Get(read::GetArgs),
    /// Find records
    Query(read::QueryArgs),
    /// Show all versions of a record
    History(read::HistoryArgs),
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// Ordered and executed by one node; may still lack a block certificate.
    Ordered,
    /// In a certified block: final.
    Certified,
}

impl From<Wait> for pb::WaitFor {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Ordered => Self::Ordered,
            Wait::Certified => Self::Certified,
        }
    }
}

/// Labels, and what to wait for.
#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    /// Labels.
    #[command(flatten)]
    pub(crate) labels: labels::LabelArgs,
    /// What to wait for
    #[arg(long, value_enum, default_value_t = Wait::Certified)]
    pub(crate) wait: Wait,
}

/// Arguments of `record submit`.
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// The document
    pub(crate) file: PathBuf,
    /// Kind of a document that is not FHIR
    #[arg(long, requires = "patient_file")]
    pub(crate) kind: Option<String>,
    /// File with the patient of a document that is not FHIR, '-' for standard input: `Patient/ID`,
    /// a URL, `urn:uuid:...`, or `system|value`, spelt as in the patient's FHIR references
    #[arg(long, value_name = "FILE", requires = "kind")]
    pub(crate) patient_file: Option<PathBuf>,
    /// Waiting.
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// Arguments of `record amend`.
#[derive(Debug, Args)]
pub(crate) struct AmendArgs {
    /// The record
    pub(crate) id: RecordId,
    /// The new document
    pub(crate) file: PathBuf,
    /// For a document that is not FHIR: its kind and patient stay as they are
    #[arg(long)]
    pub(crate) raw: bool,
    /// Do not keep the labels of the version before: only those of the new document, and of
    /// --labels-file
    #[arg(long)]
    pub(crate) drop_labels: bool,
    /// Waiting.
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// Arguments of `record retract`.
#[derive(Debug, Args)]
pub(crate) struct RetractArgs {
    /// The record
    pub(crate) id: RecordId,
    /// What to wait for
    #[arg(long, value_enum, default_value_t = Wait::Certified)]
    pub(crate) wait: Wait,
}

/// Runs a command.
pub(crate) async fn run(args: RecordArgs, ctx: &Context) -> Result<(), CliError> {
    let client = match &args.command {
        RecordCommand::Get(args) if args.without_quorum => ctx.operators_client(None).await?,
        _ => ctx.client().await?,
    };
    match args.command {
        RecordCommand::Submit(args) => submit(&client, args, ctx).await,
        RecordCommand::Amend(args) => amend(&client, args, ctx).await,
        RecordCommand::Retract(args) => {
            let (submitted, version) = records::retract(&client, args.id, args.wait.into()).await?;
            print_written(ctx, &submitted, &[args.id], version)
        }
        RecordCommand::ConfirmMove(args) => {
            let (submitted, version) = records::confirm_misfiled(&client, args.id, args.wait.into()).await?;
            print_written(ctx, &submitted, &[args.id], version)
        }
        RecordCommand::Move(args) => refile::run(&client, args, ctx).await,
        RecordCommand::Get(args) => read::get(&client, args, ctx).await,
        RecordCommand::Query(args) => read::query(&client, args, ctx).await,
        RecordCommand::History(args) => read::history(&client, args, ctx).await,
    }
}

async fn submit(client: &Client, args: SubmitArgs, ctx: &Context) -> Result<(), CliError> {
    // Nobody is registered for what cannot be written.
    let labels = args.write.labels.read()?;
    let writer = RecordWriter::new(client.clone()).await?;
    let drafts = drafts_of(client, &args, ctx).await?;
    let drafts: Vec<_> = drafts.into_iter().map(|draft| labels.put_on(draft)).collect();
    tell_recipients(writer.recipients());
    tell_recipients(writer.keys_of(&drafts).await?.recipients());
    let written = writer.write(drafts.into_iter().map(Draft::new).collect(), args.write.wait.into()).await?;
    for (submitted, ids) in &written {
        print_written(ctx, submitted, ids, 1)?;
    }
    Ok(())
}

/// Before anything is sealed: for whom, and of which member. What is sealed can
/// never be taken back.
pub(crate) fn tell_recipients<'a>(recipients: impl IntoIterator<Item = &'a Recipient>) {
    for recipient in recipients {
        eprintln!("sealing for {} of member {}", escaped(&recipient.name), recipient.member);
    }
}

async fn drafts_of(client: &Client, args: &SubmitArgs, ctx: &Context) -> Result<Vec<RecordDraft>, CliError> {
    let (key, patients) = (search_key(client)?, Patients::new(client.clone())?);
    let bytes = document(&args.file)?;
    if let (Some(kind), Some(patient)) = (&args.kind, &args.patient_file) {
        let name = patients.named(&private::line(patient, PATIENT)?);
        let patient = patients.ensure_named([&name]).await?.into_values();
        return Ok(patient.map(|patient| RecordDraft::document(kind, patient, bytes.clone())).collect());
    }
    let not_fhir = |cause: String| {
        CliError::from(ClientError::file(&args.file, cause)).hint("another document needs --kind and --patient-file")
    };
    let split = judged(&ctx.profile()?.validator(), &bytes, client).map_err(|e| not_fhir(e.to_string()))?;
    if split.content == fhir::Content::NotFhir {
        return Err(not_fhir("is not a FHIR resource".into()));
    }
    if split.resources.is_empty() {
        return Err(ClientError::file(&args.file, "is a Bundle without resources").into());
    }
    let of = patients.ensure_named(split.resources.iter().filter_map(|r| r.subject.patient())).await?;
    let patient = |subject: &fhir::Subject| subject.patient().and_then(|name| of.get(name.canonical()).copied());
    let draft =
        |r: &fhir::Resource| RecordDraft::from_resource(r, patient(&r.subject).unwrap_or_else(new_pseudonym), key);
    Ok(split.resources.iter().map(draft).collect())
}

async fn amend(client: &Client, args: AmendArgs, ctx: &Context) -> Result<(), CliError> {
    let labels = args.write.labels.read()?;
    let draft = match args.raw {
        true => raw_amendment(client, &args).await?,
        false => fhir_amendment(client, &args, ctx).await?,
    };
    let draft = labels.put_on(draft);
    let before = if args.drop_labels { LabelsBefore::Dropped } else { LabelsBefore::Kept };
    let writer = RecordWriter::new(client.clone()).await?;
    tell_recipients(writer.recipients());
    tell_recipients(writer.keys_of([&draft]).await?.recipients());
    let (submitted, version) = writer.amend(args.id, draft, before, args.write.wait.into()).await?;
    print_written(ctx, &submitted, &[args.id], version)
}

async fn fhir_amendment(client: &Client, args: &AmendArgs, ctx: &Context) -> Result<RecordDraft, CliError> {
    let split = judged(&ctx.profile()?.validator(), &document(&args.file)?, client);
    let split = split.map_err(|e| ClientError::file(&args.file, e))?;
    let (fhir::Content::Resource, [resource]) = (split.content, split.resources.as_slice()) else {
        return Err(CliError::from(ClientError::file(&args.file, "is not a single FHIR resource"))
            .hint("give --raw to amend a document that is not FHIR"));
    };
    let patient = match resource.subject.patient() {
        Some(name) => Patients::new(client.clone())?.find_named(name).await?.ok_or_else(unknown_patient)?,
        // It is about no patient, and stays what it is about.
        None => {
            let current = RecordReader::new(client.clone()).current(args.id).await?;
            PatientPseudonym::parse("patient", &current.patient)?
        }
    };
    Ok(RecordDraft::from_resource(resource, patient, search_key(client)?))
}

/// A document taken apart and held against FHIR R4; what is found is told on stderr.
fn judged(validator: &Validator, bytes: &Bytes, client: &Client) -> Result<fhir::Split, fhir::FhirError> {
    let (split, report) = validator.judge(bytes, 1, fhir::split(bytes, client.home()));
    for finding in &report.findings {
        eprintln!("{}", escaped(&finding.to_string()));
    }
    if report.more > 0 {
        eprintln!("and {} findings more", report.more);
    }
    split
}

fn unknown_patient() -> CliError {
    CliError::failed("no patient is found by that identifier")
        .hint("a patient is registered when a record is submitted, or with `consilium patient register`")
}

/// The same description with other contents.
async fn raw_amendment(client: &Client, args: &AmendArgs) -> Result<RecordDraft, CliError> {
    let Described { version, tags } = RecordReader::new(client.clone()).described(args.id).await?.into_value();
    Ok(RecordDraft {
        kind: version.kind.clone(),
        patient: PatientPseudonym::parse("patient", &version.patient)?,
        confidentiality: version.confidentiality(),
        tags,
        labels: LabelArgs::none(),
        plaintext: document(&args.file)?,
    })
}

/// A transaction with the records that it wrote.
#[derive(Serialize)]
struct WrittenView {
    transaction_id: String,
    height: u64,
    certified: bool,
    version: u32,
    record_ids: Vec<String>,
}

fn print_written(ctx: &Context, submitted: &Submitted, ids: &[RecordId], version: u32) -> Result<(), CliError> {
    let view = WrittenView {
        transaction_id: submitted.transaction_id.to_string(),
        height: submitted.height.0,
        certified: submitted.receipt.is_some(),
        version,
        record_ids: ids.iter().map(ToString::to_string).collect(),
    };
    ctx.print(&view, |v| {
        let state = if v.certified { "certified" } else { "ordered" };
        let head = format!("{state} at height {}, transaction {}", v.height, v.transaction_id);
        v.record_ids.iter().fold(head, |text, id| format!("{text}\nrecord {id} version {version}"))
    })
}

fn search_key(client: &Client) -> Result<&SearchKey, CliError> {
    Ok(client.identity().search_key().ok_or(ClientError::Setting { setting: "search_key" })?)
}

fn document(path: &Path) -> Result<Bytes, CliError> {
    Ok(files::read(path, fhir::FILE_BYTES_MAX)?.into())
}

#[cfg(test)]
mod tests;
