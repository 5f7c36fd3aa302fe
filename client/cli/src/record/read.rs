//! `consilium record get`, `query` and `history`: what is read, and for what.

use std::path::{Path, PathBuf};

use clap::Args;
use consilium_client::patients::Patients;
use consilium_client::records::{Access, Opened, QueryFilter, RecordReader, Shown, Statement, TAG_NAMES, tag_of};
use consilium_client::{Client, ClientError, files};
use consilium_proto::ids::{DisclosureId, PatientPseudonym, RecordId};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb;
use consilium_proto::resource_types::RESOURCE_TYPES;
use consilium_proto::transaction::{VersionRef, check_kind};
use consilium_proto::when::utc_ms;
use futures::StreamExt;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::access::AccessArgs;
use super::{PATIENT, search_key, unknown_patient};
use crate::context::{escaped, write_stdout};
use crate::json::{self, Many, One};
use crate::named::{Named, strangers_words};
use crate::private;
use crate::text::quoted;
use crate::{CliError, Context};

/// Records shown by a query unless the caller wants another number.
const QUERY_LIMIT: usize = 100;
/// From how alike two names are, 0 to 1, the one may be a slip of the other.
const ALIKE: f64 = 0.85;

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
    #[arg(long, conflicts_with_all = ["out", "acting", "project"])]
    pub(crate) metadata: bool,
    /// Whose record it is (pseudonym); needed for records of other members
    #[arg(long, value_name = "HEX", conflicts_with = "metadata")]
    pub(crate) pseudonym: Option<PatientPseudonym>,
    /// The document is taken along, to be handed on or used elsewhere: it stands so in the patient's list
    #[arg(long, requires = "pseudonym", conflicts_with_all = ["metadata", "without_quorum"])]
    pub(crate) export: bool,
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
    /// Resource type of FHIR R4, such as Observation
    #[arg(long, value_parser = parse_kind)]
    pub(crate) kind: Option<String>,
    /// A kind of record that is no resource type
    #[arg(long, value_name = "KIND", conflicts_with = "kind", value_parser = parse_other_kind)]
    pub(crate) other_kind: Option<String>,
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

/// Runs `record history`.
pub(super) async fn history(client: &Client, args: HistoryArgs, ctx: &Context) -> Result<(), CliError> {
    let reader = args.access.reader(client)?;
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

/// Runs `record get`.
pub(super) async fn get(client: &Client, args: GetArgs, ctx: &Context) -> Result<(), CliError> {
    let access = Access { sealed_by: args.sealed_by, export: args.export, ..args.access.access(client)? };
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
    write_out(opened, args.out.as_deref())
}

/// Writes a document as it was submitted, to stdout or into a new file.
pub(crate) fn write_out(opened: Opened, out: Option<&Path>) -> Result<(), CliError> {
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
    match out {
        Some(path) => Ok(files::write_new(path, &plaintext, files::SECRET_MODE)?),
        None => write_stdout(&plaintext),
    }
}

/// Prints what was read, each with what the ledger says of it.
pub(crate) fn print_opened(opened: Vec<Opened>, ctx: &Context) -> Result<(), CliError> {
    for Opened { record, plaintext, disagreements } in opened {
        let shown = record.into_value();
        tell_newer(&shown);
        tell_statements(&disagreements);
        let content = plaintext.map_or_else(Content::retracted, |plaintext| Content::of(&plaintext));
        ctx.print(&OpenedView { record: shown.version, content }, OpenedView::text)?;
    }
    Ok(())
}

fn tell_newer(Shown { version: record, newest, retracted, disagreements, member: _ }: &Shown) {
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

/// Runs `record query`.
pub(super) async fn query(client: &Client, args: QueryArgs, ctx: &Context) -> Result<(), CliError> {
    let filter = filter_of(client, &args).await?;
    let reader = args.access.reader(client)?;
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
                None => Content::retracted(),
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
    fn retracted() -> Self {
        Self::NotOpened("entered in error".into())
    }

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
    let mut filter = conditions(args)?;
    let named = args.author.iter().fold(Named::default(), Named::identity);
    let named = args.member.iter().fold(named, Named::member);
    for line in strangers_words(&named.strangers(client).await?) {
        eprintln!("{line}");
    }
    if let Some(file) = &args.patient_file {
        let patients = Patients::new(client.clone())?;
        let found = patients.find_named(&patients.named(&private::line(file, PATIENT)?)).await?;
        filter.patient = Some(found.ok_or_else(unknown_patient)?);
    }
    if let Some(file) = &args.tag_file {
        let tag = private::line(file, "search tag")?;
        let (name, value) = parse_tag(&tag).map_err(|problem| ClientError::file(file, problem))?;
        filter.tag = Some(tag_of(search_key(client)?, name, value));
    }
    // A node wants one of these three; one's own records are the best guess.
    if filter.patient.is_none() && filter.tag.is_none() && filter.author_member.is_none() {
        filter.author_member = Some(client.home().member().to_owned());
    }
    Ok(filter)
}

/// What can be said without a look at the ledger; refused before anybody is asked.
fn conditions(args: &QueryArgs) -> Result<QueryFilter, CliError> {
    let filter = QueryFilter {
        patient: args.pseudonym,
        kind: args.kind.clone().or_else(|| args.other_kind.clone()),
        author: args.author.as_ref().map(ToString::to_string),
        author_member: args.member.as_ref().map(ToString::to_string),
        from_ms: args.from,
        to_ms: args.to,
        tag: None,
    };
    filter.check()?;
    Ok(filter)
}

/// Name and value of a search tag; what is wrong with it is told without its value.
fn parse_tag(tag: &str) -> Result<(&str, &str), String> {
    let (name, value) = tag.split_once('=').ok_or("is not NAME=VALUE")?;
    if !TAG_NAMES.contains(&name) {
        let (last, first) = TAG_NAMES.split_last().unwrap_or((&"", &[]));
        return Err(format!("no records are found by such a tag: its name is none of {} and {last}", first.join(", ")));
    }
    if value.is_empty() { Err("has no value behind '='".to_owned()) } else { Ok((name, value)) }
}

fn parse_kind(text: &str) -> Result<String, String> {
    if RESOURCE_TYPES.contains(&text) {
        return Ok(text.to_owned());
    }
    let alike = |kind: &&str| strsim::jaro_winkler(&kind.to_lowercase(), &text.to_lowercase());
    let nearest = RESOURCE_TYPES.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let meant = nearest.filter(|kind| alike(kind) >= ALIKE).map(|kind| format!("; did you mean {kind}?"));
    let meant = meant.unwrap_or_else(|| "; a kind that is none is asked for with --other-kind".to_owned());
    Err(format!("no resource type of FHIR R4 is called \"{text}\"{meant}"))
}

fn parse_other_kind(text: &str) -> Result<String, String> {
    check_kind(text).map_err(|error| error.problem.to_string())?;
    Ok(text.to_owned())
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
            utc_ms(r.time_ms).to_string(),
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

fn parse_time(text: &str) -> Result<u64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "write it as 2026-11-20T08:00:00Z".to_owned())?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|_| "is before 1970".to_owned())
}

#[cfg(test)]
mod tests;
