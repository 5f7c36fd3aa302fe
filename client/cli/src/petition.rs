//! `consilium petition`: what patients ask of a hospital about their records and about who read
//! them, and the answers. Texts come from files and are sealed here.

pub(crate) mod view;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use consilium_client::documents::{DocumentHash, salt_path};
use consilium_client::files;
use consilium_client::petitions::{KnownPetition, PetitionAnswer, PetitionDraft, named_person};
use consilium_client::{Client, ClientError, pb};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{PatientPseudonym, PetitionId, RecordId, TransactionId};
use consilium_proto::names::{MemberId, Role};
use consilium_proto::transaction::{Answered, PetitionSubject, VersionRef};
use pb::PetitionKind as Kind;
use zeroize::Zeroizing;

use crate::confirm::Consent;
use crate::context::escaped;
use crate::named::ensure_member;
use crate::patient::evidence;
use crate::words;
use crate::{CliError, Context, SubmittedView};
use view::{DueView, ListView, OpenedView, PetitionView};

/// Bytes of a text before it is sealed.
const TEXT_BYTES_MAX: u64 = 8 * 1024;

/// Patients' petitions
#[derive(Debug, Args)]
pub(crate) struct PetitionArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: PetitionCommand,
}

/// What patients ask of a hospital about their records and about who read them. Each has a
/// deadline, and an answer that stays.
#[derive(Debug, Subcommand)]
pub(crate) enum PetitionCommand {
    /// Ask a hospital (role patient; on paper: role service, clinician or auditor of that hospital)
    Open(Box<OpenArgs>),
    /// Answer, once and for all (role auditor; a correction also service or clinician)
    Answer(Box<AnswerArgs>),
    /// The petitions of a patient, or those that the own hospital is to answer: it was asked, or one
    /// that has left and whose records it keeps
    List {
        /// The patient's pseudonym
        #[arg(value_name = "HEX")]
        patient: Option<PatientPseudonym>,
    },
    /// One of them, with what can be opened of its texts
    Show {
        /// The petition
        #[arg(value_name = "PETITION")]
        petition: PetitionId,
        /// Whose it is, unless the own hospital was asked
        #[arg(long, value_name = "HEX")]
        patient: Option<PatientPseudonym>,
    },
    /// What a hospital owes answers to, proven to be all (role auditor)
    Due {
        /// The hospital that was asked [default: the own one, and those that have left and whose
        /// records it keeps]
        #[arg(value_name = "MEMBER")]
        member: Option<MemberId>,
    },
}

/// Arguments of `petition open`.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// The hospital that is asked
    #[arg(long, value_name = "MEMBER")]
    pub(crate) to: MemberId,
    /// What is asked
    #[arg(long, value_enum)]
    pub(crate) about: About,
    /// The version, RECORD:VERSION (of a correction and a disagreement)
    #[arg(long, value_name = "RECORD:VERSION", value_parser = version)]
    pub(crate) record: Option<VersionRef>,
    /// The transaction of the entry of the list of accesses (of a complaint and a name)
    #[arg(long, value_name = "TRANSACTION")]
    pub(crate) entry: Option<TransactionId>,
    /// The correction that was refused (of a disagreement)
    #[arg(long, value_name = "PETITION")]
    pub(crate) refused: Option<PetitionId>,
    /// What you want to say, sealed for the hospital; of a disagreement for all who may read the
    /// version
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// What the patient signed on paper. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) paper: Option<PathBuf>,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum About {
    /// To put a version of a record right
    Correction,
    /// Whether an access was rightful
    Complaint,
    /// Which person it was
    Name,
    /// Nothing: a statement against a version of which a correction was refused
    Disagreement,
}

