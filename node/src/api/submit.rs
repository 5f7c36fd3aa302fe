//! Submitting: from a request to an outcome. The same transaction may come any
//! number of times, over any node; it executes once and the answer is the same.

use std::time::Duration;

use consilium_proto::error::FieldError;
use consilium_proto::header::Leaf;
use consilium_proto::ids::{Height, TimeMs, TransactionId};
use consilium_proto::limits::VALIDITY_AHEAD_MAX_MS;
use consilium_proto::merkle::prove_inclusion;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::receipt::Receipt;
use consilium_proto::transaction::Transaction;
use consilium_proto::vote::CertifiedHeader;
use crossbeam_channel::TrySendError;
use tonic::Status;

use super::errors::{self, Reason};
use super::{Api, Caller};
use crate::runtime::shared::{Shared, now_ms};
use crate::runtime::verifier::VerifyJob;
use crate::runtime::waiters::{Located, Refused, WaitFor};
use crate::storage::StorageError;

impl Api {
    /// Parses a submission and checks what needs no state.
    pub(super) fn parse(&self, transaction: Option<&pb::SignedTransaction>) -> Result<Transaction, Status> {
        let transaction = transaction.ok_or_else(|| {
            Reason::InvalidArgument.field(&consilium_proto::error::FieldError::missing("transaction"))
        })?;
        let transaction =
            Transaction::parse(transaction, self.ledger_id()).map_err(|e| Reason::InvalidTransaction.field(&e))?;
        check_validity(&transaction, now_ms(), self.shared.topology.get().parameters().clock_skew_max_ms)?;
        Ok(transaction)
    }

