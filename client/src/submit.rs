//! Submission: signs transactions, and sends them until their fate is known.
//! An answer is believed for its receipt, never for its word.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use consilium_proto::ids::{Height, TimeMs, TransactionId};
use consilium_proto::limits::VALIDITY_AHEAD_MAX_MS;
use consilium_proto::receipt::Receipt;
use consilium_proto::transaction::{self, SignedHead, Transaction};
use consilium_proto::{error::fixed, pb};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::client::Client;
use crate::clock::now_ms;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::submit_lane;
use crate::transport::ledger_service;

/// How long a new transaction stays valid, milliseconds.
pub const VALIDITY_MS: u64 = 10 * 60 * 1000;
/// Reason of a node for a transaction whose validity has ended.
const EXPIRED: &str = "TRANSACTION_EXPIRED";
/// Where it says, in `ErrorInfo.metadata`, what its clock shows.
const NODE_CLOCK_MS: &str = "node_clock_ms";

/// A transaction whose fate is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub transaction_id: TransactionId,
    /// Its block.
    pub height: Height,
    /// What the rules said.
    pub outcome: pb::Outcome,
    /// Verified. Absent when ORDERED was waited for. To be kept, it needs
    /// [`Client::self_contained`].
    pub receipt: Option<Receipt>,
}

impl Submitted {
    /// Itself, if the transaction took effect.
    ///
    /// # Errors
    /// [`ClientError::Rejected`].
    pub fn into_applied(self) -> Result<Self, ClientError> {
        match self.outcome {
            pb::Outcome::Applied => Ok(self),
            outcome => Err(ClientError::Rejected { outcome, transaction_id: self.transaction_id, height: self.height }),
        }
    }
}

impl Client {
    /// Signs a transaction that stays valid for [`VALIDITY_MS`], after the
    /// stateless checks that every node makes.
    ///
    /// # Errors
    /// A field that nodes would refuse, or a key that cannot sign.
    pub fn sign(
        &self,
        actions: Vec<pb::Action>,
        attachments: Vec<Bytes>,
    ) -> Result<pb::SignedTransaction, ClientError> {
        self.sign_for(VALIDITY_MS, actions, attachments)
    }

