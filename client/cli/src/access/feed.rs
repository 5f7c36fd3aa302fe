//! `consilium access feed`: what the own member's people have asked for, and which of it somebody
//! should look at. Names and addresses come from a file of the member, are compared here, and go
//! nowhere; what is printed says which rule matched, never a name or an address.

mod exceptions;
mod people;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use clap::Args;
use consilium_client::access_log::ProvenDecision;
use consilium_client::access_log::staff::StaffAccesses;
use consilium_client::{Client, pb};
use consilium_proto::ids::{Height, PatientPseudonym, TimeMs};
use consilium_proto::names::MemberId;
use consilium_proto::state::{CareName, keys};
use prost::Message;
use serde::Serialize;

use super::EventView;
use crate::text::{Zone, counted, time_ms};
use crate::{CliError, Context};
use exceptions::{Exception, Reviewer};
use people::People;

/// Arguments of `access feed`.
#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    /// Begin after this block; what is to be kept of the last run
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    after: u64,
    /// File with staff and patients (JSON), readable by its owner alone
    #[arg(long, value_name = "FILE")]
    people: Option<PathBuf>,
    /// From how many patients of one reader on a day (UTC) on it is unusual
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    volume: usize,
    /// Show what nothing is exceptional about, too
    #[arg(long)]
    all: bool,
    /// Hours and minutes that times are ahead of UTC, such as +01:00
    #[arg(long, value_name = "OFFSET", default_value_t, allow_hyphen_values = true)]
    utc_offset: Zone,
}

/// What the own people have asked for.
#[derive(Serialize)]
struct FeedView {
    member: String,
    after: u64,
    /// All up to this block; to be given as --after next time.
    up_to: u64,
    /// Requests of the own people.
    accesses: usize,
    /// Those with an exception.
    exceptional: usize,
    entries: Vec<EntryView>,
    /// Answers that the member owes patients, for itself or for one that has left, and whose deadline
    /// is over.
    overdue_petitions: Vec<OverdueView>,
    /// How many more are not listed.
    overdue_unlisted: u64,
    /// Reviews of emergencies that the member owes, and whose deadline is over.
    overdue_reviews: Vec<OverdueReviewView>,
    /// How many more are not listed.
    overdue_reviews_unlisted: u64,
}

#[derive(Serialize)]
struct OverdueView {
    petition: String,
    due: String,
    #[serde(skip)]
    due_shown: String,
}

#[derive(Serialize)]
struct OverdueReviewView {
    emergency: String,
    due: String,
    #[serde(skip)]
    due_shown: String,
}

/// What the member owes, done in time or not.
struct Owed {
    petitions: pb::PetitionsDueState,
    reviews: pb::ReviewsDueState,
}

#[derive(Serialize)]
struct EntryView {
    patient: String,
    /// There is no such patient.
    unmatched: bool,
    exceptions: Vec<ExceptionView>,
    #[serde(flatten)]
    event: EventView,
}

#[derive(Serialize)]
struct ExceptionView {
    /// A word for scripts.
    code: &'static str,
    words: &'static str,
}

/// Care relations of patients with the own member, as the ledger has them now.
type Care = BTreeMap<PatientPseudonym, Option<pb::CareState>>;

pub(super) async fn run(client: &Client, args: &FeedArgs, ctx: &Context) -> Result<(), CliError> {
    let people = args.people.as_deref().map_or_else(|| Ok(People::default()), People::read)?;
    let member = client.identity().spiffe_id().member().clone();
    let spinner = ctx.spinner("reading blocks");
    let found = client.accesses_by(&member, Height(args.after)).await?;
    spinner.finish_and_clear();
    let care = care_of(client, &member, &found).await?;
    let owed = Owed::of(client, &member).await?;
    let now = client.certified_head().await?.header.time;
    let reviewer = Reviewer::new(&found.decisions, &people, &care, args.volume);
    let view = FeedView::new(args, &member, &found, &reviewer).with_overdue(&owed, now, args.utc_offset);
    ctx.print(&view, FeedView::text)
}

impl Owed {
    async fn of(client: &Client, member: &MemberId) -> Result<Self, CliError> {
        let petitions = client.petitions_owed().await?;
        Ok(Self { petitions, reviews: client.reviews_due(member).await?.unwrap_or_default() })
    }
}