/// Arguments of `petition answer`.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The petition
    #[arg(value_name = "PETITION")]
    pub(crate) petition: PetitionId,
    /// It is put right, the complaint was rightful, or the name is told
    #[arg(long, required_unless_present = "refuse", conflicts_with = "refuse")]
    pub(crate) grant: bool,
    /// Why it is refused
    #[arg(long, value_enum, value_name = "REASON")]
    pub(crate) refuse: Option<Reason>,
    /// The version that puts the record right
    #[arg(long, value_name = "VERSION", requires = "grant")]
    pub(crate) amended: Option<u32>,
    /// What to tell the patient, sealed for the identity that asked
    #[arg(long, value_name = "FILE", conflicts_with = "person")]
    pub(crate) text: Option<PathBuf>,
    /// The file that was given as --acting when the record was read, with its salt beside it: who
    /// it was, sealed for the identity that asked
    #[arg(long, value_name = "FILE", requires = "grant")]
    pub(crate) person: Option<PathBuf>,
    /// The letter to the patient. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) letter: Option<PathBuf>,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) ask: Consent,
}

/// Why a petition is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reason {
    /// There is no such version or entry of this hospital
    NotOurs,
    /// The record is right and complete
    Accurate,
    /// The access was rightful
    Rightful,
    /// Who asks is not known well enough
    NotIdentified,
    /// The rights of others outweigh it
    RightsOfOthers,
    /// A law forbids it
    Law,
}

impl From<Reason> for pb::PetitionRefusal {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NotOurs => Self::NotOurs,
            Reason::Accurate => Self::Accurate,
            Reason::Rightful => Self::Rightful,
            Reason::NotIdentified => Self::NotIdentified,
            Reason::RightsOfOthers => Self::RightsOfOthers,
            Reason::Law => Self::Law,
        }
    }
}

/// `RECORD:VERSION`.
fn version(text: &str) -> Result<VersionRef, String> {
    let problem = || format!("{text:?} is no RECORD:VERSION");
    let (record, version) = text.split_once(':').ok_or_else(problem)?;
    let version = version.parse().ok().filter(|version| *version > 0).ok_or_else(problem)?;
    Ok(VersionRef { record: record.parse::<RecordId>().map_err(|_| problem())?, version })
}

/// Runs `consilium petition`.
pub(crate) async fn run(args: PetitionArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    match args.command {
        PetitionCommand::Open(args) => open(*args, &client, ctx).await,
        PetitionCommand::Answer(args) => answer(*args, &client, ctx).await,
        PetitionCommand::List { patient } => {
            let (petitions, now) = client.petitions(patient).await?;
            ctx.claims("completeness", "each of these is proven; that there are no others is the node's word");
            ctx.print(&ListView::new(&petitions, now), ListView::text)
        }
        PetitionCommand::Show { petition, patient } => show(petition, patient, &client, ctx).await,
        PetitionCommand::Due { member } => {
            let due = match &member {
                Some(member) => {
                    ensure_member(&client, member).await?;
                    client.petitions_due(member).await?.unwrap_or_default()
                }
                None => client.petitions_owed().await?,
            };
            let member = member.as_ref().unwrap_or_else(|| client.identity().spiffe_id().member());
            let now = client.certified_head().await?.header.time;
            ctx.print(&DueView::new(member, &due, now), DueView::text)
        }
    }
}

impl OpenArgs {
    fn subject(&self) -> Result<PetitionSubject, CliError> {
        let record = || self.record.ok_or_else(|| CliError::usage("which version? pass --record RECORD:VERSION"));
        let entry = || {
            let missing = || CliError::usage("which entry? pass --entry with its transaction");
            self.entry.ok_or_else(|| missing().hint("it stands below the list of `consilium access log`"))
        };
        match self.about {
            About::Correction => record().map(PetitionSubject::Correction),
            About::Complaint => entry().map(PetitionSubject::Complaint),
            About::Name => entry().map(PetitionSubject::Name),
            About::Disagreement => {
                let refused = self.refused.ok_or_else(|| CliError::usage("which refusal? pass --refused PETITION"))?;
                Ok(PetitionSubject::Disagreement { record: record()?, refused })
            }
        }
    }
}

