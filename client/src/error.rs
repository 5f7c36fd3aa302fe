//! What can go wrong in the SDK, with the facts a program needs to react.
//!
//! No variant ever holds record contents, tags in clear, or key material; the
//! texts of nodes are kept apart so that whoever prints them can escape them.

use std::path::PathBuf;

use consilium_proto::envelope::EnvelopeError;
use consilium_proto::error::FieldError;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::keys::KeyError;
use consilium_proto::light_client::TrustError;
use consilium_proto::pb;
use consilium_proto::receipt::ReceiptError;
use consilium_proto::signing::SigningError;
use tonic::Code;

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
    /// Retried until the deadline.
    #[error("gave up after {attempts} attempts: {last}")]
    GaveUp {
        /// Attempts made.
        attempts: u32,
        /// The last error.
        last: Box<ClientError>,
    },
    /// The transaction is on the ledger, refused by the rules.
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
    /// An answer that contradicts the question or itself.
    #[error("{0}")]
    Contradiction(String),
}

impl ClientError {
    /// A file that cannot be used.
    pub fn file(path: impl Into<PathBuf>, cause: impl ToString) -> Self {
        Self::File { path: path.into(), cause: cause.to_string() }
    }

    /// An answer that contradicts the question or itself.
    pub fn contradiction(what: impl Into<String>) -> Self {
        Self::Verification(Unverified::Contradiction(what.into()))
    }

    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::GaveUp { .. } => true,
            Self::Status { code, .. } => crate::retry::is_retryable_code(*code),
            Self::Field(_)
            | Self::File { .. }
            | Self::Setting { .. }
            | Self::Rejected { .. }
            | Self::Verification(_)
            | Self::Key(_)
            | Self::Signing(_)
            | Self::Envelope(_)
            | Self::Tls(_)
            | Self::Usage(_) => false,
        }
    }

    /// What the person in front of the screen can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Setting { .. } => Some("set it in the configuration file, or pass the flag of the same name"),
            Self::Transport { .. } => Some("check the endpoints, and that this identity's member is in the genesis"),
            Self::GaveUp { last, .. } => last.hint().or(Some("sending the same transaction again is safe")),
            Self::Verification(_) => Some("do not trust this answer; ask another node, and tell its operator"),
            Self::Rejected { outcome, .. } => outcome_hint(*outcome),
            Self::Status { reason, .. } if reason == "UNKNOWN_AUTHOR" => Some("run `consilium identity enroll` first"),
            Self::Field(_)
            | Self::File { .. }
            | Self::Status { .. }
            | Self::Key(_)
            | Self::Signing(_)
            | Self::Envelope(_)
            | Self::Tls(_)
            | Self::Usage(_) => None,
        }
    }
}

/// What to do about a refusal of the rules, where that is not plain from its name.
const OUTCOME_HINTS: [(pb::Outcome, &str); 12] = [
    (pb::Outcome::UnknownAuthor, "run `consilium identity enroll` first"),
    (pb::Outcome::RoleNotAllowed, "use an identity whose role may do this; governance and stake are for admins"),
    (pb::Outcome::StakeNotAvailable, "see `consilium stake show`; changes under way count, too"),
    (pb::Outcome::NodeNotFound, "see `consilium governance members`"),
    (pb::Outcome::ReleaseTooEarly, "ask again in the next epoch; see `consilium validators epoch`"),
    (pb::Outcome::NotJailed, "see `consilium validators list`; a penalty is lifted by a proposal"),
    (pb::Outcome::ProposalRefused, "the state has moved on; look again and decide anew"),
    (pb::Outcome::ProposalClosed, "see `consilium governance show`"),
    (pb::Outcome::WouldStrandNetwork, "first have validators elected that can take over"),
    (pb::Outcome::NodeExists, "choose another name, or a new vote key: a key serves one node once"),
    (pb::Outcome::TooManyNodes, "retire a node, or use `consilium governance propose add-node`"),
    (pb::Outcome::TooManyProposals, "cancel open proposals first"),
];

fn outcome_hint(outcome: pb::Outcome) -> Option<&'static str> {
    OUTCOME_HINTS.iter().find(|(about, _)| *about == outcome).map(|(_, hint)| *hint)
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
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        Self::Status { code: status.code(), reason, message: status.message().to_owned() }
    }
}

fn reason_prefix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!("{reason}: ") }
}
