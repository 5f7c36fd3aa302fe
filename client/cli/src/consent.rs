//! `consilium consent`: what patients let others read, and forbid them to. What a consent says
//! comes from a FHIR Consent through the translator, or from arguments for the simple cases.

mod beside;
mod check;
mod draft;
mod export;
mod reach;

use std::collections::BTreeSet;
use std::time::Instant;

use clap::{Args, Subcommand};
use consilium_client::access_log::KnownConsent;
use consilium_client::consents::{ConsentDraft, Consents};
use consilium_client::labels::Labels;
use consilium_client::patients::Patients;
use consilium_client::{Client, ClientError};
use consilium_proto::consent::{Grant, Rule};
use consilium_proto::ids::{ConsentId, PatientPseudonym, TimeMs};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::ConsentEffect;
use consilium_proto::purpose;
use serde::Serialize;
use tonic::Code;

use crate::confirm::Consent;
use crate::context::escaped;
use crate::named::{Named, strangers_words};
use crate::text::time_ms;
use crate::words;
use crate::{CliError, Context, SubmittedView};
use draft::{PutArgs, Said};
use reach::RevokedView;

const DAY_MS: u64 = 24 * 3_600_000;
/// What ends sooner is told whenever consents are listed.
const REMINDER_DAYS: u64 = 30;

/// Consents of patients
#[derive(Debug, Args)]
pub(crate) struct ConsentArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ConsentCommand,
}

/// What patients let others read, and forbid them to. A patient's identity signs its own; a
/// service or a clinician puts what was signed on paper, which binds its member alone.
#[derive(Debug, Subcommand)]
pub(crate) enum ConsentCommand {
    /// Put a consent, or a further version of one
    Put(Box<PutArgs>),
    /// End a consent; what was read before stays read
    Revoke {
        /// The consent
        #[arg(value_name = "CONSENT")]
        consent: ConsentId,
        /// Whether to ask.
        #[command(flatten)]
        ask: Consent,
        #[command(flatten)]
        wait: reach::Wait,
    },
    Reach(reach::ReachArgs),
    /// The consents of a patient that are not revoked
    List {
        /// The patient's pseudonym
        #[arg(value_name = "HEX")]
        patient: PatientPseudonym,
    },
    /// Write a consent as a FHIR R4 Consent into a file
    Export(Box<export::ExportArgs>),
    /// What a patient's consents say of a reader and a record, and which one decides
    Check(Box<check::CheckArgs>),
}

/// Runs `consilium consent`.
pub(crate) async fn run(args: ConsentArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        ConsentCommand::Put(args) => put(*args, ctx).await,
        ConsentCommand::Revoke { consent, ask, wait } => {
            let client = ctx.client().await?;
            let about = format!("ends consent {consent}: what was read, and whose keys were given out, stays so");
            ask.ask(&about, "Revoke it?")?;
            let began = Instant::now();
            let done = Consents::new(client.clone()).revoke(consent).await?;
            let certified_after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let reach = reach::after(&client, done.height, wait, ctx).await;
            let view = RevokedView { transaction: SubmittedView::new(&done), certified_after_ms, reach };
            ctx.print(&view, RevokedView::text)
        }
        ConsentCommand::Reach(args) => reach::run(args, ctx).await,
        ConsentCommand::List { patient } => {
            let client = ctx.client().await?;
            let rows = client.linked_patient_rows(patient).await?;
            let labels = client.labels_in(&rows)?;
            let (consents, now) = (rows.patient.consents.iter(), rows.patient.header.time);
            let consents = consents.map(|consent| ConsentView::new(consent, &labels, now)).collect();
            ctx.print(&ListView { consents }, ListView::text)
        }
        ConsentCommand::Export(args) => export::run(*args, ctx).await,
        ConsentCommand::Check(args) => check::run(*args, ctx).await,
    }
}

async fn put(args: PutArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let paper = client.identity().spiffe_id().role() != Role::Patient;
    if paper && args.paper.is_none() {
        return Err(CliError::usage("only a patient's identity signs a consent without paper")
            .hint("pass --paper with the scan of what the patient signed"));
    }
    let labels = labels_for(&client, &args, paper).await?;
    let said = args.said(&labels)?;
    let strangers = Named::of_grant(&said.grant).strangers(&client).await?;
    args.unknown.allow_unless_asked(args.ask, &strangers)?;
    let compared = is_of_patient(&client, &said, args.patient).await?;
    let version = match args.replaces {
        Some(id) => Some((id, current_version(&client, args.patient, id).await?)),
        None => None,
    };
    let warnings = match (&args.fhir, version) {
        (Some(_), None) => beside::warnings(&client, args.patient).await?,
        _ => Vec::new(),
    };
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    let plan = plan(&said, (&labels, &strangers), compared, version.map(|(_, version)| version));
    args.ask.ask(&plan, "Put this consent?")?;
    let document = args.paper.map(crate::patient::evidence).transpose()?;
    let new = ConsentDraft::new(args.patient, said.grant, document);
    let mut draft = match version {
        Some((id, version)) => new.replacing(id, version)?,
        None => new,
    };
    let done = Consents::new(client).put(&mut draft).await?;
    let view = PutView {
        consent: draft.id.to_string(),
        version: draft.version,
        widened: said.widened,
        warnings,
        transaction: SubmittedView::new(&done),
    };
    ctx.print(&view, |v| format!("consent {} version {}\n{}", v.consent, v.version, v.transaction.text()))
}

