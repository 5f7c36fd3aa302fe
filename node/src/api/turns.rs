//! Answers with records, of which each takes a node's time while it is made, and megabytes until its
//! reader has it. So many are made for one identity at once, for one member's people, and for all of
//! them together: who asks for more waits. And what an identity has had made is counted, in records:
//! the same certified request may be sent again for two minutes, and stays one event, but its answer
//! is not made again for nothing. What is urgent waits for no other answers, and is counted for itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use consilium_proto::limits::ACCESS_RECORDS_MAX;
use consilium_proto::names::{MemberId, SpiffeId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::Status;

use super::errors::{self, Reason};
use super::reading::is_urgent;
use crate::config::Limits;

/// Of one identity; as many again of what is urgent.
const EACH_MAX: usize = 16;
/// Of the people of a member.
const MEMBER_MAX: usize = 128;
/// Of all.
const ALL_MAX: usize = 256;
/// Identities remembered until those that have all of their budget are forgotten.
const SWEEP_AT: usize = 4_096;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    of_each: Arc<Mutex<BTreeMap<Who, Weak<Semaphore>>>>,
    of_members: Arc<Mutex<BTreeMap<MemberId, Weak<Semaphore>>>>,
    all: Arc<Semaphore>,
    budgets: Arc<Mutex<Budgets>>,
    began: Instant,
}

/// An identity, and whether it is about something urgent.
type Who = (SpiffeId, bool);

/// An answer that is made, or on its way.
#[derive(Debug)]
pub(super) struct Turn {
    _permits: Vec<OwnedSemaphorePermit>,
    of: Who,
    turns: Turns,
}

impl Turns {
    pub(super) fn new(limits: &Limits) -> Self {
        let requests = (limits.access_requests_per_minute, limits.access_requests_burst);
        Self {
            of_each: Arc::default(),
            of_members: Arc::default(),
            all: Arc::new(Semaphore::new(ALL_MAX)),
            budgets: Arc::new(Mutex::new(Budgets::new(requests.0.get(), requests.1.get()))),
            began: Instant::now(),
        }
    }

    /// Waits for a turn, which lasts as long as what is returned.
    ///
    /// # Errors
    /// If none comes in time, or the identity has had too much made.
    pub(super) async fn take(&self, of: &SpiffeId, within: Duration) -> Result<Turn, Status> {
        let of = (of.clone(), is_urgent());
        let left = self.budgets.lock().unwrap_or_else(PoisonError::into_inner).check(&of, self.now_us());
        left.map_err(errors::over_budget)?;
        let permits = tokio::time::timeout(within, self.permits(&of)).await.ok().flatten();
        let busy = || Reason::Overloaded.status("answers to earlier requests are still on their way; receive those");
        Ok(Turn { _permits: permits.ok_or_else(busy)?, of, turns: self.clone() })
    }

    async fn permits(&self, of: &Who) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut permits = vec![of_one(&self.of_each, of, EACH_MAX).acquire_owned().await.ok()?];
        if !of.1 {
            permits.push(of_one(&self.of_members, of.0.member(), MEMBER_MAX).acquire_owned().await.ok()?);
            permits.push(Arc::clone(&self.all).acquire_owned().await.ok()?);
        }
        Some(permits)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Turn {
    /// Counts an answer, by its records.
    pub(super) fn charge(&self, records: usize) {
        let mut budgets = self.turns.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.charge(&self.of, records, self.turns.now_us());
    }
}

/// The places of one; of those for whom nothing is under way none are remembered.
fn of_one<K: Ord + Clone>(all: &Mutex<BTreeMap<K, Weak<Semaphore>>>, one: &K, places: usize) -> Arc<Semaphore> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(one).and_then(Weak::upgrade) {
        return known;
    }
    all.retain(|_, places| places.strong_count() > 0);
    let places = Arc::new(Semaphore::new(places));
    all.insert(one.clone(), Arc::downgrade(&places));
    places
}

/// As much as the requests of an identity can be for, each as large as it may be: who sends each
/// request once has never used it up.
#[derive(Debug)]
struct Budgets {
    /// Time that a record uses up, in nanoseconds.
    each_ns: u64,
    /// Time that may be used up ahead, in microseconds.
    ahead_us: u64,
    /// When what one has used up will be over, in microseconds.
    used_until_us: BTreeMap<Who, u64>,
    sweep_at: usize,
}

impl Budgets {
    fn new(requests_per_minute: u32, requests_burst: u32) -> Self {
        let records = |requests: u32| u64::from(requests) * ACCESS_RECORDS_MAX as u64;
        let each_ns = 60_000_000_000_u64.div_ceil(records(requests_per_minute));
        let ahead_us = each_ns.saturating_mul(records(requests_burst)) / 1_000;
        Self { each_ns, ahead_us, used_until_us: BTreeMap::new(), sweep_at: SWEEP_AT }
    }

