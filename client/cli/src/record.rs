//! `consilium record`: submit, amend, retract, get, find. Documents go in and
//! come out byte for byte.

mod labels;
mod refile;

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use consilium_proto::envelope::SearchKey;
use consilium_proto::ids::{DisclosureId, EmergencyId, PatientPseudonym, RecordId};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb;
use consilium_proto::transaction::VersionRef;
use futures::StreamExt;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::context::escaped;
use super::json::{self, Many, One};
use super::named::{Named, strangers_words};
use super::private;
use super::text::quoted;
use super::words::parse_purpose;
use super::{CliError, Context};
use consilium_client::ClientError;
use consilium_client::fhir;
use consilium_client::files;
use consilium_client::patients::Patients;
use consilium_client::records::{
    self, Access, Described, Draft, LabelsBefore, QueryFilter, Recipient, RecordDraft, RecordReader, RecordWriter,
    Shown, Statement, new_pseudonym, tag_of,
};
use consilium_client::{Client, Submitted};
use labels::LabelArgs;

/// Records shown by a query unless the caller wants another number.
const QUERY_LIMIT: usize = 100;
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
    /// Fetch, decrypt and write out a record, byte for byte
    Get(GetArgs),
    /// Find records
    Query(QueryArgs),
    /// Show all versions of a record
    History(HistoryArgs),
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
    /// Do not keep the labels of the version before: only those of the new document, and of --label
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

/// Arguments of `record get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The record
    pub(crate) id: RecordId,
    /// This version instead of the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) version: Option<u32>,
    /// Write the document here instead of to stdout; an existing file is left alone
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Show what the ledger says of it instead of the document: no access, for records of your own member
    #[arg(long, conflicts_with = "out")]
    pub(crate) metadata: bool,
    /// Whose record it is (pseudonym); needed for records of other members
    #[arg(long, value_name = "HEX", conflicts_with = "metadata")]
    pub(crate) pseudonym: Option<PatientPseudonym>,
    /// A sealed disclosure of your own member whose seal keeps the entry from the patient, too
    #[arg(long, value_name = "DISCLOSURE", requires = "pseudonym")]
    pub(crate) sealed_by: Option<DisclosureId>,
    /// While the network certifies nothing: read what your own member wrote, over its own node,
    /// which enters the reading into the patient's list as soon as it can, marked late
    #[arg(long, requires = "pseudonym", conflicts_with_all = ["metadata", "emergency", "sealed_by"])]
    pub(crate) without_quorum: bool,
    /// Write what is signed into a file first, so that it can be entered (`access late`) where the
    /// node cannot; an existing file is left alone
    #[arg(long, value_name = "FILE", requires = "without_quorum")]
    pub(crate) keep: Option<PathBuf>,
    /// What for.
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// What a record is read for. Each reading is an event in the patient's log.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// Purpose of use: a code of HL7's v3-PurposeOfUse
    #[arg(long, value_name = "CODE", default_value = "TREAT", value_parser = parse_purpose)]
    pub(crate) purpose: pb::PurposeOfUse,
    /// The declared emergency for which it is; the purpose is BTG then
    #[arg(long, value_name = "HEX", conflicts_with = "purpose")]
    pub(crate) emergency: Option<EmergencyId>,
}

impl AccessArgs {
    fn access(&self) -> Access {
        let purpose = if self.emergency.is_some() { pb::PurposeOfUse::Btg } else { self.purpose };
        Access { emergency: self.emergency, ..Access::of(purpose) }
    }

    fn reader(&self, client: &Client) -> RecordReader {
        RecordReader::with(client.clone(), self.access())
    }
}

