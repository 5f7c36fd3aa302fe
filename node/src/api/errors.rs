//! Errors at the edge: one place that makes statuses, each with a stable
//! reason in `google.rpc.ErrorInfo`, the field in `BadRequest` where there is
//! one, and a hint when to try again. Causes that would tell a stranger about
//! the inside go to the log, not into the answer.

use std::collections::HashMap;
use std::time::Duration;

use consilium_proto::error::FieldError;
use consilium_proto::ids::{Height, TimeMs, TransactionId};
use consilium_proto::pb::Outcome;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::storage::StorageError;

const DOMAIN: &str = "consilium.v1";

/// Reasons, stable for ever. See docs/errors.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A field of the request is wrong.
    InvalidArgument,
    /// A page is asked for by a token of another list, or of another node.
    PageTokenRefused,
    /// A message is longer than one of its kind may be.
    TooLarge,
    /// There is no such call.
    UnknownMethod,
    /// Messages are not taken compressed.
    CompressionRefused,
    /// A transaction fails the stateless checks.
    InvalidTransaction,
    /// The signature is not by the author's key.
    BadSignature,
    /// Nobody with that fingerprint is enrolled.
    UnknownAuthor,
    /// The transaction's validity has ended: it can never execute.
    TransactionExpired,
    /// An enrolment is not for the certificate of the session.
    NotOwnCertificate,
    /// The identity is revoked, expired, or of a member without standing.
    IdentityRefused,
    /// The role does not allow it.
    PermissionDenied,
    /// Not there, or not for the caller.
    NotFound,
    /// The rules refused the transaction.
    OutcomeRefused,
    /// What a request for access permitted is not released any more.
    ReleaseEnded,
    /// It cannot be done as things are, here or elsewhere.
    NotPossible,
    /// Too much is waiting.
    Overloaded,
    /// No leader is known.
    NoLeader,
    /// It took too long; the outcome is unknown, ask or send again.
    OutcomeUnknown,
    /// It took too long, and nothing comes of it.
    Deadline,
    /// Executed, and not certified yet.
    NotCertified,
    /// The node does not have what was asked for yet.
    Behind,
    /// The node has put itself aside.
    Quarantined,
    /// The node's clock is apart from those of the validators.
    ClockApart,
    /// The node failed.
    Internal,
}

impl Reason {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::PageTokenRefused => "PAGE_TOKEN_REFUSED",
            Self::TooLarge => "TOO_LARGE",
            Self::UnknownMethod => "UNKNOWN_METHOD",
            Self::CompressionRefused => "COMPRESSION_REFUSED",
            Self::InvalidTransaction => "INVALID_TRANSACTION",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::UnknownAuthor => "UNKNOWN_AUTHOR",
            Self::TransactionExpired => "TRANSACTION_EXPIRED",
            Self::NotOwnCertificate => "NOT_OWN_CERTIFICATE",
            Self::IdentityRefused => "IDENTITY_REFUSED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::OutcomeRefused => "OUTCOME_REFUSED",
            Self::ReleaseEnded => "RELEASE_ENDED",
            Self::NotPossible => "NOT_POSSIBLE",
            Self::Overloaded => "OVERLOADED",
            Self::NoLeader => "NO_LEADER",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::Deadline => "DEADLINE",
            Self::NotCertified => "NOT_CERTIFIED",
            Self::Behind => "BEHIND",
            Self::Quarantined => "QUARANTINED",
            Self::ClockApart => "CLOCK_APART",
            Self::Internal => "INTERNAL",
        }
    }

    const fn code(self) -> Code {
        match self {
            Self::InvalidArgument
            | Self::PageTokenRefused
            | Self::TooLarge
            | Self::InvalidTransaction
            | Self::BadSignature => Code::InvalidArgument,
            Self::UnknownMethod | Self::CompressionRefused => Code::Unimplemented,
            Self::UnknownAuthor
            | Self::TransactionExpired
            | Self::OutcomeRefused
            | Self::ReleaseEnded
            | Self::NotPossible => Code::FailedPrecondition,
            Self::NotOwnCertificate | Self::PermissionDenied => Code::PermissionDenied,
            Self::IdentityRefused => Code::Unauthenticated,
            Self::NotFound => Code::NotFound,
            Self::Overloaded => Code::ResourceExhausted,
            Self::NoLeader | Self::NotCertified | Self::Behind | Self::Quarantined | Self::ClockApart => {
                Code::Unavailable
            }
            Self::OutcomeUnknown | Self::Deadline => Code::DeadlineExceeded,
            Self::Internal => Code::Internal,
        }
    }

    const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Overloaded | Self::NoLeader | Self::Behind | Self::NotCertified | Self::ClockApart => {
                Some(Duration::from_millis(200))
            }
            Self::Quarantined => Some(Duration::from_secs(5)),
            Self::InvalidArgument
            | Self::PageTokenRefused
            | Self::TooLarge
            | Self::UnknownMethod
            | Self::CompressionRefused
            | Self::Deadline
            | Self::InvalidTransaction
            | Self::BadSignature
            | Self::UnknownAuthor
            | Self::TransactionExpired
            | Self::NotOwnCertificate
            | Self::IdentityRefused
            | Self::PermissionDenied
            | Self::NotFound
            | Self::OutcomeRefused
            | Self::ReleaseEnded
            | Self::NotPossible
            | Self::OutcomeUnknown
            | Self::Internal => None,
        }
    }

    fn details(self) -> ErrorDetails {
        let mut details = ErrorDetails::with_error_info(self.as_str(), DOMAIN, HashMap::new());
        if let Some(after) = self.retry_after() {
            details.set_retry_info(Some(after));
        }
        details
    }

    /// A status with this reason.
    pub fn status(self, message: impl Into<String>) -> Status {
        metrics::counter!("consilium_requests_failed_total", "reason" => self.as_str()).increment(1);
        Status::with_error_details(self.code(), message, self.details())
    }

    /// A status that names the field that is wrong.
    #[must_use]
    pub fn field(self, error: &FieldError) -> Status {
        metrics::counter!("consilium_requests_failed_total", "reason" => self.as_str()).increment(1);
        let mut details = self.details();
        details.add_bad_request_violation(error.field.clone(), error.problem.to_string());
        Status::with_error_details(self.code(), error.to_string(), details)
    }

    /// The same where what is wrong with the field depends on how things stand here.
    #[must_use]
    pub fn named_field(self, field: &str, problem: &str) -> Status {
        metrics::counter!("consilium_requests_failed_total", "reason" => self.as_str()).increment(1);
        let mut details = self.details();
        details.add_bad_request_violation(field, problem);
        Status::with_error_details(self.code(), format!("{field}: {problem}"), details)
    }

    /// A status that names the field that is wrong by this node's clock, and what that shows.
    #[must_use]
    pub fn field_at(self, error: &FieldError, now: TimeMs) -> Status {
        metrics::counter!("consilium_requests_failed_total", "reason" => self.as_str()).increment(1);
        let clock = HashMap::from([("node_clock_ms".to_owned(), now.to_string())]);
        let mut details = ErrorDetails::with_error_info(self.as_str(), DOMAIN, clock);
        details.add_bad_request_violation(error.field.clone(), error.problem.to_string());
        Status::with_error_details(self.code(), format!("{error}; this node's clock shows {}", now.utc()), details)
    }
}