async fn care_of(client: &Client, member: &MemberId, found: &StaffAccesses) -> Result<Care, CliError> {
    let mut care = Care::new();
    for patient in found.decisions.iter().filter(|d| !d.unmatched).map(|d| d.event.patient) {
        if let Entry::Vacant(place) = care.entry(patient) {
            let row = client.proven_state(&keys::care(&CareName::new(patient, member.as_str()))).await?;
            let state = row.map(pb::CareState::decode).transpose();
            place.insert(state.map_err(|e| CliError::failed(format!("the row of a care relation: {e}")))?);
        }
    }
    Ok(care)
}

impl FeedView {
    fn new(args: &FeedArgs, member: &MemberId, found: &StaffAccesses, reviewer: &Reviewer<'_>) -> Self {
        let judged: Vec<_> = found.decisions.iter().map(|decision| (decision, reviewer.exceptions(decision))).collect();
        let exceptional = judged.iter().filter(|(_, exceptions)| !exceptions.is_empty()).count();
        let shown = judged.into_iter().filter(|(_, exceptions)| args.all || !exceptions.is_empty());
        Self {
            member: member.to_string(),
            after: args.after,
            up_to: found.up_to.0,
            accesses: found.decisions.len(),
            exceptional,
            entries: shown.map(|(decision, found)| EntryView::new(decision, &found, args.utc_offset)).collect(),
            overdue_petitions: Vec::new(),
            overdue_unlisted: 0,
            overdue_reviews: Vec::new(),
            overdue_reviews_unlisted: 0,
        }
    }

    fn with_overdue(self, owed: &Owed, now: TimeMs, zone: Zone) -> Self {
        let late = |due_ms: u64| (due_ms <= now.0).then(|| (time_ms(due_ms), zone.time_ms(due_ms)));
        let petitions = owed.petitions.petitions.iter().filter_map(|owed| {
            let (due, due_shown) = late(owed.due_ms)?;
            Some(OverdueView { petition: hex::encode(&owed.petition_id), due, due_shown })
        });
        let reviews = owed.reviews.reviews.iter().filter_map(|owed| {
            let (due, due_shown) = late(owed.due_ms)?;
            Some(OverdueReviewView { emergency: hex::encode(&owed.emergency_id), due, due_shown })
        });
        Self {
            overdue_petitions: petitions.collect(),
            overdue_unlisted: owed.petitions.dropped,
            overdue_reviews: reviews.collect(),
            overdue_reviews_unlisted: owed.reviews.dropped,
            ..self
        }
    }

    /// First of all: patients wait for these, and the own people for the reviews.
    fn overdue(&self) -> Vec<String> {
        let petition =
            |late: &OverdueView| format!("the answer to petition {} was due {}", late.petition, late.due_shown);
        let review =
            |late: &OverdueReviewView| format!("the review of emergency {} was due {}", late.emergency, late.due_shown);
        let unlisted = |number: u64, one: &str, many: &str| {
            (number > 0).then(|| format!("{}, not listed", counted(number, one, many)))
        };
        let answers = self.overdue_petitions.iter().map(petition);
        let answers = answers.chain(unlisted(self.overdue_unlisted, "older petition", "older petitions"));
        let reviews = self.overdue_reviews.iter().map(review);
        let reviews = reviews.chain(unlisted(self.overdue_reviews_unlisted, "older review", "older reviews"));
        answers.chain(reviews).map(|late| format!("! OVERDUE: {late}")).collect()
    }

    fn text(&self) -> String {
        let mut lines = self.overdue();
        lines.extend(self.entries.iter().map(EntryView::text));
        lines.push(format!(
            "{} by people of {} in the blocks {} to {}, proven to be all of them; {} with exceptions",
            counted(self.accesses as u64, "request", "requests"),
            self.member,
            self.after.saturating_add(1),
            self.up_to,
            self.exceptional
        ));
        lines.push(format!("keep this for the next time: --after {}", self.up_to));
        lines.join("\n")
    }
}

impl EntryView {
    fn new(decision: &ProvenDecision, exceptions: &[Exception], zone: Zone) -> Self {
        Self {
            patient: decision.event.patient.to_string(),
            unmatched: decision.unmatched,
            exceptions: exceptions.iter().map(|e| ExceptionView { code: e.code(), words: e.words() }).collect(),
            event: EventView::new(&decision.event, true).shown_in(zone),
        }
    }

    fn text(&self) -> String {
        let cells = self.event.cells(true).into_iter().skip(1).filter(|cell| !cell.is_empty());
        let head = format!("{}: patient {}", cells.collect::<Vec<_>>().join(", "), self.patient);
        let exceptions = self.exceptions.iter().map(|exception| format!("\n  ! {}", exception.words));
        std::iter::once(head).chain(exceptions).collect()
    }
}

#[cfg(test)]
mod tests;
