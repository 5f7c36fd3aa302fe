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
    let result = retry(&QUICK, 1, |number, left| {
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

/// Reasons of docs/errors.md, and what is done about each: `later`, at any node; `elsewhere` or
/// not at all.
const VERDICTS: [(&str, Code, &str); 25] = [
    ("INVALID_ARGUMENT", Code::InvalidArgument, "final"),
    ("PAGE_TOKEN_REFUSED", Code::InvalidArgument, "final"),
    ("TOO_LARGE", Code::InvalidArgument, "final"),
    ("UNKNOWN_METHOD", Code::Unimplemented, "final"),
    ("COMPRESSION_REFUSED", Code::Unimplemented, "final"),
    ("INVALID_TRANSACTION", Code::InvalidArgument, "final"),
    ("BAD_SIGNATURE", Code::InvalidArgument, "final"),
    ("UNKNOWN_AUTHOR", Code::FailedPrecondition, "elsewhere"),
    ("TRANSACTION_EXPIRED", Code::FailedPrecondition, "final"),
    ("NOT_OWN_CERTIFICATE", Code::PermissionDenied, "final"),
    ("IDENTITY_REFUSED", Code::Unauthenticated, "elsewhere"),
    ("PERMISSION_DENIED", Code::PermissionDenied, "elsewhere"),
    ("NOT_FOUND", Code::NotFound, "final"),
    ("OUTCOME_REFUSED", Code::FailedPrecondition, "final"),
    ("RELEASE_ENDED", Code::FailedPrecondition, "final"),
    ("NOT_POSSIBLE", Code::FailedPrecondition, "final"),
    ("OVERLOADED", Code::ResourceExhausted, "later"),
    ("NO_LEADER", Code::Unavailable, "later"),
    ("OUTCOME_UNKNOWN", Code::DeadlineExceeded, "later"),
    ("DEADLINE", Code::DeadlineExceeded, "later"),
    ("NOT_CERTIFIED", Code::Unavailable, "later"),
    ("BEHIND", Code::Unavailable, "later"),
    ("QUARANTINED", Code::Unavailable, "elsewhere"),
    ("CLOCK_APART", Code::Unavailable, "elsewhere"),
    ("INTERNAL", Code::Internal, "elsewhere"),
];

fn refused(reason: &str, code: Code) -> Status {
    let details = ErrorDetails::with_error_info(reason, "consilium.v1", std::collections::HashMap::new());
    Status::with_error_details(code, "no", details)
}

#[test]
fn every_reason_has_its_verdict() {
    for (reason, code, expected) in VERDICTS {
        let verdict = match classify(&refused(reason, code)) {
            Verdict::Retry(_) => "later",
            Verdict::OtherNode(_) => "elsewhere",
            Verdict::Final => "final",
        };
        assert_eq!(verdict, expected, "{reason}");
    }
    let documented = include_str!("../../../docs/errors.md");
    let rows = documented.split("## What became of").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let reasons: Vec<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(reasons.len(), VERDICTS.len());
    assert!(VERDICTS.iter().all(|(reason, ..)| reasons.contains(reason)), "{reasons:?}");
}

/// Asks nodes in turns, of which each gives its answers one after the other, the last for ever.
async fn ask(nodes: &[(&str, &[&Status])]) -> (Result<u32, ClientError>, u32) {
    let mut calls = 0;
    let result = retry(&QUICK, nodes.len(), |number, _| {
        calls += 1;
        let (endpoint, answers) = nodes[number as usize % nodes.len()];
        let answer = answers.get(number as usize / nodes.len()).or(answers.last());
        let status = answer.map(|status| (*status).clone());
        async move { status.map_or(Ok(7), |status| Err(Failure { endpoint: endpoint.into(), status })) }
    })
    .await;
    (result, calls)
}

#[tokio::test]
async fn what_one_node_refuses_another_is_asked() {
    let denied = refused("PERMISSION_DENIED", Code::PermissionDenied);
    assert_eq!(ask(&[("a:1", &[&denied]), ("b:1", &[])]).await, (Ok(7), 2));
    let away = Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
    let (result, calls) = ask(&[("a:1", &[&denied]), ("b:1", &[&away]), ("c:1", &[&denied])]).await;
    assert_eq!(calls, 3, "who cannot be reached is not waited for");
    let Err(ClientError::Status { reason, message, .. }) = result else { panic!("{result:?}") };
    assert_eq!((reason.as_str(), message.as_str()), ("PERMISSION_DENIED", "no (asked: a:1, b:1, c:1)"));
}

#[tokio::test]
async fn the_most_telling_of_all_refusals_is_told() {
    let apart = refused("CLOCK_APART", Code::Unavailable);
    let revoked = refused("IDENTITY_REFUSED", Code::Unauthenticated);
    for nodes in [[("a:1", &[&apart][..]), ("b:1", &[&revoked])], [("a:1", &[&revoked]), ("b:1", &[&apart])]] {
        let (result, calls) = ask(&nodes).await;
        assert_eq!(calls, 4, "what may pass in a moment is asked twice");
        assert!(matches!(&result, Err(ClientError::Status { reason, .. }) if reason == "IDENTITY_REFUSED"));
    }
    let (result, calls) = ask(&[("a:1", &[&revoked])]).await;
    assert_eq!(calls, 1);
    assert!(matches!(result, Err(ClientError::Status { message, .. }) if message == "no"), "it is the only one");
}

#[tokio::test]
async fn a_node_that_may_answer_later_is_waited_for() {
    let (denied, leaderless) = (refused("PERMISSION_DENIED", Code::PermissionDenied), Status::unavailable("soon"));
    let (result, calls) = ask(&[("a:1", &[&denied]), ("b:1", &[&leaderless; 3])]).await;
    assert!(matches!(result, Err(ClientError::GaveUp { .. })), "{result:?}");
    assert!(calls > 4);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_not_dialled_for_a_minute() {
    let nowhere = ClientError::NoAddress { endpoint: "ehr.local:1".into(), cause: "no address is known".into() };
    let status = Status::from_error(Box::new(nowhere.clone()));
    assert_eq!(ask(&[("ehr.local:1", &[&status])]).await, (Err(nowhere), 2));
}
