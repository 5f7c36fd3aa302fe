//! What can go wrong in the SDK, with the facts a program needs to react.
//!
//! No variant ever holds record contents, tags in clear, or key material; the
//! texts of nodes are kept apart so that whoever prints them can escape them.

use std::path::PathBuf;

use consilium_certs::VerifyError;
use consilium_proto::envelope::EnvelopeError;
use consilium_proto::error::FieldError;
use consilium_proto::ids::{Height, RecordId, TimeMs, TransactionId};
use consilium_proto::keys::KeyError;
use consilium_proto::light_client::TrustError;
use consilium_proto::names::MemberId;
use consilium_proto::pb;
use consilium_proto::receipt::ReceiptError;
use consilium_proto::record::Unproven;
use consilium_proto::signing::SigningError;
use consilium_proto::transaction::SignError;
use tonic::Code;

use crate::access_log::LogFault;
use crate::records::RecipientRefusal;
use crate::standing::Refusal;

/// An SDK call that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A message, from the caller or from a node, has a wrong field.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A file cannot be used.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its contents.
        cause: String,
    },
    /// The profile lacks a setting that the call needs.
    #[error("the profile has no {setting}")]
    Setting {
        /// Name of the key in the configuration file.
        setting: &'static str,
    },
    /// No connection, or it broke.
    #[error("{endpoint}: {cause}")]
    Transport {
        /// host:port.
        endpoint: String,
        /// What the layers below said.
        cause: String,
    },
    /// The name of an endpoint leads nowhere.
    #[error("{endpoint}: {cause}")]
    NoAddress {
        /// host:port.
        endpoint: String,
        /// What the resolver said.
        cause: String,
    },
    /// A node answered with an error.
    #[error("{}{message}", reason_prefix(reason))]
    Status {
        /// gRPC status code.
        code: Code,
        /// `google.rpc.ErrorInfo` reason (docs/errors.md); empty if the node gave none.
        reason: String,
        /// For people; from the network, so escape it before printing.
        message: String,
    },
    /// The server is no node that this client talks to: nothing was asked of it.
    #[error("{node} is refused: {refusal}{}", allowing(refusal))]
    NodeRefused {
        /// Its identity, or host:port where it is of another member.
        node: String,
        /// Why.
        refusal: Box<Refusal>,
    },
    /// The own member runs no node that is known, and no other was named.
    #[error("{member} has no node of its own; name the members whose nodes to talk to (nodes_of), or endpoints")]
    NoOwnNode {
        /// The member.
        member: MemberId,
    },
    /// A recipient that nothing may be sealed for.
    #[error("nothing is sealed for {recipient}: {reason}")]
    RecipientRefused {
        /// Its SPIFFE id.
        recipient: String,
        /// Why.
        reason: RecipientRefusal,
    },
    /// What nodes can prove is older than allowed: what they show may have changed since.
    #[error(
        "the newest certified head that nodes show is {} old by this machine's clock, at most {} are allowed \
         (max_head_age_s); the network has come to a halt, the nodes asked hold newer ones back, or this machine's \
         clock is ahead",
        span(*age_ms),
        span(*bound_ms)
    )]
    StaleHead {
        /// By this machine's clock.
        age_ms: u64,
        /// The setting.
        bound_ms: u64,
    },
    /// The validators have certified a time that this machine has yet to come to.
    #[error("this machine's clock is wrong: it is {} behind the time that the validators have certified", span(*by_ms))]
    ClockBehind {
        /// By how much at least.
        by_ms: u64,
    },
    /// Nodes take a transaction that was just made for one of another time.
    #[error(
        "this machine's clock shows {}, {}: what it signs is not taken",
        here.utc(),
        there.map_or_else(|| "the nodes' another time".to_owned(), |there| format!("the nodes' {}", there.utc()))
    )]
    OwnClock {
        /// By this machine.
        here: TimeMs,
        /// By the node that was asked last, if it says so.
        there: Option<TimeMs>,
    },
    /// Retried until the deadline.
    #[error("gave up after {attempts} attempts: {last}")]
    GaveUp {
        /// Attempts made.
        attempts: u32,
        /// The last error.
        last: Box<ClientError>,
    },
    /// The transaction is on the ledger, refused by the rules: proven where it was submitted, the word of
    /// the node where it asked to read.
    #[error("refused by the rules: {} (transaction {transaction_id}, height {height})", outcome.as_str_name())]
    Rejected {
        /// Why.
        outcome: pb::Outcome,
        /// The transaction.
        transaction_id: TransactionId,
        /// Its block.
        height: Height,
    },
    /// A node's answer, or a file, does not prove what it claims.
    #[error("verification failed: {0}")]
    Verification(#[from] Unverified),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Signing or a signing key failed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Encrypting, decrypting or wrapping failed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// A caller's mistake that fits nowhere above.
    #[error("{0}")]
    Usage(String),
}

/// Why something is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// A certified header, or a change of the validators.
    #[error(transparent)]
    Validators(#[from] TrustError),
    /// A version of a record.
    #[error("record {id}: {why}")]
    Record {
        /// The record.
        id: RecordId,
        /// What is not proven.
        why: Unproven,
    },
    /// A log of access, or a row of a patient.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// An answer that contradicts the question or itself.
    #[error("{0}")]
    Contradiction(String),
}

