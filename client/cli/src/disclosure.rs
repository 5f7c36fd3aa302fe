//! `consilium disclosure`: records that a hospital hands to an authority because a law or an order
//! says so. One person says it, another confirms it, and then the patient's list shows it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use consilium_client::clock::now_ms;
use consilium_client::disclosures::{KnownDisclosure, new_disclosure_id, new_seal};
use consilium_client::{Client, pb};
use consilium_proto::ids::{DisclosureId, PatientPseudonym, TimeMs};
use consilium_proto::limits::DISCLOSURE_CONFIRM_MAX_MS;
use consilium_proto::transaction::{Disclose, Seal, VersionRef};
use serde::Serialize;

use crate::confirm::Consent;
use crate::context::escaped;
use crate::emergency::version;
use crate::patient::evidence;
use crate::text::time_ms;
use crate::when::{When, when};
use crate::words;
use crate::{CliError, Context, SubmittedView};

/// Disclosures under a legal duty
#[derive(Debug, Args)]
pub(crate) struct DisclosureArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: DisclosureCommand,
}

/// Records that are handed to an authority because a law or an order says so. The network hands
/// nothing on: two persons of the hospital say that it was done.
#[derive(Debug, Subcommand)]
pub(crate) enum DisclosureCommand {
    /// Say that records of the own hospital are handed on (role service, clinician or auditor)
    Make(Box<MakeArgs>),
    /// Confirm it within seven days, as another person (role auditor): the patient sees it then
    Confirm {
        /// The disclosure
        #[arg(value_name = "DISCLOSURE")]
        disclosure: DisclosureId,
        /// Whether to ask.
        #[command(flatten)]
        ask: Consent,
    },
    /// Those of the own hospital (role auditor; others see what they have said themselves)
    List {
        /// Only those that wait for another person to confirm them
        #[arg(long)]
        waiting: bool,
    },
    /// Show one (role auditor)
    Show {
        /// The disclosure
        #[arg(value_name = "DISCLOSURE")]
        disclosure: DisclosureId,
    },
}

/// Arguments of `disclosure make`.
#[derive(Debug, Args)]
pub(crate) struct MakeArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// Why
    #[arg(long, value_enum)]
    pub(crate) basis: Basis,
    /// The order, or what else obliges. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) order: PathBuf,
    /// To what kind of authority
    #[arg(long, value_enum)]
    pub(crate) to: Recipient,
    /// Who exactly gets them. Only its salted hash is sent; the salt is written beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) recipient: PathBuf,
    /// A record, RECORD or RECORD:VERSION; may be repeated [default: all of the own hospital's]
    #[arg(long = "record", value_name = "RECORD", value_parser = version)]
    pub(crate) records: Vec<VersionRef>,
    /// Keep the entry from the patient until then, at most a year ahead, as 2026-11-21T22:00:00Z or
    /// +30d
    #[arg(long, value_name = "TIME", value_parser = when, requires = "seal_basis", requires = "seal_order")]
    pub(crate) seal_until: Option<When>,
    /// Why it is kept from the patient
    #[arg(long, value_enum, requires = "seal_until")]
    pub(crate) seal_basis: Option<SealReason>,
    /// The order that it be kept secret. Only its salted hash is sent
    #[arg(long, value_name = "FILE", requires = "seal_until")]
    pub(crate) seal_order: Option<PathBuf>,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) ask: Consent,
}

/// Why records are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Basis {
    /// A duty to report to public health
    PublicHealth,
    /// An order of a court
    CourtOrder,
    /// The investigation of a death
    Death,
    /// The investigation of a crime
    Crime,
    /// Oversight of the hospital
    Oversight,
    /// The protection of a child or of another who cannot protect itself
    Protection,
    /// A serious threat to somebody's health or life
    Threat,
}

impl From<Basis> for pb::DisclosureBasis {
    fn from(basis: Basis) -> Self {
        match basis {
            Basis::PublicHealth => Self::PublicHealth,
            Basis::CourtOrder => Self::CourtOrder,
            Basis::Death => Self::Death,
            Basis::Crime => Self::Crime,
            Basis::Oversight => Self::Oversight,
            Basis::Protection => Self::Protection,
            Basis::Threat => Self::Threat,
        }
    }
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recipient {
    /// An authority of public health
    HealthAuthority,
    /// A court
    Court,
    /// A coroner
    Coroner,
    /// The police
    Police,
    /// Who oversees the hospital
    OversightBody,
    /// An authority of welfare
    WelfareAuthority,
    /// Another
    Other,
}

impl From<Recipient> for pb::DisclosureRecipient {
    fn from(recipient: Recipient) -> Self {
        match recipient {
            Recipient::HealthAuthority => Self::HealthAuthority,
            Recipient::Court => Self::Court,
            Recipient::Coroner => Self::Coroner,
            Recipient::Police => Self::Police,
            Recipient::OversightBody => Self::OversightBody,
            Recipient::WelfareAuthority => Self::WelfareAuthority,
            Recipient::Other => Self::Other,
        }
    }
}

/// Why an entry is kept from the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SealReason {
    /// The patient's knowing would defeat an investigation
    Investigation,
    /// The protection of a child or of another who cannot protect itself
    Protection,
    /// Danger to somebody's health or life
    Danger,
}

