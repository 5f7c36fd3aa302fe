//! What verification found wrong first: where, and what differs.

use consilium_proto::error::FieldError;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{HeaderHash, Height, LedgerId, TransactionId};
use consilium_proto::light_client::TrustError;
use consilium_proto::vote::CertificateError;

use super::format::ArchiveError;

/// The first thing that is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyFailure {
    /// The file itself.
    #[error("the archive {0}")]
    Archive(#[from] ArchiveError),
    /// Entries are missing, doubled, or out of order.
    #[error("the archive {0}")]
    Structure(&'static str),
    /// The archive's own genesis or a header names another ledger.
    #[error("the archive is of ledger {found}, not of {expected}")]
    OtherLedger {
        /// Of the genesis document that the verifier was given.
        expected: LedgerId,
        /// Found.
        found: LedgerId,
    },
    /// A block is missing or doubled.
    #[error("expected the block at height {expected}, found height {found}")]
    Height {
        /// Expected.
        expected: Height,
        /// Found.
        found: Height,
    },
    /// A message inside a block is malformed.
    #[error("height {height}: {error}")]
    Malformed {
        /// The block.
        height: Height,
        /// Which field.
        error: FieldError,
    },
    /// The first header is not the one that the genesis document gives.
    #[error("the genesis header differs from the genesis document: {what}")]
    GenesisHeader {
        /// Which field.
        what: &'static str,
    },
    /// A header does not name its parent.
    #[error("height {height}: names {found} as the header before, which is {expected}")]
    PreviousHash {
        /// The block.
        height: Height,
        /// Hash of the header before.
        expected: HeaderHash,
        /// Found.
        found: HeaderHash,
    },
    /// A block is older than its parent.
    #[error("height {height}: its time {found} is before its parent's {parent}")]
    Time {
        /// The block.
        height: Height,
        /// Milliseconds.
        parent: u64,
        /// Milliseconds.
        found: u64,
    },
    /// Validators changed without the header before saying so.
    #[error("height {height}: names another validator set than the header before promised")]
    Validators {
        /// The block.
        height: Height,
    },
    /// An epoch ended without a change of validators that says so, or did not
    /// end where the validators changed.
    #[error("height {height}: is of epoch {found}, after a block of epoch {parent}")]
    Epoch {
        /// The block.
        height: Height,
        /// Of the block before.
        parent: u64,
        /// Found.
        found: u64,
    },
    /// What a change of the validators needs is missing or does not belong.
    #[error("height {height}: {what}")]
    SetChange {
        /// The block that ends an epoch.
        height: Height,
        /// What is wrong.
        what: &'static str,
    },
    /// The validators that end an epoch did not hand over to those that follow.
    #[error("height {height}: the change of the validators: {error}")]
    Untrusted {
        /// The block that ends an epoch.
        height: Height,
        /// Why the set that follows is not trusted.
        error: TrustError,
    },
    /// The state tells another history of elections than the headers.
    #[error("the state's record of epoch {epoch} {what}")]
    Election {
        /// The epoch.
        epoch: u64,
        /// What differs.
        what: &'static str,
    },
    /// A count does not agree with the leaves.
    #[error("height {height}: {what} is {found}, the leaves give {expected}")]
    Count {
        /// The block.
        height: Height,
        /// `first_leaf` or `tree_size`.
        what: &'static str,
        /// From the leaves.
        expected: u64,
        /// Found.
        found: u64,
    },
    /// The tree's root does not agree with the leaves.
    #[error("height {height}: the tree root is {found}, the transactions give {computed}")]
    TreeRoot {
        /// The block.
        height: Height,
        /// From the leaves.
        computed: Hash,
        /// Found.
        found: Hash,
    },
    /// A transaction stands on the ledger twice.
    #[error("height {height}: transaction {transaction} is on the ledger already")]
    Twice {
        /// The second block.
        height: Height,
        /// The transaction.
        transaction: TransactionId,
    },
    /// A transaction was executed outside its validity.
    #[error("height {height}: transaction {transaction} was executed outside its validity")]
    Validity {
        /// The block.
        height: Height,
        /// The transaction.
        transaction: TransactionId,
    },
    /// A transaction was executed for someone who was not enrolled before.
    #[error("height {height}: transaction {transaction} was executed, but its author is not enrolled")]
    UnknownAuthor {
        /// The block.
        height: Height,
        /// The transaction.
        transaction: TransactionId,
    },
    /// A transaction was refused for a reason that is not so.
    #[error("height {height}: transaction {transaction} was refused as {outcome}, which is not so")]
    FalseRefusal {
        /// The block.
        height: Height,
        /// The transaction.
        transaction: TransactionId,
        /// The recorded outcome.
        outcome: &'static str,
    },
    /// An author's signature is wrong.
    #[error("height {height}: the signature of transaction {transaction} is wrong")]
    Signature {
        /// The block.
        height: Height,
        /// The transaction.
        transaction: TransactionId,
    },
    /// An applied enrolment's certificate does not verify.
    #[error("height {height}: transaction {transaction} enrols a certificate that does not verify: {cause}")]
    Enrolment {
        /// The block.
        height: Height,
        /// The transaction.
        transaction: TransactionId,
        /// Why not.
        cause: String,
    },
    /// A certificate does not make its block final.
    #[error("height {height}: {error}")]
    Certificate {
        /// The block that holds it.
        height: Height,
        /// Why not.
        error: CertificateError,
    },
    /// An attachment is not what the transaction committed to.
    #[error("height {height}: attachment {index} differs from what transaction {transaction} committed to")]
    Attachment {
        /// The block.
        height: Height,
        /// The transaction.
        transaction: TransactionId,
        /// Position among the block's attachments, from 0.
        index: usize,
    },
    /// Too many or too few attachments.
    #[error("height {height}: {found} attachments, the applied transactions name {expected}")]
    AttachmentCount {
        /// The block.
        height: Height,
        /// Named by applied transactions.
        expected: usize,
        /// Found.
        found: usize,
    },
    /// The rows of the state do not give the root in the last header.
    #[error("the state's rows give the root {computed}, the header at height {height} has {expected}")]
    StateRoot {
        /// The last block.
        height: Height,
        /// In its header.
        expected: Hash,
        /// From the rows.
        computed: Hash,
    },
    /// A record's history is not what the state commits to.
    #[error("record {record}, version {version}: {what}")]
    Version {
        /// Record id, hexadecimal.
        record: String,
        /// The version.
        version: u32,
        /// What differs.
        what: &'static str,
    },
    /// An entry of a log is not one to which the state commits.
    #[error("{log}: entry {place} {what}")]
    Log {
        /// Its row of the state, in words.
        log: String,
        /// From 0.
        place: u64,
        /// What differs.
        what: &'static str,
    },
    /// The entries of a log do not lead to the root that the state names.
    #[error("{log}: one of the entries {first} to {last} was changed, left out or put in")]
    LogRoot {
        /// Its row of the state, in words.
        log: String,
        /// The first that it may be, from 0.
        first: u64,
        /// The last.
        last: u64,
    },
    /// A request for access that no log has.
    #[error("height {height}: transaction {transaction} asked for access, and no log has an event of it")]
    NoEvent {
        /// The block.
        height: Height,
        /// The transaction.
        transaction: TransactionId,
    },
}

impl VerifyFailure {
    /// The height that it is about; `None` for the file as a whole.
    #[must_use]
    pub fn height(&self) -> Option<Height> {
        match self {
            Self::Height { expected, .. } => Some(*expected),
            Self::GenesisHeader { .. } => Some(Height::GENESIS),
            Self::Malformed { height, .. }
            | Self::PreviousHash { height, .. }
            | Self::Time { height, .. }
            | Self::Validators { height }
            | Self::Epoch { height, .. }
            | Self::SetChange { height, .. }
            | Self::Untrusted { height, .. }
            | Self::Count { height, .. }
            | Self::TreeRoot { height, .. }
            | Self::Twice { height, .. }
            | Self::Validity { height, .. }
            | Self::UnknownAuthor { height, .. }
            | Self::FalseRefusal { height, .. }
            | Self::Signature { height, .. }
            | Self::Enrolment { height, .. }
            | Self::Certificate { height, .. }
            | Self::Attachment { height, .. }
            | Self::AttachmentCount { height, .. }
            | Self::NoEvent { height, .. }
            | Self::StateRoot { height, .. } => Some(*height),
            Self::Archive(_)
            | Self::Structure(_)
            | Self::OtherLedger { .. }
            | Self::Election { .. }
            | Self::Log { .. }
            | Self::LogRoot { .. }
            | Self::Version { .. } => None,
        }
    }
}