/// Reason of a node for what is not, or may not be read.
const NOT_FOUND: &str = "NOT_FOUND";
/// How nodes, and the SDK in their place, begin to say it of a record.
const NO_SUCH_RECORD: &str = "no such record for this";

impl From<SignError> for ClientError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Body(field) => field.into(),
            SignError::Key(key) => key.into(),
        }
    }
}

impl ClientError {
    /// What is not, or may not be read: the two look alike.
    pub(crate) fn not_found() -> Self {
        let message = format!("{NO_SUCH_RECORD} identity and purpose");
        Self::Status { code: Code::NotFound, reason: NOT_FOUND.into(), message }
    }

    /// Whether it says that there is no such record, or that it may not be read: nothing tells which.
    #[must_use]
    pub fn is_no_such_record(&self) -> bool {
        matches!(self, Self::Status { reason, message, .. } if reason == NOT_FOUND && message.starts_with(NO_SUCH_RECORD))
    }

    /// A file that cannot be used.
    pub fn file(path: impl Into<PathBuf>, cause: impl ToString) -> Self {
        Self::File { path: path.into(), cause: cause.to_string() }
    }

    /// An answer that contradicts the question or itself.
    pub fn contradiction(what: impl Into<String>) -> Self {
        Self::Verification(Unverified::Contradiction(what.into()))
    }

    /// The same, with which endpoints were asked in vain.
    pub(crate) fn asked(self, endpoints: &str) -> Self {
        match self {
            Self::Status { code, reason, message } => {
                Self::Status { code, reason, message: format!("{message} (asked: {endpoints})") }
            }
            Self::Transport { endpoint, cause } => {
                Self::Transport { endpoint, cause: format!("{cause} (asked: {endpoints})") }
            }
            Self::NoAddress { endpoint, cause } => {
                Self::NoAddress { endpoint, cause: format!("{cause} (asked: {endpoints})") }
            }
            // They name the node, or are of none.
            other => other,
        }
    }

    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::NoAddress { .. } | Self::GaveUp { .. } | Self::StaleHead { .. } => true,
            Self::Status { code, .. } => is_retryable_code(*code),
            Self::Field(_)
            | Self::File { .. }
            | Self::Setting { .. }
            | Self::NodeRefused { .. }
            | Self::NoOwnNode { .. }
            | Self::RecipientRefused { .. }
            | Self::ClockBehind { .. }
            | Self::OwnClock { .. }
            | Self::Rejected { .. }
            | Self::Verification(_)
            | Self::Key(_)
            | Self::Signing(_)
            | Self::Envelope(_)
            | Self::Tls(_)
            | Self::Usage(_) => false,
        }
    }
}

/// Codes that mean "not now". UNKNOWN and INTERNAL are not among them, except
/// when they stand for a broken connection; see [`crate::retry::classify`].
#[must_use]
pub fn is_retryable_code(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Aborted)
}

impl From<ReceiptError> for ClientError {
    fn from(e: ReceiptError) -> Self {
        Self::Verification(e.into())
    }
}

impl From<TrustError> for ClientError {
    fn from(e: TrustError) -> Self {
        Self::Verification(e.into())
    }
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        use tonic_types::StatusExt;
        let info = status.get_details_error_info();
        if let Some(rejected) = info.as_ref().and_then(rejected) {
            return rejected;
        }
        let reason = info.map(|info| info.reason).unwrap_or_default();
        Self::Status { code: status.code(), reason, message: status.message().to_owned() }
    }
}

/// What a node says of a transaction that the rules refused: its word, as every status is.
fn rejected(info: &tonic_types::ErrorInfo) -> Option<ClientError> {
    if info.reason != "OUTCOME_REFUSED" {
        return None;
    }
    let said = |key: &str| info.metadata.get(key);
    Some(ClientError::Rejected {
        outcome: pb::Outcome::from_str_name(said("outcome")?)?,
        transaction_id: said("transaction_id")?.parse().ok()?,
        height: Height(said("height")?.parse().ok()?),
    })
}

/// The setting that would let a node pass, if one would.
fn allowing(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Certificate(VerifyError::OtherMember { presented, .. }) => {
            format!("; the setting nodes_of = [\"{}\"] would allow it", presented.member())
        }
        _ => String::new(),
    }
}

fn reason_prefix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!("{reason}: ") }
}

/// A span of time for people: `40 s`, `3 min 20 s`, `2 h 5 min`, `2 days 1 h`.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let two = |(large, unit): (u64, &str), (small, other): (u64, &str)| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {other}"),
    };
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => two((seconds / 60, "min"), (seconds % 60, "s")),
        3_600..86_400 => two((seconds / 3_600, "h"), (seconds % 3_600 / 60, "min")),
        _ => two((seconds / 86_400, if seconds < 172_800 { "day" } else { "days" }), (seconds % 86_400 / 3_600, "h")),
    }
}

#[cfg(test)]
mod tests;