impl From<SealReason> for pb::SealBasis {
    fn from(reason: SealReason) -> Self {
        match reason {
            SealReason::Investigation => Self::Investigation,
            SealReason::Protection => Self::Protection,
            SealReason::Danger => Self::Danger,
        }
    }
}

/// A disclosure that was made.
#[derive(Serialize)]
struct MadeView {
    disclosure: String,
    transaction: SubmittedView,
}

/// A disclosure, proven.
#[derive(Serialize)]
struct DisclosureView {
    disclosure: String,
    patient: String,
    member: String,
    /// A DisclosureBasis of disclosure.proto.
    basis: &'static str,
    /// A DisclosureRecipient of disclosure.proto.
    recipient: &'static str,
    words: String,
    order_sha256: String,
    recipient_sha256: String,
    /// RECORD:VERSION; none: all that the member has of the patient.
    records: Vec<String>,
    author: String,
    made: String,
    /// Null if nobody has.
    confirmed_by: Option<String>,
    confirmed: Option<String>,
    /// Until when somebody can; null if somebody has.
    confirm_by: Option<String>,
    /// Null if the patient sees it at once.
    sealed_until: Option<String>,
}

/// Disclosures of a hospital, each proven.
#[derive(Serialize)]
struct ListView {
    /// Only those that wait for another person.
    waiting: bool,
    disclosures: Vec<DisclosureView>,
    #[serde(skip)]
    now: TimeMs,
}

/// Runs `consilium disclosure`.
pub(crate) async fn run(args: DisclosureArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    match args.command {
        DisclosureCommand::Make(args) => make(*args, &client, ctx).await,
        DisclosureCommand::Confirm { disclosure, ask } => {
            let view = found(disclosure, &client).await?;
            ask.ask(&format!("{}\nit will stand in the patient's list", view.text()), "Confirm it?")?;
            let done = client.confirm_disclosure(disclosure).await?;
            ctx.print(&SubmittedView::new(&done), SubmittedView::text)
        }
        DisclosureCommand::List { waiting } => {
            let (known, now) = client.disclosures(waiting).await?;
            ctx.claims("completeness", "each of these is proven; that there are no others is the node's word");
            ctx.print(&ListView::new(&known, waiting, now), ListView::text)
        }
        DisclosureCommand::Show { disclosure } => {
            let view = found(disclosure, &client).await?;
            ctx.print(&view, DisclosureView::text)
        }
    }
}

async fn found(id: DisclosureId, client: &Client) -> Result<DisclosureView, CliError> {
    let state = client.disclosure(id).await?;
    let state = state.ok_or_else(|| CliError::failed(format!("there is no disclosure {id}")))?;
    Ok(DisclosureView::new(id, &state))
}

impl MakeArgs {
    fn seal(&self) -> Result<Option<Seal>, CliError> {
        let (Some(until), Some(basis), Some(order)) = (self.seal_until, self.seal_basis, &self.seal_order) else {
            return Ok(None);
        };
        Ok(Some(new_seal(TimeMs(until.resolve(now_ms())), basis.into(), evidence(order.clone())?)))
    }
}

async fn make(args: MakeArgs, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let (basis, recipient) = (args.basis.into(), args.to.into());
    let (what, are) = match args.records.len() {
        0 => ("all records of the own hospital".to_owned(), "are"),
        1 => ("1 record".to_owned(), "is"),
        number => (format!("{number} records"), "are"),
    };
    let seal = args.seal()?;
    let sealed = seal.map_or("the patient sees it".to_owned(), |seal| {
        format!("kept from the patient until {}", time_ms(seal.until.0))
    });
    let about = format!(
        "{} says that {what} of patient {} {are} handed to {}: {}\nit is nothing until an auditor confirms it within \
         seven days (`disclosure list --waiting`); {sealed} then",
        client.identity().spiffe_id(),
        args.patient,
        words::recipient(recipient),
        words::basis(basis),
    );
    args.ask.ask(&about, "Say so?")?;
    let draft = Disclose {
        id: new_disclosure_id(),
        patient: args.patient,
        basis,
        order: evidence(args.order)?,
        records: args.records,
        recipient,
        recipient_hash: evidence(args.recipient)?,
        seal,
    };
    let done = client.disclose(&draft).await?;
    let view = MadeView { disclosure: draft.id.to_string(), transaction: SubmittedView::new(&done) };
    ctx.print(&view, |v| format!("disclosure {}\n{}", v.disclosure, v.transaction.text()))
}