/// The salts by which the labels of a document are blinded. Whoever puts paper writes records, and
/// makes the salt where there is none; a patient has what it was given. Without one a denial is put
/// all the same: it denies everything that is labelled.
async fn labels_for(client: &Client, args: &PutArgs, paper: bool) -> Result<Labels, CliError> {
    if !args.names_labels()? {
        return Ok(Labels::default());
    }
    if paper {
        match client.ensure_salt(args.patient).await {
            Ok(_) => {}
            Err(ClientError::Usage(why)) => eprintln!("{why}"),
            Err(error) => return Err(error.into()),
        }
    }
    known_labels(client, args.patient).await
}

/// What is kept; nothing by who may not know of the patient.
async fn known_labels(client: &Client, patient: PatientPseudonym) -> Result<Labels, CliError> {
    match client.labels(patient).await {
        Err(ClientError::Status { code: Code::NotFound, .. }) => Ok(Labels::default()),
        labels => Ok(labels?),
    }
}

/// Whether the document was found to be this patient's; false: nothing to compare it with.
async fn is_of_patient(client: &Client, said: &Said, patient: PatientPseudonym) -> Result<bool, CliError> {
    let Some(reference) = &said.patient_reference else { return Ok(true) };
    if client.identity().search_key().is_none() || client.identity().spiffe_id().role() == Role::Patient {
        return Ok(false);
    }
    match Patients::new(client.clone())?.find(reference).await? {
        Some(found) if found == patient => Ok(true),
        Some(_) | None => Err(CliError::failed("the document is of another patient than this pseudonym is")),
    }
}

async fn current_version(client: &Client, patient: PatientPseudonym, id: ConsentId) -> Result<u32, CliError> {
    let rows = client.patient_rows(patient).await?;
    let found = rows.consents.iter().find(|consent| consent.id == id);
    let found = found.ok_or_else(|| ClientError::Usage(format!("the patient has no consent {id} in force")))?;
    Ok(found.state.version)
}

/// What is about to be signed.
fn plan(said: &Said, (labels, strangers): (&Labels, &[SpiffeId]), compared: bool, replaced: Option<u32>) -> String {
    let mut lines = match replaced {
        Some(version) => vec![format!("replaces version {version}; from then on holds:")],
        None => vec!["a new consent:".to_owned()],
    };
    lines.extend(describe(&said.grant, labels));
    lines.extend(strangers_words(strangers));
    if !said.widened.is_empty() {
        lines.push("the document could not be held exactly; it denies MORE than it says at:".to_owned());
        lines.extend(said.widened.iter().map(|place| format!("  {place}")));
    }
    if !compared {
        lines.push("NOT compared: whether the document is this patient's (no search key for that)".to_owned());
    }
    lines.join("\n")
}

/// A grant in words, a line for each rule; labels by name where their salt is kept.
fn describe(grant: &Grant, labels: &Labels) -> Vec<String> {
    let mut lines = vec![format!("  where no rule matches: {}", words::base(grant.base))];
    lines.extend(grant.rules.iter().map(|rule| format!("  {}", rule_words(rule, labels))));
    lines.extend(period_words(grant.period.from.0, grant.period.to.0).map(|when| format!("  in force {when}")));
    lines
}

fn rule_words(rule: &Rule, labels: &Labels) -> String {
    let effect = if rule.effect == ConsentEffect::Permit { "permits" } else { "denies" };
    let mut parts = vec![match rule.grantees.is_empty() {
        true => format!("{effect} everybody"),
        false => format!("{effect} {}", rule.grantees.iter().map(draft::grantee_code).collect::<Vec<_>>().join(", ")),
    }];
    let list = |what: &str, items: Vec<String>| (!items.is_empty()).then(|| format!("{what} {}", items.join(", ")));
    let purposes = rule.purposes.iter().map(|p| format!("{} ({})", words::purpose(*p), purpose::code(*p)));
    parts.extend(list("for", purposes.collect()));
    parts.extend(list("of projects", rule.projects.iter().map(ToString::to_string).collect()));
    parts.extend(list("of kinds", rule.kinds.clone()));
    parts.extend(list("records", rule.records.iter().map(ToString::to_string).collect()));
    parts.extend(list("written at", rule.author_members.clone()));
    parts.extend(list("written by", rule.authors.clone()));
    parts.extend(rule.ceiling.map(|ceiling| format!("up to level {}", words::level(ceiling))));
    parts.extend(list("labelled", label_words(rule, labels)));
    parts.extend(rule.labelled.then(|| "labelled with anything".to_owned()));
    parts.extend(period_words(rule.period.from.0, rule.period.to.0));
    parts.join("; ")
}

