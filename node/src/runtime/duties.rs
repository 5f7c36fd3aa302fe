//! Looks after what the node's own member owes patients: answers to petitions, also in the place of
//! members that have left and whose records it keeps, and reviews of emergencies, whose deadline is
//! over raise an alarm each. Time passes on an idle ledger, too, so this looks by the clock.

use std::sync::Arc;
use std::time::Duration;

use consilium_ledger::custody::Kept;
use consilium_ledger::keys;
use consilium_proto::ids::TimeMs;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{PetitionsDueState, ReviewsDueState};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;

use crate::alarms::Alarms;
use crate::clock::now_ms;
use crate::contained;
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

const PETITIONS_ALARM: &str = "petitions_overdue";
const REVIEWS_ALARM: &str = "reviews_overdue";
/// How often the lists are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// What a member owes, by list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Owed {
    petitions: List,
    reviews: List,
}

/// Deadlines of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct List {
    /// Block times by which each is due.
    due_ms: Vec<u64>,
    /// How many more are not listed: they are overdue, and the oldest.
    dropped: u64,
}

/// What a member owes and has not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Overdue {
    /// How many.
    number: u64,
    /// Since when the first of those that are listed.
    since: TimeMs,
}

/// Runs until the node stops.
pub(super) async fn watch_duties(
    alarms: Arc<Alarms>,
    ledger: Arc<LedgerStore>,
    member: MemberId,
    stopping: CancellationToken,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let (ledger, of) = (Arc::clone(&ledger), member.clone());
                match contained::blocking(move || owed(&ledger, &of)).await {
                    Ok(Ok(owed)) => tell(&alarms, &member, &owed, now_ms()),
                    Ok(Err(error)) => tracing::error!(%error, "what is due cannot be read"),
                    Err(panicked) => tracing::error!(%panicked, "what is due cannot be read"),
                }
            }
            () = stopping.cancelled() => return,
        }
    }
}

fn owed(ledger: &LedgerStore, member: &MemberId) -> Result<Owed, StorageError> {
    let ledger = ledger.snapshot()?;
    let kept = Kept::load(&ledger).map_err(|e| StorageError::corrupt("custody", e))?;
    let mut petitions = PetitionsDueState::default();
    for asked in kept.of(member.as_str()) {
        let due: PetitionsDueState = ledger.state(&keys::petitions_due(asked))?.unwrap_or_default();
        petitions.petitions.extend(due.petitions);
        petitions.dropped = petitions.dropped.saturating_add(due.dropped);
    }
    let reviews: Option<ReviewsDueState> = ledger.state(&keys::reviews_due(member.as_str()))?;
    Ok(Owed { petitions: petitions.into(), reviews: reviews.unwrap_or_default().into() })
}

impl From<PetitionsDueState> for List {
    fn from(due: PetitionsDueState) -> Self {
        Self { due_ms: due.petitions.iter().map(|due| due.due_ms).collect(), dropped: due.dropped }
    }
}

impl From<ReviewsDueState> for List {
    fn from(due: ReviewsDueState) -> Self {
        Self { due_ms: due.reviews.iter().map(|due| due.due_ms).collect(), dropped: due.dropped }
    }
}

impl List {
    /// Equality is too late.
    fn overdue(&self, now: TimeMs) -> Option<Overdue> {
        let late = || self.due_ms.iter().copied().filter(|due| *due <= now.0);
        let number = self.dropped.saturating_add(late().count() as u64);
        (number > 0).then(|| Overdue { number, since: TimeMs(late().min().unwrap_or(now.0)) })
    }
}

fn tell(alarms: &Alarms, member: &MemberId, owed: &Owed, now: TimeMs) {
    let number = |overdue: Option<Overdue>| overdue.map_or(0, |overdue| overdue.number) as f64;
    let petitions = owed.petitions.overdue(now);
    metrics::gauge!("consilium_petitions_overdue").set(number(petitions));
    raise(alarms, PETITIONS_ALARM, petitions, |Overdue { number, since }| {
        format!(
            "{member} owes patients {number} answers whose deadline is over, the first since {}: \
             `consilium petition list` shows them to a privacy officer",
            moment(since)
        )
    });
    let reviews = owed.reviews.overdue(now);
    metrics::gauge!("consilium_reviews_overdue").set(number(reviews));
    raise(alarms, REVIEWS_ALARM, reviews, |Overdue { number, since }| {
        format!(
            "{member} owes {number} reviews of emergencies whose deadline is over, the first since {}: until they \
             are made the access policy may narrow what all its people read elsewhere; `consilium emergency due` \
             shows them to a privacy officer",
            moment(since)
        )
    });
}

fn raise(alarms: &Alarms, alarm: &'static str, overdue: Option<Overdue>, text: impl FnOnce(Overdue) -> String) {
    match overdue {
        None => alarms.clear(alarm),
        Some(overdue) => alarms.raise(alarm, text(overdue)),
    }
}