/// Arguments of `record query`.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// File with the patient, '-' for standard input: `Patient/ID`, `MEMBER/Patient/ID`, a URL,
    /// `urn:uuid:...`, or `system|value`, as in the FHIR references
    #[arg(long, value_name = "FILE", conflicts_with = "pseudonym")]
    pub(crate) patient_file: Option<PathBuf>,
    /// Patient by pseudonym
    #[arg(long, value_name = "HEX")]
    pub(crate) pseudonym: Option<PatientPseudonym>,
    /// Resource type
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Author (SPIFFE id)
    #[arg(long, value_name = "SPIFFE")]
    pub(crate) author: Option<SpiffeId>,
    /// Author's member [default, if neither patient nor tag is given: your own]
    #[arg(long, value_name = "ID")]
    pub(crate) member: Option<MemberId>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) from: Option<u64>,
    /// Before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) to: Option<u64>,
    /// File with a search tag, '-' for standard input: id, encounter, category, code or identifier, such
    /// as `code=http://loinc.org|718-7`
    #[arg(long, value_name = "FILE")]
    pub(crate) tag_file: Option<PathBuf>,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = QUERY_LIMIT)]
    pub(crate) limit: usize,
    /// Also fetch and decrypt each one
    #[arg(long)]
    pub(crate) decrypt: bool,
    /// What for.
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Arguments of `record history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The record
    pub(crate) id: RecordId,
    /// Whose record it is (pseudonym); needed for records of other members
    #[arg(long, value_name = "HEX")]
    pub(crate) pseudonym: Option<PatientPseudonym>,
    /// What for.
    #[command(flatten)]
    pub(crate) access: AccessArgs,
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
        RecordCommand::Move(args) => refile::run(&client, args, ctx).await,
        RecordCommand::Get(args) => get(&client, args, ctx).await,
        RecordCommand::Query(args) => query(&client, args, ctx).await,
        RecordCommand::History(args) => {
            let reader = args.access.reader(&client);
            let history = match args.pseudonym {
                Some(patient) => reader.history_of(patient, args.id).await?.into_value(),
                None => reader.history(args.id).await?.into_value(),
            };
            let hidden = (history.newest as usize).saturating_sub(history.versions.len());
            if hidden > 0 {
                eprintln!("{hidden} of {} versions are not for this identity", history.newest);
            }
            ctx.print(&Many(history.versions), |versions| table(&versions.0))
        }
    }
}

async fn submit(client: &Client, args: SubmitArgs, ctx: &Context) -> Result<(), CliError> {
    // Nobody is registered for what cannot be written.
    let writer = RecordWriter::new(client.clone()).await?;
    let drafts = drafts_of(client, &args).await?;
    let drafts: Vec<_> = drafts.into_iter().map(|draft| args.write.labels.put_on(draft)).collect();
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

async fn drafts_of(client: &Client, args: &SubmitArgs) -> Result<Vec<RecordDraft>, CliError> {
    let (key, patients) = (search_key(client)?, Patients::new(client.clone())?);
    let bytes = read(&args.file)?;
    if let (Some(kind), Some(patient)) = (&args.kind, &args.patient_file) {
        let identifier = patients.canonical(&private::line(patient, PATIENT)?);
        let patient = patients.ensure([identifier.as_str()]).await?.into_values();
        return Ok(patient.map(|patient| RecordDraft::document(kind, patient, bytes.clone())).collect());
    }
    let not_fhir = |cause: String| {
        CliError::from(ClientError::file(&args.file, cause)).hint("another document needs --kind and --patient-file")
    };
    let split = fhir::split(&bytes, member(client)).map_err(|e| not_fhir(e.to_string()))?;
    if split.content == fhir::Content::NotFhir {
        return Err(not_fhir("is not a FHIR resource".into()));
    }
    if split.resources.is_empty() {
        return Err(ClientError::file(&args.file, "is a Bundle without resources").into());
    }
    let of = patients.ensure(split.resources.iter().filter_map(|r| r.subject.patient())).await?;
    let patient = |subject: &fhir::Subject| subject.patient().and_then(|subject| of.get(subject).copied());
    let draft =
        |r: &fhir::Resource| RecordDraft::from_resource(r, patient(&r.subject).unwrap_or_else(new_pseudonym), key);
    Ok(split.resources.iter().map(draft).collect())
}

async fn amend(client: &Client, args: AmendArgs, ctx: &Context) -> Result<(), CliError> {
    let draft = match args.raw {
        true => raw_amendment(client, &args).await?,
        false => fhir_amendment(client, &args).await?,
    };
    let draft = args.write.labels.put_on(draft);
    let before = if args.drop_labels { LabelsBefore::Dropped } else { LabelsBefore::Kept };
    let writer = RecordWriter::new(client.clone()).await?;
    tell_recipients(writer.recipients());
    tell_recipients(writer.keys_of([&draft]).await?.recipients());
    let (submitted, version) = writer.amend(args.id, draft, before, args.write.wait.into()).await?;
    print_written(ctx, &submitted, &[args.id], version)
}

async fn fhir_amendment(client: &Client, args: &AmendArgs) -> Result<RecordDraft, CliError> {
    let split = fhir::split(&read(&args.file)?, member(client)).map_err(|e| ClientError::file(&args.file, e))?;
    let (fhir::Content::Resource, [resource]) = (split.content, split.resources.as_slice()) else {
        return Err(CliError::from(ClientError::file(&args.file, "is not a single FHIR resource"))
            .hint("give --raw to amend a document that is not FHIR"));
    };
    let patient = match resource.subject.patient() {
        Some(subject) => Patients::new(client.clone())?.find(subject).await?.ok_or_else(unknown_patient)?,
        // It is about no patient, and stays what it is about.
        None => {
            let current = RecordReader::new(client.clone()).current(args.id).await?;
            PatientPseudonym::parse("patient", &current.patient)?
        }
    };
    Ok(RecordDraft::from_resource(resource, patient, search_key(client)?))
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
        plaintext: read(&args.file)?,
    })
}

async fn get(client: &Client, args: GetArgs, ctx: &Context) -> Result<(), CliError> {
    let access = Access { sealed_by: args.sealed_by, ..args.access.access() };
    let reader = RecordReader::with(client.clone(), access);
    if args.metadata {
        let shown = reader.said(args.id, args.version).await?.into_value();
        tell_newer(&shown);
        let record = shown.version;
        return ctx.print(&One(record), |record| table(std::slice::from_ref(&record.0)));
    }
    let opened = match args.pseudonym {
        Some(patient) if args.without_quorum => {
            let asked = VersionRef { record: args.id, version: args.version.unwrap_or(0) };
            let late = reader.late_request(patient, &[asked])?;
            if let Some(path) = &args.keep {
                files::write_new(path, &late.encode(), files::SECRET_MODE)?;
            }
            let opened = reader.read_without_quorum(&late).await?.pop();
            opened.ok_or_else(|| CliError::failed("there is no such record of your own member that you may read"))?
        }
        Some(patient) => reader.get_of(patient, args.id, args.version).await?,
        None => reader.get(args.id, args.version).await?,
    };
    let shown = opened.record.into_value();
    tell_newer(&shown);
    tell_statements(&opened.disagreements);
    let Some(plaintext) = opened.plaintext else {
        return Err(CliError::failed(format!(
            "version {} marks the record as entered in error",
            shown.version.version
        ))
        .hint("ask for an earlier version with --version"));
    };
    match &args.out {
        Some(path) => Ok(files::write_new(path, &plaintext, files::SECRET_MODE)?),
        None => {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&plaintext).and_then(|()| out.flush());
            written.map_err(|e| CliError::failed(format!("stdout: {e}")))
        }
    }
}

fn tell_newer(Shown { version: record, newest, retracted, disagreements }: &Shown) {
    if record.version < *newest {
        let what = if *retracted { "the record is retracted: entered in error" } else { "there is a newer one" };
        eprintln!("version {} of {newest}: {what}", record.version);
    }
    for stated in disagreements {
        let petition = hex::encode(&stated.petition_id);
        eprintln!("the patient disagrees with version {} (petition {petition})", stated.version);
    }
}

/// What the patient states against the version: it belongs to it, and is no part of the document.
fn tell_statements(statements: &[Statement]) {
    for statement in statements {
        let text = statement.text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
        let text = text.unwrap_or_else(|| "(the statement was erased, or nobody can open it)".to_owned());
        eprintln!("{}", quoted("statement of the patient", &text));
    }
}

async fn query(client: &Client, args: QueryArgs, ctx: &Context) -> Result<(), CliError> {
    let filter = filter_of(client, &args).await?;
    let reader = args.access.reader(client);
    let mut found = match filter.patient {
        Some(patient) => reader.query_of(patient, filter)?.boxed(),
        None => reader.query(filter).boxed(),
    };
    let mut shown = Vec::new();
    let mut more = false;
    while let Some(record) = found.next().await.transpose()? {
        if shown.len() == args.limit {
            more = true;
            break;
        }
        shown.push(record.into_value());
    }
    match more {
        true => eprintln!("there are more; raise --limit"),
        false => ctx.claims("completeness", "each of these is proven; that there are no others is the node's word"),
    }
    if args.decrypt {
        decrypt_all(&reader, shown, ctx).await?;
    } else {
        ctx.print(&Many(shown), |shown| table(&shown.0))?;
    }

    Ok(())
}

/// One document for each record.
async fn decrypt_all(reader: &RecordReader, records: Vec<pb::RecordVersion>, ctx: &Context) -> Result<(), CliError> {
    for record in records {
        let id = RecordId::parse("record_id", &record.record_id)?;
        let patient = PatientPseudonym::parse("patient", &record.patient)?;
        let content = match reader.get_of(patient, id, Some(record.version)).await {
            Ok(opened) => match opened.plaintext {
                Some(plaintext) => Content::of(&plaintext),
                None => Content::NotOpened("entered in error".into()),
            },
            Err(e) => Content::NotOpened(e.to_string()),
        };
        ctx.print(&OpenedView { record, content }, OpenedView::text)?;
    }
    Ok(())
}

/// A record, and its document where this identity can open it.
#[derive(Serialize)]
struct OpenedView {
    #[serde(serialize_with = "json::message")]
    record: pb::RecordVersion,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Document(String),
    /// Not UTF-8.
    DocumentHex(String),
    NotOpened(String),
}

impl Content {
    fn of(plaintext: &[u8]) -> Self {
        match std::str::from_utf8(plaintext) {
            Ok(text) => Self::Document(text.to_owned()),
            Err(_) => Self::DocumentHex(hex::encode(plaintext)),
        }
    }
}

impl OpenedView {
    fn text(&self) -> String {
        let (id, kind) = (hex::encode(&self.record.record_id), escaped(&self.record.kind));
        let body = match &self.content {
            Content::Document(text) => text.lines().map(escaped).collect::<Vec<_>>().join("\n"),
            Content::DocumentHex(text) => text.clone(),
            Content::NotOpened(why) => format!("(not opened: {})", escaped(why)),
        };
        format!("--- {id} version {} {kind}\n{body}", self.record.version)
    }
}

async fn filter_of(client: &Client, args: &QueryArgs) -> Result<QueryFilter, CliError> {
    let named = args.author.iter().fold(Named::default(), Named::identity);
    let named = args.member.iter().fold(named, Named::member);
    for line in strangers_words(&named.strangers(client).await?) {
        eprintln!("{line}");
    }
    let mut filter = QueryFilter {
        patient: args.pseudonym,
        kind: args.kind.clone(),
        author: args.author.as_ref().map(ToString::to_string),
        author_member: args.member.as_ref().map(ToString::to_string),
        from_ms: args.from,
        to_ms: args.to,
        tag: None,
    };
    if let Some(file) = &args.patient_file {
        let patients = Patients::new(client.clone())?;
        let found = patients.find(&patients.canonical(&private::line(file, PATIENT)?)).await?;
        filter.patient = Some(found.ok_or_else(unknown_patient)?);
    }
    if let Some(file) = &args.tag_file {
        let tag = private::line(file, "search tag")?;
        let (name, value) = tag.split_once('=').ok_or_else(|| ClientError::file(file, "is not NAME=VALUE"))?;
        filter.tag = Some(tag_of(search_key(client)?, name, value));
    }
    // A node wants one of these three; one's own records are the best guess.
    if filter.patient.is_none() && filter.tag.is_none() && filter.author_member.is_none() {
        filter.author_member = Some(member(client).to_owned());
    }
    Ok(filter)
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

fn table(records: &[pb::RecordVersion]) -> String {
    let mut lines = vec![format!(
        "{:<32} {:>7} {:<24} C {:<32} {:<24} {}",
        "RECORD", "VERSION", "KIND", "PATIENT", "TIME", "AUTHOR"
    )];
    for r in records {
        let kind = if r.retraction { format!("{} (in error)", r.kind) } else { r.kind.clone() };
        lines.push(format!(
            "{:<32} {:>7} {:<24} {} {:<32} {:<24} {}",
            hex::encode(&r.record_id),
            r.version,
            escaped(&kind),
            confidentiality_code(r),
            hex::encode(&r.patient),
            time_text(r.time_ms),
            escaped(&r.author),
        ));
    }
    lines.join("\n")
}

fn confidentiality_code(record: &pb::RecordVersion) -> &'static str {
    match record.confidentiality() {
        pb::Confidentiality::Unspecified => "?",
        pb::Confidentiality::Unrestricted => "U",
        pb::Confidentiality::Low => "L",
        pb::Confidentiality::Moderate => "M",
        pb::Confidentiality::Normal => "N",
        pb::Confidentiality::Restricted => "R",
        pb::Confidentiality::VeryRestricted => "V",
    }
}

fn time_text(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    time.and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_else(|| ms.to_string())
}

fn parse_time(text: &str) -> Result<u64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write it as 2026-11-20T08:00:00Z".to_owned())?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|_| "is before 1970".to_owned())
}

fn search_key(client: &Client) -> Result<&SearchKey, CliError> {
    Ok(client.identity().search_key().ok_or(ClientError::Setting { setting: "search_key" })?)
}

fn member(client: &Client) -> &str {
    client.identity().spiffe_id().member().as_str()
}

fn read(path: &Path) -> Result<Bytes, CliError> {
    Ok(files::read(path, fhir::FILE_BYTES_MAX)?.into())
}

#[cfg(test)]
mod tests;
