//! Transactions that clients and peers hand in, and what becomes of them.

use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::Height;
use consilium_proto::pb::Outcome;
use consilium_proto::signing::VerifyingKey;
use consilium_proto::transaction::Transaction;

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Executed here.
    Ordered,
    /// In a certified block.
    Certified,
}

/// An executed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Its block.
    pub height: Height,
    /// What the rules said.
    pub outcome: Outcome,
}

/// Why a transaction will not be executed from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// A queue is full.
    Overloaded,
    /// The author has asked to read too often.
    OverQuota {
        /// Milliseconds until it may ask once more.
        wait_ms: u64,
    },
    /// The signature is not by the author's key.
    BadSignature,
    /// Nobody with that fingerprint is enrolled.
    UnknownAuthor,
    /// Its validity ended before it was ordered.
    Expired,
    /// No outcome before the deadline; it may still come to one.
    TimedOut,
}

/// What a look at the signature told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Good under this key, which is the author's.
    Good(VerifyingKey),
    /// An enrolment: its certificate is for the rules to judge.
    Enrollment,
    /// Not by the author's key.
    BadSignature,
    /// The author is not enrolled, as far as this node's state goes.
    UnknownAuthor,
}

/// A transaction with the verdict on its signature.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The transaction.
    pub transaction: Transaction,
    /// The verdict.
    pub verdict: Verdict,
}

impl Submission {
    /// The transaction as the rules want it.
    ///
    /// # Errors
    /// Why it must not be ordered.
    pub fn admit(self) -> Result<CheckedTransaction, Refused> {
        let verified_under = match self.verdict {
            Verdict::Good(key) => Some(key),
            Verdict::Enrollment => None,
            Verdict::BadSignature => return Err(Refused::BadSignature),
            Verdict::UnknownAuthor => return Err(Refused::UnknownAuthor),
        };
        Ok(CheckedTransaction { transaction: self.transaction, verified_under })
    }
}
