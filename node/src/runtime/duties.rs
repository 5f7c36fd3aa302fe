//! Looks after what the node's own member owes patients: answers to petitions whose deadline is
//! over raise an alarm. Time passes on an idle ledger, too, so this looks by the clock.

use std::sync::Arc;
use std::time::Duration;

use consilium_ledger::keys;
use consilium_proto::ids::TimeMs;
use consilium_proto::names::MemberId;
use consilium_proto::pb::PetitionsDueState;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;

use crate::alarms::Alarms;
use crate::clock::now_ms;
use crate::contained;
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

const ALARM: &str = "petitions_overdue";
/// How often the list is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// Answers that a member owes and has not given in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Overdue {
    /// How many.
    number: u64,
    /// Since when the first of those that are listed.
    since: TimeMs,
}

/// Runs until the node stops.
pub(super) async fn watch_petitions(
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
                    Ok(Ok(due)) => tell(&alarms, &member, overdue(&due, now_ms())),
                    Ok(Err(error)) => tracing::error!(%error, "the petitions that are due cannot be read"),
                    Err(panicked) => tracing::error!(%panicked, "the petitions that are due cannot be read"),
                }
            }
            () = stopping.cancelled() => return,
        }
    }
}

fn owed(ledger: &LedgerStore, member: &MemberId) -> Result<PetitionsDueState, StorageError> {
    Ok(ledger.state(&keys::petitions_due(member.as_str()))?.unwrap_or_default())
}

/// Equality is too late. Those that were dropped from the list are overdue, and the oldest.
fn overdue(due: &PetitionsDueState, now: TimeMs) -> Option<Overdue> {
    let late = || due.petitions.iter().map(|due| due.due_ms).filter(|due| *due <= now.0);
    let number = due.dropped.saturating_add(late().count() as u64);
    (number > 0).then(|| Overdue { number, since: TimeMs(late().min().unwrap_or(now.0)) })
}

fn tell(alarms: &Alarms, member: &MemberId, overdue: Option<Overdue>) {
    metrics::gauge!("consilium_petitions_overdue").set(overdue.map_or(0, |overdue| overdue.number) as f64);
    match overdue {
        None => alarms.clear(ALARM),
        Some(Overdue { number, since }) => alarms.raise(
            ALARM,
            format!(
                "{member} owes patients {number} answers whose deadline is over, the first since {}: \
                 `consilium petition list` shows them to a privacy officer",
                moment(since)
            ),
        ),
    }
}

/// To the second, for people.
fn moment(time: TimeMs) -> String {
    let moment = i64::try_from(time.0 / 1_000).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| "long ago".to_owned())
}

#[cfg(test)]
mod tests {
    use consilium_proto::pb::PetitionDue;

    use super::*;

    fn due(times: &[u64], dropped: u64) -> PetitionsDueState {
        let petition = |due_ms: &u64| PetitionDue { due_ms: *due_ms, ..PetitionDue::default() };
        PetitionsDueState { petitions: times.iter().map(petition).collect(), dropped }
    }

    #[test]
    fn an_answer_is_overdue_once_its_time_is_reached() {
        let at = |now| overdue(&due(&[2_000, 1_000], 0), TimeMs(now));
        assert_eq!(at(999), None);
        assert_eq!(at(1_000), Some(Overdue { number: 1, since: TimeMs(1_000) }));
        assert_eq!(at(2_000), Some(Overdue { number: 2, since: TimeMs(1_000) }));
        assert_eq!(overdue(&due(&[], 3), TimeMs(5)), Some(Overdue { number: 3, since: TimeMs(5) }));
    }

    #[test]
    fn the_alarm_is_raised_and_goes_when_all_is_answered() {
        let (alarms, member) = (Alarms::default(), "a.example".parse().expect("a member"));
        tell(&alarms, &member, overdue(&due(&[1_000], 1), TimeMs(1_000)));
        let raised = alarms.list();
        assert_eq!(raised[0].0, "petitions_overdue");
        let message = &raised[0].1.message;
        let text = "a.example owes patients 2 answers whose deadline is over, the first since 1970-01-01T00:00:01Z";
        assert!(message.starts_with(text), "{message}");
        tell(&alarms, &member, overdue(&due(&[2_000], 0), TimeMs(1_999)));
        assert!(alarms.list().is_empty());
    }
}