    /// An enrolment is for the certificate of the session, nothing else.
    pub(super) fn check_enrollment(caller: &Caller, transaction: &Transaction) -> Result<(), Status> {
        let own = caller.info.identity.fingerprint();
        match transaction.enrollment() {
            Some(enroll) if *enroll.fingerprint().as_bytes() != own => {
                Err(Reason::NotOwnCertificate.status("an enrolment must be for the certificate of its own session"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Has a transaction executed, and waits.
    pub(super) async fn execute(
        &self,
        transaction: Transaction,
        wait_for: WaitFor,
        within: Duration,
    ) -> Result<Located, Status> {
        if self.shared.is_quarantined() {
            return Err(Reason::Quarantined.status("this node has put itself aside; use another one"));
        }
        let id = transaction.id;
        let (new, answer) = self.shared.waiters.register(id, wait_for);
        if let Some(located) = locate(&self.shared, &id).map_err(|e| errors::storage(&e))? {
            return self.wait_certified(located, wait_for, within).await;
        }
        if new {
            self.enqueue(transaction)?;
        }
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(Ok(located))) => Ok(located),
            Ok(Ok(Err(refused))) => Err(refusal(refused)),
            Ok(Err(_)) => self.executed_meanwhile(id, wait_for, within).await,
            Err(_) => Err(self.timed_out(&id)),
        }
    }

    fn enqueue(&self, transaction: Transaction) -> Result<(), Status> {
        let id = transaction.id;
        let full = self.shared.waiters.len() > self.limits.queued_transactions_max.get()
            || self.shared.queued.load(std::sync::atomic::Ordering::Relaxed)
                >= self.limits.queued_transactions_max.get();
        let sent = if full { None } else { Some(self.verifier.try_send(VerifyJob::Submission(transaction))) };
        match sent {
            Some(Ok(())) => Ok(()),
            None | Some(Err(TrySendError::Full(_))) => {
                self.shared.waiters.refuse(&id, Refused::Overloaded);
                Err(refusal(Refused::Overloaded))
            }
            Some(Err(TrySendError::Disconnected(_))) => Err(Reason::NoLeader.status("this node is stopping")),
        }
    }

    /// The waiter was dropped: someone else's refusal, or an execution that
    /// came between.
    async fn executed_meanwhile(
        &self,
        id: TransactionId,
        wait_for: WaitFor,
        within: Duration,
    ) -> Result<Located, Status> {
        match locate(&self.shared, &id).map_err(|e| errors::storage(&e))? {
            Some(located) => self.wait_certified(located, wait_for, within).await,
            None => Err(self.timed_out(&id)),
        }
    }

    async fn wait_certified(&self, located: Located, wait_for: WaitFor, within: Duration) -> Result<Located, Status> {
        if wait_for == WaitFor::Certified {
            let mut certified = self.shared.certified.subscribe();
            let reached = |c: &Option<std::sync::Arc<CertifiedHeader>>| {
                c.as_ref().is_some_and(|c| c.header.height >= located.height)
            };
            match tokio::time::timeout(within, certified.wait_for(reached)).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => {
                    return Err(Reason::OutcomeUnknown.status("executed, but not certified in time; ask again"));
                }
            }
        }
        Ok(located)
    }

    fn timed_out(&self, id: &TransactionId) -> Status {
        if self.shared.leader.borrow().is_none() {
            return Reason::NoLeader.status("no leader is known; send the same transaction again");
        }
        Reason::OutcomeUnknown
            .status(format!("transaction {id} has no outcome yet; ask for its status, or send it again"))
    }

    /// The receipt of an executed transaction under the newest certificate.
    pub(super) async fn receipt(&self, id: TransactionId) -> Result<Receipt, Status> {
        let shared = std::sync::Arc::clone(&self.shared);
        let result = tokio::task::spawn_blocking(move || make_receipt(&shared, id)).await;
        let receipt = result.map_err(|_| Reason::Internal.status("stopping"))?;
        receipt
            .map_err(|e| errors::storage(&e))?
            .ok_or_else(|| Reason::NotCertified.status("the transaction is not in a certified block (yet)"))
    }
}

/// Turns away what the rules would turn away, judged by this node's clock.
fn check_validity(transaction: &Transaction, now: TimeMs, skew_ms: u64) -> Result<(), Status> {
    let field = "body.valid_until_ms";
    let until = transaction.valid_until;
    if until < now {
        let error = FieldError::malformed(field, "has passed: the transaction can never execute");
        return Err(Reason::TransactionExpired.field(&error));
    }
    let latest = now.0.saturating_add(VALIDITY_AHEAD_MAX_MS).saturating_add(skew_ms);
    if until.0 > latest {
        let error = FieldError::range(field, now.0, latest, until.0);
        return Err(Reason::InvalidTransaction.field(&error));
    }
    Ok(())
}

/// Where an executed transaction is.
pub(super) fn locate(shared: &Shared, id: &TransactionId) -> Result<Option<Located>, StorageError> {
    let Some(location) = shared.ledger.location(id)? else { return Ok(None) };
    let outcome = Outcome::try_from(location.outcome).map_err(|e| StorageError::corrupt("transaction", e))?;
    Ok(Some(Located { height: location.height, outcome }))
}

fn make_receipt(shared: &Shared, id: TransactionId) -> Result<Option<Receipt>, StorageError> {
    let Some(location) = shared.ledger.location(&id)? else { return Ok(None) };
    let newest = shared.certified.borrow().clone();
    let Some(newest) = newest.filter(|c| c.header.height >= location.height) else { return Ok(None) };
    // The first certificate at or above the leaf's height: the same receipt
    // whenever it is asked for.
    let head = match shared.ledger.certificate_from(location.height)? {
        Some(certificate) if certificate.height <= newest.header.height => {
            let header = shared.ledger.header(certificate.height)?;
            let header = header.ok_or_else(|| StorageError::corrupt("block", "absent"))?;
            CertifiedHeader { header, certificate }
        }
        Some(_) | None => newest.as_ref().clone(),
    };
    let proof = prove_inclusion(&*shared.ledger, location.leaf_index, head.header.tree_size)
        .map_err(|e| StorageError::corrupt("tree", e))?;
    let outcome = Outcome::try_from(location.outcome).map_err(|e| StorageError::corrupt("transaction", e))?;
    Ok(Some(Receipt {
        ledger_id: shared.genesis.ledger_id,
        leaf: Leaf { transaction_id: id, height: Height(location.height.0), outcome },
        leaf_index: location.leaf_index,
        inclusion_path: proof.path().to_vec(),
        head,
        set_changes: Vec::new(),
    }))
}

fn refusal(refused: Refused) -> Status {
    match refused {
        Refused::Overloaded => Reason::Overloaded.status("too many transactions are waiting; try again shortly"),
        Refused::Expired => Reason::TransactionExpired.status("the validity ended before the transaction was ordered"),
        Refused::BadSignature => Reason::BadSignature.status("the signature is not by the author's key"),
        Refused::UnknownAuthor => {
            Reason::UnknownAuthor.status("nobody with the author's fingerprint is enrolled on this ledger")
        }
    }
}

/// What the caller waits for.
pub(super) fn wait_for(value: i32) -> Result<WaitFor, Status> {
    match pb::WaitFor::try_from(value) {
        Ok(pb::WaitFor::Ordered) => Ok(WaitFor::Ordered),
        Ok(pb::WaitFor::Certified | pb::WaitFor::Unspecified) => Ok(WaitFor::Certified),
        Err(_) => {
            let error = consilium_proto::error::FieldError::malformed("wait_for", "is not a known value");
            Err(Reason::InvalidArgument.field(&error))
        }
    }
}