impl ListView {
    fn new(known: &[KnownDisclosure], waiting: bool, now: TimeMs) -> Self {
        let disclosures = known.iter().map(|known| DisclosureView::new(known.id, &known.state));
        Self { waiting, disclosures: disclosures.collect(), now }
    }

    fn text(&self) -> String {
        let now = time_ms(self.now.0);
        match (self.disclosures.is_empty(), self.waiting) {
            (true, true) => format!("no disclosure waits for another person, {now}"),
            (true, false) => "no disclosures".to_owned(),
            (false, _) => self.disclosures.iter().map(DisclosureView::text).collect::<Vec<_>>().join("\n"),
        }
    }
}

impl DisclosureView {
    fn new(id: DisclosureId, state: &pb::DisclosureState) -> Self {
        let version = |v: &pb::VersionRef| format!("{}:{}", hex::encode(&v.record_id), v.version);
        let confirmed = !state.confirmed_by.is_empty();
        Self {
            disclosure: id.to_string(),
            patient: hex::encode(&state.patient),
            member: state.member.clone(),
            basis: state.basis().as_str_name(),
            recipient: state.recipient().as_str_name(),
            words: words::disclosed(state.recipient(), state.basis()),
            order_sha256: hex::encode(&state.order_sha256),
            recipient_sha256: hex::encode(&state.recipient_sha256),
            records: state.records.iter().map(version).collect(),
            author: state.author.clone(),
            made: time_ms(state.opened_ms),
            confirmed_by: confirmed.then(|| state.confirmed_by.clone()),
            confirmed: confirmed.then(|| time_ms(state.confirmed_ms)),
            confirm_by: (!confirmed).then(|| time_ms(state.opened_ms.saturating_add(DISCLOSURE_CONFIRM_MAX_MS))),
            sealed_until: state.seal.as_ref().map(|seal| time_ms(seal.until_ms)),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![
            format!("disclosure {} of {} about patient {}", self.disclosure, self.member, self.patient),
            format!("{}, said {} by {}", self.words, self.made, self.author),
        ];
        lines.push(match self.records.is_empty() {
            true => "all records that it has of the patient".to_owned(),
            false => format!("records {}", self.records.join(", ")),
        });
        lines.push(match (&self.confirmed_by, &self.confirmed, &self.confirm_by) {
            (Some(by), Some(at), _) => format!("confirmed {at} by {by}"),
            (_, _, Some(until)) => {
                format!("NOT confirmed: the patient's list does not have it; another person can until {until}")
            }
            (_, _, None) => "NOT confirmed: the patient's list does not have it".to_owned(),
        });
        lines.extend(self.sealed_until.iter().map(|until| format!("kept from the patient until {until}")));
        lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn view(state: pb::DisclosureState) -> DisclosureView {
        DisclosureView::new(DisclosureId([9; 16]), &state)
    }

    fn state() -> pb::DisclosureState {
        pb::DisclosureState {
            patient: vec![1; 16].into(),
            member: "a.example".into(),
            basis: pb::DisclosureBasis::CourtOrder.into(),
            order_sha256: vec![2; 32].into(),
            records: vec![pb::VersionRef { record_id: vec![3; 16].into(), version: 1 }],
            recipient: pb::DisclosureRecipient::Court.into(),
            recipient_sha256: vec![4; 32].into(),
            author: "spiffe://a.example/clinician/c-1".into(),
            opened_ms: 1_000,
            confirmed_by: "spiffe://a.example/auditor/privacy".into(),
            confirmed_ms: 2_000,
            seal: Some(pb::Seal { until_ms: 86_400_000, ..Default::default() }),
        }
    }

    #[test]
    fn scripts_get_disclosures() {
        json::snapshot::check("disclosure", &view(state()));
        let made = MadeView { disclosure: "09".repeat(16), transaction: crate::tests::submitted() };
        json::snapshot::check("disclosure-made", &made);
        let waiting = pb::DisclosureState { confirmed_by: String::new(), confirmed_ms: 0, ..state() };
        let waiting = KnownDisclosure { id: DisclosureId([9; 16]), state: waiting };
        json::snapshot::check("disclosures", &ListView::new(&[waiting], true, TimeMs(2_000)));
    }

    #[test]
    fn who_confirms_reads_what_and_that_it_is_nothing_yet() {
        let text = view(state()).text();
        assert!(text.contains("handed to a court: an order of a court"), "{text}");
        assert!(text.contains("kept from the patient until 1970-01-02T00:00:00Z"), "{text}");
        let open = pb::DisclosureState { confirmed_by: String::new(), records: Vec::new(), seal: None, ..state() };
        let text = view(open).text();
        assert!(text.contains("all records that it has") && text.contains("NOT confirmed"), "{text}");
        assert!(text.contains("another person can until 1970-01-08T00:00:01Z"), "{text}");
        let none = ListView::new(&[], true, TimeMs(2_000)).text();
        assert_eq!(none, "no disclosure waits for another person, 1970-01-01T00:00:02Z");
    }
}
