//! `consilium emergency`: breaking the glass, and reviewing that it was right.

mod drill;
mod due;
mod text;
mod watch;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use consilium_client::emergencies::Declaration;
use consilium_client::{Client, files, pb};
use consilium_proto::ids::{EmergencyId, PatientPseudonym, RecordId};
use consilium_proto::limits::EMERGENCY_PLAINTEXT_BYTES_MAX;
use consilium_proto::transaction::VersionRef;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::confirm::Consent;
use crate::patient::evidence;
use crate::record::{print_opened, write_out};
use crate::text::time_ms;
use crate::words;
use crate::{CliError, Context, SubmittedView};

/// Declare and review emergencies
#[derive(Debug, Args)]
pub(crate) struct EmergencyArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: EmergencyCommand,
}

/// What to do with emergencies.
#[derive(Debug, Subcommand)]
pub(crate) enum EmergencyCommand {
    /// Open a patient's records to yourself, whatever consents say, until it ends (role clinician
    /// or service). The patient sees it, and an auditor reviews it
    Declare(DeclareArgs),
    /// Say whether an emergency was justified, once and for all (role auditor of its member)
    Review(ReviewArgs),
    /// Which reviews a hospital owes, proven to be all (role auditor). While one is overdue, the access
    /// policy may narrow what all people of that hospital read elsewhere
    Due(due::DueArgs),
    /// Drill it on a patient that there is not: write, declare, read and review, and tell how long
    /// it took
    Drill(drill::DrillArgs),
    /// Show why it was declared, in words (the custodian, or an auditor who has the custody key)
    Text(text::TextArgs),
    /// Tell emergencies as they come, until interrupted: to auditors of the members that are
    /// concerned, and to the patient and those who speak for it
    Watch(watch::WatchArgs),
}

/// Arguments of `emergency declare`.
#[derive(Debug, Args)]
pub(crate) struct DeclareArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// Why
    #[arg(long, value_enum)]
    pub(crate) reason: Reason,
    /// Read this record by the same transaction, RECORD or RECORD:VERSION, and show its document; may
    /// be repeated
    #[arg(long = "read", value_name = "RECORD", value_parser = version)]
    pub(crate) records: Vec<VersionRef>,
    /// Write the document here, byte for byte, instead of showing it; an existing file is left alone.
    /// With one --read
    #[arg(long, value_name = "FILE", requires = "records")]
    pub(crate) out: Option<PathBuf>,
    /// Why, in words, at most 6 KiB: sealed for the custody key of the own member, which must have
    /// named one
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// Who acts, for a system that asks for people. Only its salted hash is sent; the salt is
    /// written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) acting: Option<PathBuf>,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) ask: Consent,
}

/// Why an emergency is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reason {
    /// The patient cannot be asked
    CannotConsent,
    /// The patient's life or health is in danger
    Danger,
    /// Others are in danger
    ThreatToOthers,
    /// A disaster, or many injured at once
    Disaster,
}

impl From<Reason> for pb::EmergencyReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::CannotConsent => Self::CannotConsent,
            Reason::Danger => Self::Danger,
            Reason::ThreatToOthers => Self::ThreatToOthers,
            Reason::Disaster => Self::Disaster,
        }
    }
}

/// Arguments of `emergency review`.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// The emergency
    #[arg(value_name = "EMERGENCY")]
    pub(crate) emergency: EmergencyId,
    /// What was found
    #[arg(long, value_enum)]
    pub(crate) verdict: Verdict,
    /// The review's text. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) note: Option<PathBuf>,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) ask: Consent,
}

/// What a review found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdict {
    /// It was an emergency
    Justified,
    /// It was none; it ends at once
    NotJustified,
}

impl From<Verdict> for pb::ReviewVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Justified => Self::Justified,
            Verdict::NotJustified => Self::NotJustified,
        }
    }
}

/// `RECORD` or `RECORD:VERSION`.
pub(crate) fn version(text: &str) -> Result<VersionRef, String> {
    let problem = || format!("{text:?} is no RECORD or RECORD:VERSION");
    let (record, version) = match text.split_once(':') {
        Some((record, version)) => (record, version.parse().ok().filter(|version| *version > 0).ok_or_else(problem)?),
        None => (text, 0),
    };
    Ok(VersionRef { record: record.parse::<RecordId>().map_err(|_| problem())?, version })
}

/// A declared emergency.
#[derive(Serialize)]
struct DeclaredView {
    emergency: String,
    /// Null: records were read by the same transaction; it stands in the patient's list.
    transaction: Option<SubmittedView>,
}

impl DeclaredView {
    fn text(&self) -> String {
        let declared = format!("emergency {}", self.emergency);
        self.transaction.iter().fold(declared, |text, done| format!("{text}\n{}", done.text()))
    }
}

/// Runs `consilium emergency`.
pub(crate) async fn run(args: EmergencyArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        EmergencyCommand::Declare(args) => declare(args, &ctx.client().await?, ctx).await,
        EmergencyCommand::Review(args) => review(args, &ctx.client().await?, ctx).await,
        EmergencyCommand::Due(args) => due::run(args, ctx).await,
        EmergencyCommand::Drill(args) => drill::run(args, ctx).await,
        EmergencyCommand::Text(args) => text::run(args, ctx).await,
        EmergencyCommand::Watch(args) => watch::run(args, ctx).await,
    }
}

