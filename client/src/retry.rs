//! When to try again, and how long to wait before.
//!
//! Trying again is safe for every call of this SDK: a transaction executes at
//! most once, whoever sends it how often. What is not listed as temporary is
//! final; retrying it would only hide a mistake.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::client::Client;
use crate::error::{ClientError, is_retryable_code};

/// How long and how eagerly to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// For everything, waits included.
    pub overall: Duration,
    /// For one attempt at one node.
    pub attempt: Duration,
    /// Ceiling of the first wait; each further one doubles it.
    pub backoff_first: Duration,
    /// Ceiling of every wait, unless the node asks for more.
    pub backoff_max: Duration,
}

impl Default for RetryPolicy {
    /// One minute overall: longer than a change of leaders, shorter than a
    /// person's patience.
    fn default() -> Self {
        Self {
            overall: Duration::from_secs(60),
            attempt: Duration::from_secs(15),
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
        }
    }
}

/// A failed attempt at a node.
#[derive(Debug, Clone)]
pub struct Failure {
    /// host:port of the node.
    pub endpoint: Arc<str>,
    /// What it, or the transport, said.
    pub status: Status,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try the next node, not before this wait if the node named one.
    Retry(Option<Duration>),
    /// This node will not do it, and another could: each that can be reached is asked so often,
    /// and then it is final.
    OtherNode(Rounds),
    /// The answer will not change.
    Final,
}

/// How often each node is asked before its refusal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rounds {
    /// It depends on which node it is.
    Once,
    /// It may pass in a moment.
    Twice,
}

impl Rounds {
    const fn number(self) -> u32 {
        match self {
            Self::Once => 1,
            Self::Twice => 2,
        }
    }
}

/// Reasons (docs/errors.md) of a node that another may not give, the most telling first.
const OF_ONE_NODE: [(&str, Rounds); 6] = [
    // Its clock, or what it knows of revocations, may be wrong.
    ("IDENTITY_REFUSED", Rounds::Once),
    // Some things only the nodes of one's own member do.
    ("PERMISSION_DENIED", Rounds::Once),
    // It may be behind an enrolment.
    ("UNKNOWN_AUTHOR", Rounds::Once),
    ("CLOCK_APART", Rounds::Twice),
    ("QUARANTINED", Rounds::Once),
    ("INTERNAL", Rounds::Once),
];

/// A head that is older than this by more than was allowed is not that of a network which halted
/// just now: the clock here is wrong, or nothing has been certified for long.
const LONG_STALE_MS: u64 = 3_600_000;

/// Judges a failure.
#[must_use]
pub fn classify(status: &Status) -> Verdict {
    // Only errors made on this side have a source: the connection broke.
    if status.source().is_some() {
        return own_error(status).map_or(Verdict::Retry(None), classify_own);
    }
    let reason = reason_of(status);
    if let Some((_, rounds)) = OF_ONE_NODE.iter().find(|(of_one, _)| *of_one == reason) {
        return Verdict::OtherNode(*rounds);
    }
    if is_retryable_code(status.code()) {
        return Verdict::Retry(status.get_details_retry_info().and_then(|info| info.retry_delay));
    }
    Verdict::Final
}

fn classify_own(error: &ClientError) -> Verdict {
    match error {
        // What was proven false stays so; a wrong clock is no node's fault.
        ClientError::Verification(_) | ClientError::ClockBehind { .. } => Verdict::Final,
        ClientError::NoAddress { .. } => Verdict::OtherNode(Rounds::Twice),
        ClientError::StaleHead { age_ms, bound_ms } if *age_ms > bound_ms.saturating_add(LONG_STALE_MS) => {
            Verdict::OtherNode(Rounds::Twice)
        }
        ClientError::NodeRefused { refusal, .. } if refusal.is_of_time() => Verdict::OtherNode(Rounds::Twice),
        _ => Verdict::Retry(None),
    }
}

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// How much a failure says, the most telling last.
fn tells(failure: &Failure) -> usize {
    let reason = reason_of(&failure.status);
    match OF_ONE_NODE.iter().rev().position(|(of_one, _)| *of_one == reason) {
        Some(position) => position + 3,
        None => match own_error(&failure.status) {
            Some(ClientError::NodeRefused { .. } | ClientError::StaleHead { .. }) => 2,
            Some(_) => 1,
            None => 0,
        },
    }
}

/// What the nodes said so far, each at last.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<Arc<str>, (u32, Failure, Verdict)>);

impl Refusals {
    fn note(&mut self, failure: &Failure, verdict: Verdict) {
        let before = self.0.get(&failure.endpoint).map_or(0, |(times, ..)| *times);
        self.0.insert(Arc::clone(&failure.endpoint), (before + 1, failure.clone(), verdict));
    }

