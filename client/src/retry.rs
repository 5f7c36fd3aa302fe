//! When to try again, and how long to wait before.
//!
//! Trying again is safe for every call of this SDK: a transaction executes at
//! most once, whoever sends it how often. What is not listed as temporary is
//! final; retrying it would only hide a mistake.

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
    /// The answer will not change.
    Final,
}

/// Judges a failure.
#[must_use]
pub fn classify(status: &Status) -> Verdict {
    // Only errors made on this side have a source: the connection broke.
    if status.source().is_some() {
        return match own_error(status) {
            // What was proven false stays so; a wrong clock is no node's fault.
            Some(ClientError::Verification(_) | ClientError::ClockBehind { .. }) => Verdict::Final,
            Some(_) | None => Verdict::Retry(None),
        };
    }
    if is_retryable_code(status.code()) {
        return Verdict::Retry(status.get_details_retry_info().and_then(|info| info.retry_delay));
    }
    Verdict::Final
}

/// Calls `attempt(number, time left for it)` until it succeeds, fails for
/// good, or the policy's time is over.
///
/// # Errors
/// The final failure, or [`ClientError::GaveUp`] with the last one.
pub async fn retry<T, F, Fut>(policy: &RetryPolicy, mut attempt: F) -> Result<T, ClientError>
where
    F: FnMut(u32, Duration) -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let deadline = Instant::now() + policy.overall;
    let mut number = 0;
    let mut before: Option<Failure> = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let failure = match attempt(number, policy.attempt.min(left)).await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let Verdict::Retry(asked) = classify(&failure.status) else { return Err(failure.into()) };
        // An attempt that the overall deadline cut short says less than the one
        // before it.
        let cut_short = left < policy.attempt && failure.status.code() == Code::DeadlineExceeded;
        let failure = before.take().filter(|_| cut_short).unwrap_or(failure);
        number += 1;
        let pause = asked.unwrap_or_default().max(backoff(policy, number));
        if Instant::now() + pause >= deadline {
            return Err(ClientError::GaveUp { attempts: number, last: Box::new(failure.into()) });
        }
        before = Some(failure);
        tokio::time::sleep(pause).await;
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