    /// The same, valid for so many milliseconds, a day at most.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn sign_for(
        &self,
        validity_ms: u64,
        actions: Vec<pb::Action>,
        attachments: Vec<Bytes>,
    ) -> Result<pb::SignedTransaction, ClientError> {
        let identity = self.identity();
        let body = pb::TransactionBody { valid_until_ms: now_ms() + validity_ms, ..self.body(&actions) };
        let signed = transaction::sign(body, identity.author(), identity.signing_key()?, attachments)?;
        Transaction::parse(&signed, self.genesis().ledger_id)?;
        Ok(signed)
    }

    /// A body with a fresh nonce, valid for [`VALIDITY_MS`] from now.
    #[must_use]
    pub fn body(&self, actions: &[pb::Action]) -> pb::TransactionBody {
        pb::TransactionBody {
            ledger_id: self.genesis().ledger_id.to_bytes(),
            nonce: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
            valid_until_ms: now_ms() + VALIDITY_MS,
            actions: transaction::encode_actions(actions),
            author: self.identity().author().to_bytes(),
        }
    }

    /// Submits until the transaction's fate is known. A CERTIFIED answer comes
    /// with a receipt, verified here; an ORDERED one is the node's word.
    ///
    /// # Errors
    /// A final refusal of the node, [`ClientError::GaveUp`] (submitting the
    /// same transaction again is safe), or an answer that proves nothing. A
    /// transaction that the rules refuse is no error here; see
    /// [`Submitted::into_applied`].
    pub async fn submit(&self, tx: pb::SignedTransaction, wait: pb::WaitFor) -> Result<Submitted, ClientError> {
        let own = transaction::signed_head(&tx)?;
        let valid_until_ms = own.head.valid_until.0;
        let request = pb::SubmitRequest { transaction: Some(tx), wait_for: wait.into(), omit_receipt: false };
        let (doubts, clock) = (&AtomicUsize::new(0), &NodeClock::default());
        let nodes = self.endpoints().count();
        let by_lane = request.transaction.as_ref().is_some_and(submit_lane::takes);
        let answer = self
            .call_node(|node, left| {
                let (request, channel, lane) = (request.clone(), node.channel.clone(), node.lane.clone());
                async move {
                    let answer = match by_lane {
                        true => lane.submit(request, left).await,
                        false => {
                            let mut request = Request::new(request);
                            request.set_timeout(left);
                            ledger_service(channel).submit(request).await
                        }
                    };
                    answer.map_err(|status| {
                        let doubted = is_doubtful(&status, (valid_until_ms, now_ms()));
                        clock.note(&status);
                        // Each node is asked once: then it is this clock that is wrong.
                        if doubted && doubts.fetch_add(1, Ordering::Relaxed) + 1 < nodes {
                            return Status::unavailable(status.message());
                        }
                        status
                    })
                }
            })
            .await
            .map_err(|error| own_clock(error, clock, (valid_until_ms, now_ms())))?;
        let answered = Answered::new(if by_lane { "SubmitStream" } else { "Submit" }, answer, request);
        let submitted = self.check_submitted(own, &answered.answer, wait).await;
        self.judged(&answered, submitted)
    }

    async fn check_submitted(
        &self,
        own: SignedHead,
        answer: &pb::SubmitResponse,
        wait: pb::WaitFor,
    ) -> Result<Submitted, ClientError> {
        let id = own.head.id();
        if fixed::<32>("transaction_id", &answer.transaction_id)? != *id.as_bytes() {
            return Err(ClientError::contradiction("the answer is about another transaction"));
        }
        let receipt = match &answer.receipt {
            Some(receipt) => {
                let receipt = self.verified_receipt(receipt, id).await?;
                // Not so where the ledger has another signature by the same key.
                let signed = Some(own).filter(|own| own.is_of(&receipt.leaf));
                Some(Receipt { signed, ..receipt })
            }
            None => None,
        };
        let submitted = Submitted {
            transaction_id: id,
            height: Height(answer.height),
            outcome: outcome_from(answer.outcome)?,
            receipt,
        };
        if let Some(receipt) = &submitted.receipt
            && (receipt.leaf.height, receipt.leaf.outcome) != (submitted.height, submitted.outcome)
        {
            return Err(ClientError::contradiction("the answer differs from its receipt"));
        }
        if wait != pb::WaitFor::Ordered && submitted.receipt.is_none() {
            return Err(ClientError::contradiction("a certified answer has no receipt"));
        }
        Ok(submitted)
    }

    /// Parses a receipt and verifies it under the validators of its head.
    ///
    /// # Errors
    /// If it is none, or proves something else or nothing.
    pub async fn verified_receipt(&self, m: &pb::Receipt, id: TransactionId) -> Result<Receipt, ClientError> {
        let receipt = Receipt::try_from(m)?;
        self.check_ledger(&receipt.head.header)?;
        self.follow_to(&receipt.head.header).await?;
        self.inner().validators.verify_receipt(&receipt, self.genesis().ledger_id)?;
        if receipt.leaf.transaction_id != id {
            return Err(ClientError::contradiction("the receipt is of another transaction"));
        }
        Ok(receipt)
    }
}

pub(crate) fn outcome_from(code: i32) -> Result<pb::Outcome, ClientError> {
    match pb::Outcome::try_from(code) {
        Ok(pb::Outcome::Unspecified) | Err(_) => Err(ClientError::contradiction("the answer has no known outcome")),
        Ok(outcome) => Ok(outcome),
    }
}