    /// Whether all of so many nodes were asked often enough, some of them refuse, and the others
    /// cannot be reached.
    fn are_final(&self, nodes: usize) -> bool {
        let rounds = |(.., verdict): &(u32, Failure, Verdict)| match verdict {
            Verdict::OtherNode(rounds) => Some(*rounds),
            Verdict::Retry(_) | Verdict::Final => None,
        };
        let Some(rounds) = self.0.values().filter_map(rounds).max() else { return false };
        let is_done = |(times, failure, verdict): &(u32, Failure, Verdict)| {
            let waits = match verdict {
                Verdict::Retry(_) => failure.status.source().is_none(),
                Verdict::OtherNode(_) | Verdict::Final => false,
            };
            *times >= rounds.number() && !waits
        };
        self.0.len() >= nodes && self.0.values().all(is_done)
    }

    /// The most telling failure of all, or this one, which was the last.
    fn telling(&self, last: Failure) -> ClientError {
        let telling = self.0.values().map(|(_, failure, _)| failure).max_by_key(|failure| tells(failure));
        self.with_asked(telling.cloned().unwrap_or(last))
    }

    /// The failure, with who was asked if it was not one node alone.
    fn with_asked(&self, failure: Failure) -> ClientError {
        let asked: Vec<&str> = self.0.keys().map(AsRef::as_ref).collect();
        let error = ClientError::from(failure);
        if asked.len() > 1 { error.asked(&asked.join(", ")) } else { error }
    }
}

/// Calls `attempt(number, time left for it)`, at one of so many nodes each time, until it
/// succeeds, fails for good, or the policy's time is over.
///
/// # Errors
/// The final failure; the most telling one, if every node refuses; or [`ClientError::GaveUp`] with
/// the last one.
pub async fn retry<T, F, Fut>(policy: &RetryPolicy, nodes: usize, mut attempt: F) -> Result<T, ClientError>
where
    F: FnMut(u32, Duration) -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let deadline = Instant::now() + policy.overall;
    let mut number = 0;
    let mut before: Option<Failure> = None;
    let mut refusals = Refusals::default();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let failure = match attempt(number, policy.attempt.min(left)).await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let verdict = classify(&failure.status);
        refusals.note(&failure, verdict);
        number += 1;
        let wait = match verdict {
            Verdict::Final => return Err(failure.into()),
            Verdict::OtherNode(_) | Verdict::Retry(_) if refusals.are_final(nodes) => {
                return Err(refusals.telling(failure));
            }
            // Whoever was not asked yet need not wait for who refused.
            Verdict::OtherNode(_) if refusals.0.len() < nodes => Duration::ZERO,
            Verdict::OtherNode(_) => backoff(policy, number),
            Verdict::Retry(asked) => asked.unwrap_or_default().max(backoff(policy, number)),
        };
        // An attempt that the overall deadline cut short says less than the one
        // before it.
        let cut_short = left < policy.attempt && failure.status.code() == Code::DeadlineExceeded;
        let failure = before.take().filter(|_| cut_short).unwrap_or(failure);
        if Instant::now() + wait >= deadline {
            return Err(ClientError::GaveUp { attempts: number, last: Box::new(refusals.with_asked(failure)) });
        }
        before = Some(failure);
        tokio::time::sleep(wait).await;
    }
}

/// Full jitter (a uniform wait below a doubling ceiling): many clients that
/// failed together do not come back together.
pub(crate) fn backoff(policy: &RetryPolicy, failures: u32) -> Duration {
    let ceiling = policy.backoff_first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    ceiling.min(policy.backoff_max).mul_f64(rand::random::<f64>())
}

/// How a stream fares that is to go on whatever node fails: since when nothing works, and how
/// often it was tried.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trouble(Option<(std::time::Instant, u32)>);

impl Trouble {
    /// Waits before the next try.
    ///
    /// # Errors
    /// The error, if it is final; [`ClientError::GaveUp`] if nothing worked for the policy's time.
    pub(crate) async fn after(&mut self, client: &Client, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retryable() {
            return Err(error);
        }
        let policy = client.policy();
        let (since, attempts) = self.0.unwrap_or((std::time::Instant::now(), 0));
        let attempts = attempts + 1;
        if since.elapsed() >= policy.overall {
            self.0 = None;
            return Err(ClientError::GaveUp { attempts, last: Box::new(error) });
        }
        self.0 = Some((since, attempts));
        tokio::time::sleep(backoff(policy, attempts)).await;
        Ok(())
    }
}

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        if let Some(cause) = own_error(&failure.status) {
            return cause.clone();
        }
        if failure.status.source().is_some() {
            return Self::Transport { endpoint: failure.endpoint.to_string(), cause: causes(&failure.status) };
        }
        failure.status.into()
    }
}

/// What this SDK itself refused while it connected.
fn own_error(status: &Status) -> Option<&ClientError> {
    let mut next = status.source();
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let own = error.downcast_ref().or_else(|| wrapped.and_then(|inner| inner.downcast_ref()));
        if own.is_some() {
            return own;
        }
        next = error.source();
    }
    None
}

/// The chain of causes, without the layers that only say "transport error".
fn causes(status: &Status) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = status.source();
    while let Some(error) = next {
        let text = error.to_string();
        if text != "transport error" && !texts.iter().any(|t| t.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    if texts.is_empty() { status.message().to_owned() } else { texts.join(": ") }
}

#[cfg(test)]
mod tests;
