//! `consilium consent check`: what the consents of a patient say of a question.

use std::path::PathBuf;

use clap::Args;
use consilium_client::consents::{ConsentSays, Explained, Question};
use consilium_client::{Client, ClientError, pb};
use consilium_proto::ids::{PatientPseudonym, ProjectTag, RecordId, TimeMs};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{Confidentiality, ConsentBase, PurposeOfUse};
use consilium_proto::state::keys;
use consilium_proto::{purpose, state};
use prost::Message;
use serde::Serialize;

use crate::named::{Named, strangers_words};
use crate::record::Labelling;
use crate::when::{When, when};
use crate::words::{self, parse_level, parse_purpose};
use crate::{CliError, Context};

/// Arguments of `consent check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// Who would read
    #[arg(long, value_name = "SPIFFE")]
    pub(crate) reader: SpiffeId,
    /// What for
    #[arg(long, value_name = "CODE", value_parser = parse_purpose)]
    pub(crate) purpose: PurposeOfUse,
    /// Kind of the record, such as Observation
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: String,
    /// How confidential it is: U, L, M, N, R or V
    #[arg(long, value_name = "LEVEL", default_value = "N", value_parser = parse_level)]
    pub(crate) level: Confidentiality,
    /// The project of research for which it would be: 32 hexadecimal digits, as `consent list` shows them
    #[arg(long, value_name = "ID")]
    pub(crate) project: Option<ProjectTag>,
    /// File with labels of the record, one on each line: a sensitivity code such as PSY, or a level. The
    /// own member's salt, or that of --custodian, must be kept by this identity; a record without labels
    /// is asked about without it
    #[arg(long, value_name = "FILE")]
    pub(crate) labels_file: Option<PathBuf>,
    /// The member that wrote the record [default: the own member]
    #[arg(long, value_name = "MEMBER")]
    pub(crate) custodian: Option<MemberId>,
    /// Who wrote it; without one no rule matches that names authors
    #[arg(long, value_name = "SPIFFE")]
    pub(crate) author: Option<SpiffeId>,
    /// The record; without one no rule matches that names records
    #[arg(long, value_name = "RECORD")]
    pub(crate) record: Option<RecordId>,
    /// When, as 2026-11-21T22:00:00Z [default: at the newest block]
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) at: Option<When>,
}

impl CheckArgs {
    fn named(&self) -> Named {
        let named = self.author.iter().fold(Named::default().identity(&self.reader), Named::identity);
        self.custodian.iter().fold(named, Named::member)
    }
}

/// What consents say.
#[derive(Serialize)]
pub(super) struct CheckView {
    pub(super) reader: String,
    pub(super) purpose: &'static str,
    pub(super) custodian: String,
    /// The strongest word.
    pub(super) says: &'static str,
    /// The consent that said it; null if the members' rule for patients without one did, or none.
    pub(super) decided_by: Option<String>,
    pub(super) decided_by_version: Option<u32>,
    /// No consent binds the custodian.
    pub(super) implicit: bool,
    pub(super) consents: Vec<SaysView>,
    pub(super) at_height: u64,
}

#[derive(Serialize)]
pub(super) struct SaysView {
    consent: String,
    version: u32,
    /// Whether it binds the custodian, and is in force.
    binds: bool,
    says: &'static str,
}

pub(super) async fn run(args: CheckArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    for line in strangers_words(&args.named().strangers(&client).await?) {
        eprintln!("{line}");
    }
    let pseudonyms = client.linked_patient_rows(args.patient).await?;
    let header = &pseudonyms.patient.header;
    let custodian = args.custodian.unwrap_or_else(|| client.identity().spiffe_id().member().clone());
    let keepers = client.custody_of(&custodian).await?.map(|custody| custody.keepers).unwrap_or_default();
    let labels = args.labels_file.as_deref().map(Labelling::of_file).transpose()?;
    let tags = match &labels {
        Some(labels) => client.label_tags(&pseudonyms.patient, &custodian, labels.codes())?,
        None => Vec::new(),
    };
    let question = Question {
        keepers,
        tags,
        reader: args.reader,
        purpose: args.purpose,
        project: args.project,
        custodian,
        author: args.author,
        record: args.record,
        kind: args.kind,
        confidentiality: labels.and_then(|labels| labels.level()).map_or(args.level, |level| level.max(args.level)),
        time: args.at.map_or(header.time, |at| TimeMs(at.resolve(header.time.0))),
    };
    let said = pseudonyms.explain(&question, implicit(&client).await?);
    let view = CheckView::new(&question, &said, header.height.0);
    ctx.print(&view, CheckView::text)
}

/// What the members have agreed on for patients without a consent.
async fn implicit(client: &Client) -> Result<ConsentBase, CliError> {
    let row = client.proven_state(&keys::parameters()).await?;
    let none = || ClientError::contradiction(format!("the state has no {}", state::describe(&keys::parameters())));
    let parameters = pb::Parameters::decode(row.ok_or_else(none)?).map_err(|_| none())?;
    let base = i32::try_from(parameters.implicit_consent).ok().and_then(|base| ConsentBase::try_from(base).ok());
    // As the rules have it.
    Ok(base.unwrap_or(ConsentBase::BreakGlassOnly))
}

impl CheckView {
    pub(super) fn new(question: &Question, said: &Explained, at_height: u64) -> Self {
        Self {
            reader: question.reader.to_string(),
            purpose: purpose::code(question.purpose),
            custodian: question.custodian.to_string(),
            says: words::said(said.said),
            decided_by: said.decided_by.map(|(id, _)| id.to_string()),
            decided_by_version: said.decided_by.map(|(_, version)| version),
            implicit: said.implicit,
            consents: said.each.iter().map(SaysView::new).collect(),
            at_height,
        }
    }

    pub(super) fn text(&self) -> String {
        let who = match (&self.decided_by, self.implicit) {
            (Some(id), _) => format!("consent {id}"),
            (None, true) => "no consent binds the custodian; the members' rule for that case".to_owned(),
            (None, false) => "every consent".to_owned(),
        };
        let mut lines = vec![format!("{who} {}", self.says)];
        lines.extend(self.consents.iter().map(SaysView::text));
        lines.push(
            "beside consents count: who wrote the record, its hospital's own people, the patient, a declared".into(),
        );
        lines.push("emergency, and the access policy; the ledger decides when it is asked".into());
        lines.join("\n")
    }
}

impl SaysView {
    fn new(says: &ConsentSays) -> Self {
        let ConsentSays { id, version, binds, said } = says;
        Self { consent: id.to_string(), version: *version, binds: *binds, says: words::said(*said) }
    }

    fn text(&self) -> String {
        let binds = if self.binds { "" } else { "does not count here: " };
        format!("  {} version {}: {binds}{}", self.consent, self.version, self.says)
    }
}