/// To the second, for people.
fn moment(time: TimeMs) -> String {
    let moment = i64::try_from(time.0 / 1_000).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| "long ago".to_owned())
}

#[cfg(test)]
mod tests {
    use consilium_ledger::Table;
    use consilium_proto::pb::{CustodyKeeper, CustodyState, PetitionDue, ReviewDue, RosterState};
    use prost::Message;

    use super::*;
    use crate::storage::snapshot::tests::{Chain, row};

    fn petitions(times: &[u64], dropped: u64) -> Owed {
        let petition = |due_ms: &u64| PetitionDue { due_ms: *due_ms, ..PetitionDue::default() };
        let due = PetitionsDueState { petitions: times.iter().map(petition).collect(), dropped };
        Owed { petitions: due.into(), ..Owed::default() }
    }

    fn reviews(times: &[u64], dropped: u64) -> Owed {
        let review = |due_ms: &u64| ReviewDue { due_ms: *due_ms, ..ReviewDue::default() };
        let due = ReviewsDueState { reviews: times.iter().map(review).collect(), dropped };
        Owed { reviews: due.into(), ..Owed::default() }
    }

    #[test]
    fn what_those_owe_that_have_left_is_the_successors_to_answer() {
        let mut chain = Chain::start();
        let put = |key: Vec<u8>, value: Vec<u8>| row(Table::State, key, Some(value.into()));
        let owes = |member: &str, times: &[u64], dropped| {
            let petition = |due_ms: &u64| PetitionDue { due_ms: *due_ms, ..PetitionDue::default() };
            let due = PetitionsDueState { petitions: times.iter().map(petition).collect(), dropped };
            put(keys::petitions_due(member), due.encode_to_vec())
        };
        chain.write(vec![owes("a.example", &[1, 2], 1), owes("b.example", &[3], 0), owes("c.example", &[4], 2)]);
        chain.write(vec![put(keys::roster(), RosterState::default().encode_to_vec())]);
        let owed = |chain: &Chain| owed(&chain.store, &"c.example".parse().expect("a member")).expect("rows");
        assert_eq!(owed(&chain), petitions(&[4], 2));
        let keepers = vec![CustodyKeeper { member: "c.example".into(), since_height: 1 }];
        let custody = CustodyState { keepers, ..CustodyState::default() };
        let roster = RosterState { kept_members: vec!["a.example".into()], ..RosterState::default() };
        let custody = put(keys::custody("a.example"), custody.encode_to_vec());
        chain.write(vec![custody, put(keys::roster(), roster.encode_to_vec())]);
        assert_eq!(owed(&chain), petitions(&[4, 1, 2], 3));
    }

    #[test]
    fn an_answer_is_overdue_once_its_time_is_reached() {
        let at = |now| petitions(&[2_000, 1_000], 0).petitions.overdue(TimeMs(now));
        assert_eq!(at(999), None);
        assert_eq!(at(1_000), Some(Overdue { number: 1, since: TimeMs(1_000) }));
        assert_eq!(at(2_000), Some(Overdue { number: 2, since: TimeMs(1_000) }));
        let dropped = petitions(&[], 3).petitions.overdue(TimeMs(5));
        assert_eq!(dropped, Some(Overdue { number: 3, since: TimeMs(5) }));
    }

    #[test]
    fn a_review_is_overdue_once_its_time_is_reached() {
        let at = |now| reviews(&[1_000, 2_000], 0).reviews.overdue(TimeMs(now));
        assert_eq!(at(999), None);
        assert_eq!(at(1_000), Some(Overdue { number: 1, since: TimeMs(1_000) }));
        let with_dropped = reviews(&[1_000, 2_000], 2).reviews.overdue(TimeMs(2_000));
        assert_eq!(with_dropped, Some(Overdue { number: 4, since: TimeMs(1_000) }));
    }

    #[test]
    fn each_alarm_is_raised_and_goes_when_all_is_done() {
        let member = "a.example".parse().expect("a member");
        let cases = [
            (
                petitions as fn(&[u64], u64) -> Owed,
                "petitions_overdue",
                "a.example owes patients 2 answers whose deadline is over, the first since 1970-01-01T00:00:01Z",
            ),
            (
                reviews,
                "reviews_overdue",
                "a.example owes 2 reviews of emergencies whose deadline is over, the first since 1970-01-01T00:00:01Z",
            ),
        ];
        for (owed, alarm, text) in cases {
            let alarms = Alarms::default();
            tell(&alarms, &member, &owed(&[1_000], 1), TimeMs(1_000));
            let raised = alarms.list();
            assert_eq!(raised.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [alarm]);
            let message = &raised[0].1.message;
            assert!(message.starts_with(text), "{message}");
            tell(&alarms, &member, &owed(&[2_000], 0), TimeMs(1_999));
            assert!(alarms.list().is_empty());
        }
    }
}
