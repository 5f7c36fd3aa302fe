//! Who speaks for a patient, which pseudonyms are one person's, who cares for it: what a member
//! says of a patient. What shows it stays in a file; the ledger gets its salted hash.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use consilium_client::clock::now_ms;
use consilium_client::documents::{DocumentHash, salt_path};
use consilium_client::labels::PassedOn;
use consilium_client::patients::Acceptance;
use consilium_client::pb;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{PatientPseudonym, TimeMs};
use consilium_proto::names::SpiffeId;

use crate::confirm::Consent;
use crate::named::{Named, Unknown};
use crate::when::{When, when};
use crate::words::{parse_level, parse_purpose};
use crate::{CliError, Context, SubmittedView};

/// Whose identity it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Relation {
    /// The patient's own
    #[value(name = "self")]
    Own,
    /// A guardian's
    Guardian,
    /// A proxy's
    Proxy,
    /// An executor's, after the patient's death
    Executor,
}

impl From<Relation> for pb::PatientRelation {
    fn from(relation: Relation) -> Self {
        match relation {
            Relation::Own => Self::Self_,
            Relation::Guardian => Self::Guardian,
            Relation::Proxy => Self::Proxy,
            Relation::Executor => Self::Executor,
        }
    }
}

/// What hands on the salt of a patient's labels.
const HAND_ON: &str = "`consilium patient salt`";

/// Arguments of `patient accept`.
#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// The identity, of role patient
    #[arg(long, value_name = "SPIFFE")]
    pub(crate) identity: SpiffeId,
    /// Whose it is
    #[arg(long, value_enum)]
    pub(crate) relation: Relation,
    /// It may read the patient's records and the list of accesses
    #[arg(long)]
    pub(crate) may_read: bool,
    /// It may sign and revoke consents
    #[arg(long)]
    pub(crate) may_consent: bool,
    /// When it ends, as 2026-11-21T22:00:00Z or +30d; a guardian's must end [default: never]
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) until: Option<When>,
    /// A representative speaks for records of this kind only, such as Immunization: it reads no others,
    /// and its consents open and close no others; may be repeated [default: all]
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Vec<String>,
    /// A representative speaks for records up to this confidentiality: U, L, M, N, R or V
    #[arg(long, value_name = "LEVEL", value_parser = parse_level)]
    pub(crate) up_to: Option<pb::Confidentiality>,
    /// A representative's consents speak of this purpose only, such as TREAT; may be repeated
    /// [default: of any]
    #[arg(long, value_name = "CODE", value_parser = parse_purpose)]
    pub(crate) purpose: Vec<pb::PurposeOfUse>,
    /// What it was accepted upon. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: PathBuf,
    /// Whether it may be accepted before it enrols.
    #[command(flatten)]
    pub(crate) unknown: Unknown,
}

/// Arguments of `patient withdraw`.
#[derive(Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// The identity
    #[arg(long, value_name = "SPIFFE")]
    pub(crate) identity: SpiffeId,
    /// Why. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: PathBuf,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) consent: Consent,
}

/// Arguments of `patient link`.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// A pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// Another pseudonym of the same person
    #[arg(value_name = "OTHER")]
    pub(crate) other: PatientPseudonym,
    /// What shows it. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: PathBuf,
}

/// Arguments of `patient unlink`.
#[derive(Debug, Args)]
pub(crate) struct UnlinkArgs {
    /// A pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// The other
    #[arg(value_name = "OTHER")]
    pub(crate) other: PatientPseudonym,
}

/// Arguments of `patient care`.
#[derive(Debug, Args)]
pub(crate) struct CareArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// When the care ends, at most a year ahead, as 2026-11-21T22:00:00Z or +30d
    #[arg(long, value_name = "TIME", value_parser = when, required_unless_present = "ended", conflicts_with = "ended")]
    pub(crate) until: Option<When>,
    /// It has ended
    #[arg(long)]
    pub(crate) ended: bool,
    /// The admission or referral. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: PathBuf,
}

/// Arguments of `patient death`.
#[derive(Debug, Args)]
pub(crate) struct DeathArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// What shows it, or why it was said in error. Only its salted hash is sent; the salt is written
    /// beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: PathBuf,
    /// It was said in error
    #[arg(long)]
    pub(crate) withdraw: bool,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) consent: Consent,
}