async fn declare(args: DeclareArgs, client: &Client, ctx: &Context) -> Result<(), CliError> {
    if args.out.is_some() && args.records.len() != 1 {
        return Err(CliError::usage("--out takes one document: give --read once, or leave --out out"));
    }
    let reason = args.reason.into();
    let about = format!(
        "{} declares an emergency of patient {}: {}\nit is logged for ever, the patient sees it, and it is reviewed",
        client.identity().spiffe_id(),
        args.patient,
        words::reason(reason)
    );
    args.ask.ask(&about, "Break the glass?")?;
    let declaration = Declaration::new(args.patient, reason);
    let declaration = match args.acting {
        Some(acting) => declaration.acting(evidence(acting)?),
        None => declaration,
    };
    let mut declaration = match args.text {
        Some(text) => telling(declaration, &text, client).await?,
        None => declaration,
    };
    if !args.records.is_empty() {
        return read(args.patient, &mut declaration, &args.records, args.out.as_deref(), client, ctx).await;
    }
    let done = client.declare_emergency(&mut declaration).await?;
    let transaction = Some(SubmittedView::new(&done));
    ctx.print(&DeclaredView { emergency: declaration.id().to_string(), transaction }, DeclaredView::text)
}

/// Declares it and reads by one transaction.
async fn read(
    patient: PatientPseudonym,
    declaration: &mut Declaration,
    records: &[VersionRef],
    out: Option<&Path>,
    client: &Client,
    ctx: &Context,
) -> Result<(), CliError> {
    let opened = client.declare_and_read(declaration, records).await;
    let emergency = declaration.id().to_string();
    let again = format!(
        "if it was declared nevertheless: consilium record get RECORD --pseudonym {patient} --emergency {emergency}"
    );
    let mut opened = opened.map_err(|e| CliError::from(e).hint(again))?;
    ctx.print(&DeclaredView { emergency, transaction: None }, DeclaredView::text)?;
    let missing = records.len() - opened.len().min(records.len());
    match (out, opened.pop()) {
        (Some(_), Some(document)) => write_out(document, out)?,
        (_, last) => print_opened(opened.into_iter().chain(last).collect(), ctx)?,
    }
    match missing {
        0 => Ok(()),
        _ => Err(CliError::failed(format!(
            "the emergency is declared; {missing} of {} records are none of this patient's that it opens",
            records.len()
        ))),
    }
}

/// Adds a text for the custodian of the own member.
async fn telling(declaration: Declaration, text: &Path, client: &Client) -> Result<Declaration, CliError> {
    let member = client.identity().spiffe_id().member();
    let custodian = client.custodian_of(member).await?;
    let none = || {
        CliError::failed(format!("{member} has named no custody key (consilium custodian set-key): leave out --text"))
    };
    let text = Zeroizing::new(files::read(text, EMERGENCY_PLAINTEXT_BYTES_MAX as u64)?);
    Ok(declaration.telling(&text, &client.genesis().ledger_id, &custodian.ok_or_else(none)?.key)?)
}

async fn review(args: ReviewArgs, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let state = client.emergency(args.emergency).await?;
    let state = state.ok_or_else(|| CliError::failed(format!("there is no emergency {}", args.emergency)))?;
    let verdict = match args.verdict {
        Verdict::Justified => "was justified",
        Verdict::NotJustified => "was NOT justified, and ends at once",
    };
    let about = format!("{}\nthe review will say for ever that it {verdict}", told(&state));
    args.ask.ask(&about, "Sign this review?")?;
    let note = args.note.map(evidence).transpose()?;
    let done = client.review_emergency(args.emergency, args.verdict.into(), note).await?;
    ctx.print(&SubmittedView::new(&done), SubmittedView::text)
}

/// What the ledger says of an emergency.
fn told(state: &pb::EmergencyState) -> String {
    let reviewed = match state.reviewer.is_empty() {
        true => format!("to be reviewed by {}", time_ms(state.review_due_ms)),
        false => format!("reviewed already, by {}", state.reviewer),
    };
    format!(
        "{} declared an emergency of patient {}: {}\nfrom {} to {}, {reviewed}",
        state.reader,
        hex::encode(&state.patient),
        words::reason(state.reason()),
        time_ms(state.from_ms),
        time_ms(state.to_ms),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json;

    #[test]
    fn scripts_get_the_emergency() {
        let view = DeclaredView { emergency: "0e".repeat(16), transaction: Some(crate::tests::submitted()) };
        json::snapshot::check("emergency", &view);
    }

    #[test]
    fn records_are_named_with_or_without_a_version() {
        let id = "01".repeat(16);
        assert_eq!(version(&id).unwrap().version, 0);
        assert_eq!(version(&format!("{id}:3")).unwrap(), VersionRef { record: RecordId([1; 16]), version: 3 });
        for bad in ["", "01", &format!("{id}:0"), &format!("{id}:x")] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_reviews_sees_who_declared_it_and_why() {
        let state = pb::EmergencyState {
            patient: vec![1; 16].into(),
            reader: "spiffe://a.example/clinician/c-1".into(),
            reason: pb::EmergencyReason::Danger.into(),
            ..Default::default()
        };
        let text = told(&state);
        assert!(text.starts_with("spiffe://a.example/clinician/c-1 declared an emergency of patient 0101"), "{text}");
        assert!(text.contains("life or health is in danger") && text.contains("to be reviewed by"), "{text}");
        let reviewed = told(&pb::EmergencyState { reviewer: "spiffe://a.example/auditor/x".into(), ..state });
        assert!(reviewed.contains("reviewed already"), "{reviewed}");
    }
}