/// Each label once, though it is blinded under several salts.
fn label_words(rule: &Rule, labels: &Labels) -> Vec<String> {
    let word = |tag| labels.code(tag).map_or_else(|| tag.to_string(), ToOwned::to_owned);
    let words: BTreeSet<_> = rule.tags.iter().map(word).collect();
    words.into_iter().collect()
}

fn period_words(from_ms: u64, to_ms: u64) -> Option<String> {
    let from = (from_ms != 0).then(|| format!("from {}", time_ms(from_ms)));
    let to = (to_ms != 0).then(|| format!("until {}", time_ms(to_ms)));
    let words: Vec<_> = from.into_iter().chain(to).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// A consent that was put.
#[derive(Serialize)]
struct PutView {
    consent: String,
    version: u32,
    /// Where it denies more than the document says.
    widened: Vec<String>,
    /// Of a FHIR document: consents of the same signer that stay in force beside it.
    warnings: Vec<String>,
    transaction: SubmittedView,
}

/// Consents of a patient, proven.
#[derive(Serialize)]
struct ListView {
    consents: Vec<ConsentView>,
}

#[derive(Serialize)]
struct ConsentView {
    consent: String,
    version: u32,
    /// SPIFFE id of who put it.
    author: String,
    /// The member that it binds, for paper; else null.
    paper_of: Option<String>,
    base: &'static str,
    /// In words.
    says: Vec<String>,
    signed: String,
    /// When it or one of its rules ends next; null: nothing of it ends.
    next_end: Option<String>,
    #[serde(skip)]
    ends_in_days: Option<u64>,
    /// For the records of these members alone it is revoked.
    ended_for: Vec<String>,
    /// Who has revoked it so, if not its author; members that accept one of them later have it
    /// revoked, too.
    ended_by: Vec<String>,
}

impl ConsentView {
    /// As of a block's time.
    fn new(consent: &KnownConsent, labels: &Labels, now: TimeMs) -> Self {
        let paper = &consent.state.paper_member;
        let next_end = consent.grant.next_end(now);
        Self {
            consent: consent.id.to_string(),
            version: consent.state.version,
            author: consent.state.author.clone(),
            paper_of: (!paper.is_empty()).then(|| paper.clone()),
            base: words::base_code(consent.grant.base),
            says: describe(&consent.grant, labels).iter().map(|line| line.trim().to_owned()).collect(),
            signed: time_ms(consent.state.signed_ms),
            next_end: next_end.map(|end| time_ms(end.0)),
            ends_in_days: next_end.map(|end| (end.0 - now.0) / DAY_MS),
            ended_for: consent.state.ended_for.clone(),
            ended_by: consent.state.ended_by.clone(),
        }
    }

    fn text(&self) -> String {
        let by = match &self.paper_of {
            Some(member) => format!("on paper, binds {member} alone"),
            None => format!("signed by {}", self.author),
        };
        let head = format!("consent {} version {}, {by}, {}", self.consent, self.version, self.signed);
        let says = self.says.iter().map(|line| format!("  {line}"));
        let ended = (!self.ended_for.is_empty()).then(|| {
            let until = if self.ended_by.is_empty() { "" } else { " until they accept who revoked it" };
            let ended = self.ended_for.join(", ");
            format!("  revoked for the records of {ended}, and in force for those of others{until}")
        });
        let soon = self.ends_in_days.filter(|days| *days < REMINDER_DAYS).map(|days| {
            let end = self.next_end.as_deref().unwrap_or_default();
            format!(
                "  REMINDER: what it says ends in part or in whole in {days} days, at {end}: put a new version in time"
            )
        });
        std::iter::once(head)
            .chain(says)
            .chain(ended)
            .chain(soon)
            .map(|line| escaped(&line))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl ListView {
    fn text(&self) -> String {
        match self.consents.is_empty() {
            true => "no consents".to_owned(),
            false => self.consents.iter().map(ConsentView::text).collect::<Vec<_>>().join("\n"),
        }
    }
}

#[cfg(test)]
mod tests;