    /// An error is how many milliseconds there is nothing left.
    fn check(&self, of: &Who, now_us: u64) -> Result<(), u64> {
        let used = self.used_until_us.get(of).map_or(0, |until| until.saturating_sub(now_us));
        match used < self.ahead_us {
            true => Ok(()),
            false => Err((used - self.ahead_us).div_ceil(1_000).max(1)),
        }
    }

    fn charge(&mut self, of: &Who, records: usize, now_us: u64) {
        if self.used_until_us.len() >= self.sweep_at {
            self.used_until_us.retain(|_, until| *until > now_us);
            self.sweep_at = SWEEP_AT.max(2 * self.used_until_us.len());
        }
        let cost_us = self.each_ns.saturating_mul(records.max(1) as u64).div_ceil(1_000);
        let until = self.used_until_us.entry(of.clone()).or_default();
        *until = (*until).max(now_us).saturating_add(cost_us);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn turns() -> Turns {
        Turns::new(&Limits::default())
    }

    fn name(name: &str) -> SpiffeId {
        format!("spiffe://{name}").parse().unwrap()
    }

    #[tokio::test]
    async fn who_takes_no_answers_waits_alone() {
        let turns = turns();
        let [greedy, other] = ["a.example/service/a", "a.example/service/b"].map(name);
        let mut held = Vec::new();
        for _ in 0..EACH_MAX {
            held.push(turns.take(&greedy, AT_ONCE).await.unwrap());
        }
        assert_eq!(turns.take(&greedy, AT_ONCE).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert!(turns.take(&other, AT_ONCE).await.is_ok());
        held.pop();
        assert!(turns.take(&greedy, AT_ONCE).await.is_ok());
        drop(held);
        assert!(turns.of_each.lock().unwrap().values().all(|places| places.strong_count() == 0));
    }

    #[tokio::test]
    async fn the_people_of_a_member_leave_turns_to_others() {
        let turns = turns();
        let mut held = Vec::new();
        for number in 0..MEMBER_MAX {
            let person = name(&format!("a.example/clinician/{}", number / EACH_MAX));
            held.push(turns.take(&person, AT_ONCE).await.unwrap());
        }
        assert!(turns.take(&name("a.example/clinician/last"), AT_ONCE).await.is_err());
        assert!(turns.take(&name("b.example/clinician/first"), AT_ONCE).await.is_ok());
    }

    #[test]
    fn what_is_made_again_and_again_is_paid_for() {
        // A request of a second, of 256 records; two at once.
        let mut budgets = Budgets::new(60, 2);
        let [one, other] = ["a.example/service/a", "a.example/service/b"].map(|id| (name(id), false));
        assert_eq!(budgets.check(&one, 0), Ok(()));
        budgets.charge(&one, 256, 0);
        assert_eq!(budgets.check(&one, 0), Ok(()));
        budgets.charge(&one, 256, 0);
        let wait_ms = budgets.check(&one, 0).unwrap_err();
        assert!((1..=2).contains(&wait_ms), "{wait_ms}");
        assert_eq!((budgets.check(&one, 2_000), budgets.check(&other, 0)), (Ok(()), Ok(())));
        assert_eq!(budgets.check(&(one.0.clone(), true), 0), Ok(()), "what is urgent is counted for itself");
        // Once a second for ever.
        for second in 1..600_u64 {
            assert_eq!(budgets.check(&one, second * 1_001_000), Ok(()), "second {second}");
            budgets.charge(&one, 256, second * 1_001_000);
        }
        // A hundred times the same in a second: two of them, and then as much as time gives.
        let mut made = 0;
        for turn in 0..100 {
            let now_us = 10_000_000_000 + turn * 10_000;
            if budgets.check(&other, now_us).is_ok() {
                budgets.charge(&other, 256, now_us);
                made += 1;
            }
        }
        assert!((2..=4).contains(&made), "{made}");
    }

    #[test]
    fn an_answer_of_nothing_is_one_too_and_who_has_all_of_it_is_forgotten() {
        let mut budgets = Budgets::new(60, 60);
        let of = |number: usize| (name(&format!("a.example/clinician/c{number}")), false);
        for number in 0..SWEEP_AT {
            budgets.charge(&of(number), 0, 0);
        }
        assert!(budgets.used_until_us.values().all(|until| *until > 0));
        budgets.charge(&of(SWEEP_AT), 0, 60_000_000);
        assert_eq!(budgets.used_until_us.len(), 1);
    }
}