pub(crate) async fn death(args: DeathArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let own = client.identity().spiffe_id().member();
    let about = match args.withdraw {
        true => format!("{own} says that patient {} lives: who was accepted speaks for it again", args.patient),
        false => format!(
            "{own} says that patient {} has died: to {own} neither its own identity nor those of guardians and \
             proxies speak for it any more; consents stay in force",
            args.patient
        ),
    };
    args.consent.ask(&about, "Say so?")?;
    let evidence = evidence(args.evidence)?;
    let done = match args.withdraw {
        true => client.withdraw_death(args.patient, evidence).await?,
        false => client.attest_death(args.patient, evidence).await?,
    };
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

pub(crate) async fn accept(args: AcceptArgs, ctx: &Context) -> Result<(), CliError> {
    if args.relation == Relation::Guardian && args.until.is_none() {
        return Err(CliError::usage("a guardian's acceptance must end").hint("pass --until with the coming of age"));
    }
    let scope = scope(&args);
    if args.relation == Relation::Own && scope.is_some() {
        return Err(CliError::usage("--kind, --up-to and --purpose limit representatives, not the patient itself"));
    }
    let client = ctx.client().await?;
    args.unknown.allow(&Named::default().identity(&args.identity).strangers(&client).await?)?;
    let acceptance = Acceptance {
        identity: args.identity,
        relation: args.relation.into(),
        may_read: args.may_read,
        may_consent: args.may_consent,
        to: args.until.map(|until| TimeMs(until.resolve(now_ms()))),
        evidence: evidence(args.evidence)?,
        scope,
    };
    let done = client.accept_patient(args.patient, &acceptance).await?;
    // So that what it signs names labels; where the member has none, it is given one when it has.
    match client.pass_on_salt(args.patient).await {
        Ok(PassedOn::Nothing | PassedOn::Done) => {}
        Ok(PassedOn::NotKept) => eprintln!("who keeps the salt of the patient's labels hands it on: {HAND_ON}"),
        Err(error) => eprintln!("the salt of the patient's labels was not handed on ({error}): {HAND_ON}"),
    }
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

/// What a representative is to speak for, if not for everything.
fn scope(args: &AcceptArgs) -> Option<pb::RepresentativeScope> {
    let scope = pb::RepresentativeScope {
        kinds: args.kind.clone(),
        ceiling: args.up_to.map_or(0, Into::into),
        purposes: args.purpose.iter().map(|purpose| *purpose as i32).collect(),
    };
    (scope != pb::RepresentativeScope::default()).then_some(scope)
}

pub(crate) async fn withdraw(args: WithdrawArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let rows = client.patient_rows(args.patient).await?;
    let (own, name) = (client.identity().spiffe_id().member().as_str(), args.identity.to_string());
    let mut accepted = rows.state.iter().flat_map(|state| &state.acceptances);
    let accepted = accepted.find(|a| a.member == own && a.identity == name && !a.withdrawn);
    let relation = accepted.map(pb::PatientAcceptance::relation);
    let relation =
        relation.ok_or_else(|| CliError::failed(format!("{own} has not accepted {name} for this patient")))?;
    let about =
        format!("{name} speaks for the patient no more: no consent that it ever signed binds {own} from then on");
    args.consent.ask(&about, "Withdraw the acceptance?")?;
    let evidence = evidence(args.evidence)?;
    let done = client.withdraw_acceptance(args.patient, args.identity, relation, evidence).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

pub(crate) async fn link(args: LinkArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let done = client.link_patients(args.patient, args.other, evidence(args.evidence)?).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

pub(crate) async fn unlink(args: UnlinkArgs, ctx: &Context) -> Result<(), CliError> {
    let done = ctx.client().await?.unlink_patients(args.patient, args.other).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

pub(crate) async fn care(args: CareArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    // The beginning of time is not after now: it has ended.
    let to = TimeMs(args.until.map_or(0, |until| until.resolve(now_ms())));
    let done = client.attest_care(args.patient, to, evidence(args.evidence)?).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

/// The salted hash of a file, and where its salt is.
pub(crate) fn evidence(file: PathBuf) -> Result<Hash, CliError> {
    let hash = DocumentHash::of_file(&file)?.hash();
    eprintln!("the salt of its hash is in {}: keep it with the document", salt_path(&file).display());
    Ok(hash)
}