/// The rules refused a transaction, which is on the ledger: what they said, for programs too.
pub fn refused_by_rules(outcome: Outcome, id: &TransactionId, height: Height) -> Status {
    let reason = Reason::OutcomeRefused;
    metrics::counter!("consilium_requests_failed_total", "reason" => reason.as_str()).increment(1);
    let outcome = outcome.as_str_name();
    let said = [("outcome", outcome.to_owned()), ("transaction_id", id.to_string()), ("height", height.0.to_string())];
    let said = said.map(|(key, value)| (key.to_owned(), value));
    let details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::from(said));
    Status::with_error_details(reason.code(), format!("the rules refused the transaction: {outcome}"), details)
}

/// The author of a request has asked to read too often, and may again after so long.
pub fn over_quota(wait_ms: u64) -> Status {
    let reason = Reason::Overloaded;
    metrics::counter!("consilium_requests_failed_total", "reason" => reason.as_str()).increment(1);
    metrics::counter!("consilium_access_over_quota_total").increment(1);
    let mut details = reason.details();
    details.set_retry_info(Some(Duration::from_millis(wait_ms)));
    details
        .add_quota_failure_violation("author", "requests to read of one identity (limits.access_requests_per_minute)");
    let message = format!("the author asks to read too often; it may ask again in {} s", whole_seconds(wait_ms));
    Status::with_error_details(reason.code(), message, details)
}

/// A caller has had too many answers made, and may ask again after so long.
pub fn over_budget(wait_ms: u64) -> Status {
    let reason = Reason::Overloaded;
    metrics::counter!("consilium_requests_failed_total", "reason" => reason.as_str()).increment(1);
    metrics::counter!("consilium_answers_over_budget_total").increment(1);
    let mut details = reason.details();
    details.set_retry_info(Some(Duration::from_millis(wait_ms)));
    details.add_quota_failure_violation("caller", "answers of one identity, in records, sent again or not");
    let message = format!(
        "more answers were made for this identity than its requests can be for; ask in {} s",
        whole_seconds(wait_ms)
    );
    Status::with_error_details(reason.code(), message, details)
}

/// For people: never less than is to be waited.
fn whole_seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000)
}

/// A fault of the store: details for the log only.
#[must_use]
pub fn storage(error: &StorageError) -> Status {
    tracing::error!(%error, "a request met a fault of the store");
    Reason::Internal.status("this node cannot read its store; another node may answer")
}
