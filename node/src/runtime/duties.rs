//! Looks after what the node's own member owes patients: answers to petitions and reviews of
//! emergencies whose deadline is over raise an alarm each. Time passes on an idle ledger, too, so
//! this looks by the clock.

use std::sync::Arc;
use std::time::Duration;

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
    let petitions: Option<PetitionsDueState> = ledger.state(&keys::petitions_due(member.as_str()))?;
    let reviews: Option<ReviewsDueState> = ledger.state(&keys::reviews_due(member.as_str()))?;
    Ok(Owed { petitions: petitions.unwrap_or_default().into(), reviews: reviews.unwrap_or_default().into() })
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
    use consilium_proto::pb::{PetitionDue, ReviewDue};

    use super::*;

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
