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