async fn open(args: OpenArgs, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let subject = args.subject()?;
    ensure_member(client, &args.to).await?;
    let on_paper = client.identity().spiffe_id().role() != Role::Patient;
    if on_paper && args.paper.is_none() {
        return Err(CliError::usage("only a patient's identity asks without paper")
            .hint("pass --paper with the scan of what the patient signed"));
    }
    let text = args.text.as_ref().map(|file| files::read(file, TEXT_BYTES_MAX).map(Zeroizing::new)).transpose()?;
    if subject.kind() == Kind::Disagreement && text.is_none() {
        return Err(CliError::usage("a disagreement is a statement: pass --text FILE"));
    }
    let document = args.paper.map(evidence).transpose()?;
    let draft = PetitionDraft { document, ..PetitionDraft::new(args.patient, args.to, subject) };
    let done = client.open_petition(&draft, text.as_ref().map(|text| &text[..])).await?;
    let view = OpenedView { petition: draft.id.to_string(), transaction: SubmittedView::new(&done) };
    ctx.print(&view, OpenedView::text)
}

async fn find(
    id: PetitionId,
    patient: Option<PatientPseudonym>,
    client: &Client,
) -> Result<(KnownPetition, consilium_proto::ids::TimeMs), CliError> {
    let (petitions, now) = client.petitions(patient).await?;
    let found = petitions.into_iter().find(|petition| petition.id == id);
    let unknown = || CliError::failed(format!("there is no petition {id} for this identity"));
    let found = found.ok_or_else(|| unknown().hint("pass --patient, unless the own hospital was asked"))?;
    Ok((found, now))
}

async fn answer(args: AnswerArgs, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let (petition, now) = find(args.petition, None, client).await?;
    let verdict = match args.refuse {
        Some(reason) => Answered::Refused(reason.into()),
        None => Answered::Granted { amended: args.amended.unwrap_or(0) },
    };
    let text = match (&args.text, &args.person) {
        (Some(file), _) => Some(Zeroizing::new(files::read(file, TEXT_BYTES_MAX)?)),
        (None, Some(file)) => Some(person(file, &petition, client).await?),
        (None, None) => None,
    };
    let about =
        format!("{}\nit will say for ever: {}", PetitionView::new(&petition, now).text(), words::verdict(&verdict));
    args.ask.ask(&about, "Sign this answer?")?;
    let letter = args.letter.map(evidence).transpose()?;
    let done = client.answer_petition(&petition, &PetitionAnswer { verdict, text, letter }).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

/// The salt and the document that an entry of the log commits to.
async fn person(file: &Path, petition: &KnownPetition, client: &Client) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let salt = salt_path(file);
    if !salt.exists() {
        return Err(CliError::failed(format!("{} is not there: the name cannot be shown without it", salt.display())));
    }
    let made = DocumentHash::of_file(file)?;
    let acting = acting(petition, client).await?;
    if acting != Some(made.hash()) {
        return Err(CliError::failed(format!("the entry does not commit to {} with its salt", file.display())));
    }
    let document = Zeroizing::new(files::read(file, TEXT_BYTES_MAX)?);
    Ok(Zeroizing::new([&made.salt()[..], &document].concat()))
}

/// What the entry that a petition is about commits to.
async fn acting(petition: &KnownPetition, client: &Client) -> Result<Option<Hash>, CliError> {
    let entry = TransactionId::try_from(petition.state.entry_id.as_ref());
    let entry = entry.map_err(|_| CliError::failed("the petition is about no entry of a list of accesses"))?;
    Ok(client.decision(entry).await?.event.acting)
}

async fn show(
    id: PetitionId,
    patient: Option<PatientPseudonym>,
    client: &Client,
    ctx: &Context,
) -> Result<(), CliError> {
    let (petition, now) = find(id, patient, client).await?;
    let mut view = PetitionView::new(&petition, now);
    if petition.has_text() {
        let text = opened(petition.open_text(client), || text_is_for(&petition))?;
        view.text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
    }
    if petition.has_answer() {
        let answered = opened(petition.open_answer(client), || answer_is_for(&petition))?;
        view.answer = match answered {
            Some(answer) => Some(told(&answer, &petition, client).await?),
            None => None,
        };
    }
    ctx.print(&view, PetitionView::text)
}