/// Whether a node takes a transaction for expired that is not, by the clock here: its own may
/// be wrong, and it may not have found out yet. The next node knows better.
fn is_doubtful(status: &Status, (valid_until_ms, now_ms): (u64, u64)) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    reason.as_deref() == Some(EXPIRED) && now_ms < valid_until_ms
}

/// What the nodes' clock showed when one of them took a transaction for one of another time.
#[derive(Debug, Default)]
struct NodeClock(AtomicU64);

impl NodeClock {
    fn note(&self, status: &Status) {
        let info = status.get_details_error_info();
        if let Some(ms) = info.and_then(|info| info.metadata.get(NODE_CLOCK_MS)?.parse().ok()) {
            self.0.store(ms, Ordering::Relaxed);
        }
    }

    fn shown(&self) -> Option<TimeMs> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ms| *ms != 0).map(TimeMs)
    }
}

/// All nodes take a transaction for one of another time that is none by the clock here: then it is
/// the one that is wrong, and no other transaction would fare better.
fn own_clock(error: ClientError, clock: &NodeClock, (valid_until_ms, here): (u64, u64)) -> ClientError {
    let ClientError::Status { reason, .. } = &error else { return error };
    let early = reason == EXPIRED && here < valid_until_ms;
    let late = reason == "INVALID_TRANSACTION" && valid_until_ms.saturating_sub(here) <= VALIDITY_AHEAD_MAX_MS;
    match clock.shown() {
        // A node says the time only where that is why it refuses.
        Some(there) if early || late => ClientError::OwnClock { here: TimeMs(here), there: Some(there) },
        None if early => ClientError::OwnClock { here: TimeMs(here), there: None },
        Some(_) | None => error,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    fn refused(reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "consilium.v1", std::collections::HashMap::new());
        Status::with_error_details(Code::InvalidArgument, "no", details)
    }

    #[test]
    fn a_node_whose_clock_is_ahead_has_not_the_last_word() {
        assert!(is_doubtful(&refused("TRANSACTION_EXPIRED"), (1_000, 999)));
        assert!(!is_doubtful(&refused("TRANSACTION_EXPIRED"), (1_000, 1_000)), "both say so");
        assert!(!is_doubtful(&refused("BAD_SIGNATURE"), (1_000, 999)));
        assert!(!is_doubtful(&Status::unavailable("away"), (1_000, 999)));
    }

    #[test]
    fn when_all_nodes_are_of_another_time_it_is_this_clock_that_is_wrong() {
        let told = |ms: &str| {
            let info = std::collections::HashMap::from([(NODE_CLOCK_MS.to_owned(), ms.to_owned())]);
            let details = ErrorDetails::with_error_info(EXPIRED, "consilium.v1", info);
            Status::with_error_details(Code::FailedPrecondition, "no", details)
        };
        let clock = NodeClock::default();
        let error = |reason: &str| ClientError::from(refused(reason));
        let unknown = ClientError::OwnClock { here: TimeMs(10), there: None };
        assert_eq!(own_clock(error(EXPIRED), &clock, (20, 10)), unknown);
        assert_eq!(own_clock(error("INVALID_TRANSACTION"), &clock, (20, 10)), error("INVALID_TRANSACTION"));
        clock.note(&told("9000"));
        let wrong = ClientError::OwnClock { here: TimeMs(10), there: Some(TimeMs(9_000)) };
        for reason in [EXPIRED, "INVALID_TRANSACTION"] {
            assert_eq!(own_clock(error(reason), &clock, (20, 10)), wrong);
        }
        assert_eq!(own_clock(error(EXPIRED), &clock, (10, 10)), error(EXPIRED), "it is over by this clock, too");
        let far = VALIDITY_AHEAD_MAX_MS + 11;
        assert_eq!(own_clock(error("INVALID_TRANSACTION"), &clock, (far, 10)), error("INVALID_TRANSACTION"));
        assert_eq!(own_clock(error("BAD_SIGNATURE"), &clock, (20, 10)), error("BAD_SIGNATURE"));
    }
}
