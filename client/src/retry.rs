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
        return Verdict::Retry(None);
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

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        if failure.status.source().is_some() {
            return Self::Transport { endpoint: failure.endpoint.to_string(), cause: causes(&failure.status) };
        }
        failure.status.into()
    }
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tonic_types::ErrorDetails;

    const QUICK: RetryPolicy = RetryPolicy {
        overall: Duration::from_millis(400),
        attempt: Duration::from_millis(100),
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
    };

    fn failure(status: Status) -> Failure {
        Failure { endpoint: "n1:1".into(), status }
    }

    /// Runs against a service that gives these answers one after the other.
    async fn run(answers: Vec<Result<u32, Status>>) -> (Result<u32, ClientError>, u32) {
        let mut calls = 0;
        let mut answers = answers.into_iter();
        let result = retry(&QUICK, |number, left| {
            assert_eq!(number, calls);
            assert!(left <= QUICK.attempt);
            calls += 1;
            let answer = answers.next().unwrap_or_else(|| Err(Status::unavailable("down")));
            async move { answer.map_err(failure) }
        })
        .await;
        (result, calls)
    }

    #[test]
    fn every_code_has_its_verdict() {
        let retryable: Vec<i32> = (0..=16).filter(|c| is_retryable_code(Code::from_i32(*c))).collect();
        assert_eq!(retryable, [4, 8, 10, 14]);
    }

    #[test]
    fn a_broken_connection_is_temporary_whatever_its_code() {
        let broken = Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        assert_eq!(classify(&broken), Verdict::Retry(None));
        assert!(
            matches!(ClientError::from(failure(broken)), ClientError::Transport { endpoint, .. } if endpoint == "n1:1")
        );
        assert_eq!(classify(&Status::unknown("bug")), Verdict::Final);
    }

    #[tokio::test]
    async fn temporary_failures_are_retried_and_final_ones_are_not() {
        let temporary = [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded, Code::Aborted];
        let mut answers: Vec<_> = temporary.map(|code| Err(Status::new(code, "later"))).into();
        answers.push(Ok(7));
        assert_eq!(run(answers).await, (Ok(7), 5));
        let (result, calls) = run(vec![Err(Status::invalid_argument("no")), Ok(7)]).await;
        assert_eq!(calls, 1);
        let expected = ClientError::Status { code: Code::InvalidArgument, reason: String::new(), message: "no".into() };
        assert_eq!(result, Err(expected));
    }

    #[tokio::test]
    async fn gives_up_at_the_deadline_with_the_last_error() {
        let started = Instant::now();
        let (result, calls) = run(Vec::new()).await;
        assert!(started.elapsed() <= QUICK.overall + Duration::from_millis(200));
        let Err(ClientError::GaveUp { attempts, last }) = result else { panic!("{result:?}") };
        assert_eq!(attempts, calls);
        assert!(calls > 10);
        assert!(last.is_retryable());
    }

    #[tokio::test]
    async fn a_wait_that_the_node_asks_for_is_kept() {
        let asked = Duration::from_millis(120);
        let details = ErrorDetails::with_retry_info(Some(asked));
        let busy = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        assert_eq!(classify(&busy), Verdict::Retry(Some(asked)));
        let started = Instant::now();
        assert_eq!(run(vec![Err(busy), Ok(1)]).await, (Ok(1), 2));
        assert!(started.elapsed() >= asked);
    }
}