/// A text, if it is for this identity; else says for whom it is.
fn opened(
    text: Result<Zeroizing<Vec<u8>>, ClientError>,
    is_for: impl FnOnce() -> String,
) -> Result<Option<Zeroizing<Vec<u8>>>, CliError> {
    match text {
        Ok(text) => Ok(Some(text)),
        Err(ClientError::Envelope(_) | ClientError::Setting { .. }) => {
            eprintln!("{}", escaped(&is_for()));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
/// An answer; a person only if it is the one to whom the entry commits.
async fn told(answer: &[u8], petition: &KnownPetition, client: &Client) -> Result<String, CliError> {
    let committed = match petition.state.kind() == Kind::Name {
        true => acting(petition, client).await?,
        false => None,
    };
    let text = match &committed {
        Some(acting) => named_person(answer, acting)?,
        None => answer,
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn text_is_for(petition: &KnownPetition) -> String {
    let pb::PetitionState { member, author, patient, record, .. } = &petition.state;
    match (petition.state.kind(), record) {
        (Kind::Disagreement, Some(version)) => {
            let (record, patient) = (hex::encode(&version.record_id), hex::encode(patient));
            let get = format!("consilium record get {record} --version {} --pseudonym {patient}", version.version);
            format!("the statement comes with its record: `{get}`")
        }
        _ => format!(
            "the text does not open with this identity's key: it is for the custodian of {member} and for {author}, \
             with the keys that they had"
        ),
    }
}

fn answer_is_for(petition: &KnownPetition) -> String {
    let pb::PetitionState { author, answered_by, .. } = &petition.state;
    format!(
        "the answer does not open with this identity's key: it is for {author} and for {answered_by}, with the keys \
         that they had"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn arguments(about: About) -> OpenArgs {
        OpenArgs {
            patient: PatientPseudonym([1; 16]),
            to: "a.example".parse().unwrap(),
            about,
            record: None,
            entry: None,
            refused: None,
            text: None,
            paper: None,
        }
    }

    #[test]
    fn whoever_cannot_open_a_text_is_told_for_whom_it_is() {
        let petition = |kind: Kind| KnownPetition {
            id: PetitionId([9; 16]),
            state: pb::PetitionState {
                kind: kind.into(),
                patient: vec![1; 16].into(),
                member: "a.example".into(),
                author: "spiffe://a.example/service/ehr".into(),
                record: Some(pb::VersionRef { record_id: vec![2; 16].into(), version: 3 }),
                answered_by: "spiffe://a.example/auditor/privacy".into(),
                ..Default::default()
            },
            texts: pb::PetitionTexts::default(),
        };
        let shut = || Err(ClientError::Envelope(consilium_proto::envelope::EnvelopeError::Open));
        assert_eq!(opened(shut(), String::new), Ok(None));
        assert!(opened(Err(ClientError::contradiction("x")), String::new).is_err());
        let text = text_is_for(&petition(Kind::Correction));
        assert!(text.contains("for the custodian of a.example and for spiffe://a.example/service/ehr,"), "{text}");
        let statement = text_is_for(&petition(Kind::Disagreement));
        let get = format!("`consilium record get {} --version 3 --pseudonym {}`", "02".repeat(16), "01".repeat(16));
        assert!(statement.ends_with(&get), "{statement}");
        let answer = answer_is_for(&petition(Kind::Name));
        assert!(answer.contains("service/ehr and for spiffe://a.example/auditor/privacy,"), "{answer}");
    }

    #[test]
    fn what_is_asked_about_must_be_said() {
        for about in [About::Correction, About::Complaint, About::Name, About::Disagreement] {
            assert!(arguments(about).subject().is_err(), "{about:?}");
        }
        let record = Some(version(&format!("{}:2", "01".repeat(16))).unwrap());
        let correction = OpenArgs { record, ..arguments(About::Correction) };
        assert_eq!(correction.subject().unwrap().record(), record);
        let refused = Some(PetitionId([2; 16]));
        let disagreement = OpenArgs { record, refused, ..arguments(About::Disagreement) };
        assert_eq!(disagreement.subject().unwrap().kind(), Kind::Disagreement);
        assert!(version("01").is_err() && version(&format!("{}:0", "01".repeat(16))).is_err());
    }
}
