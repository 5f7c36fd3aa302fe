//! Submitting: from a request to an outcome. The same transaction may come any
//! number of times, over any node; it executes once and the answer is the same.

use std::time::Duration;

use consilium_ledger::lookup::transaction_of;
use consilium_ledger::{Table, keys};
use consilium_proto::error::FieldError;
use consilium_proto::header::Leaf;
use consilium_proto::ids::{Epoch, TimeMs, TransactionId};
use consilium_proto::limits::VALIDITY_AHEAD_MAX_MS;
use consilium_proto::names::SpiffeId;
use consilium_proto::pb;
use consilium_proto::receipt::Receipt;
use consilium_proto::transaction::{SignedHead, Transaction, signed_head};
use consilium_proto::validators::ValidatorSet;
use tonic::Status;

use super::blocks::may_see;
use super::decision::shows_event;
use super::errors::{self, Reason};
use super::{Api, Caller};
use crate::clock::now_ms;
use crate::handle::reserve::Place;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;
use consilium_replica::submission::{Located, Refused, WaitFor};

impl Api {
    /// Parses a submission and checks what needs no more state than the time.
    pub(super) fn parse(&self, transaction: Option<&pb::SignedTransaction>) -> Result<Transaction, Status> {
        let transaction = transaction.ok_or_else(|| {
            Reason::InvalidArgument.field(&consilium_proto::error::FieldError::missing("transaction"))
        })?;
        let transaction =
            Transaction::parse(transaction, self.ledger_id()).map_err(|e| Reason::InvalidTransaction.field(&e))?;
        if let Some(skew) = self.published.status().skew {
            return Err(Reason::ClockApart.status(format!("the clock of this node is {skew}; use another node")));
        }
        let ledger_time = self.published.certified().map_or(TimeMs(0), |certified| certified.header.time);
        let skew_ms = self.published.topology().get().parameters().clock_skew_max_ms;
        check_validity(&transaction, (ledger_time, now_ms()), skew_ms)?;
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

    /// Has a transaction of a caller executed, and waits.
    pub(super) async fn execute(
        &self,
        caller: &Caller,
        transaction: Transaction,
        wait_for: WaitFor,
        within: Duration,
    ) -> Result<Located, Status> {
        if self.published.is_quarantined() {
            return Err(Reason::Quarantined.status("this node has put itself aside; use another one"));
        }
        let id = transaction.id;
        let _place = self.admit(caller, &transaction)?;
        match self.handle.submit(&caller.id, transaction, wait_for, within).await {
            Ok(Ok(located)) => Ok(located),
            // Executed here, whoever leads now: only the certificate is missing.
            Ok(Err(Refused::TimedOut)) => Err(match self.locate(id).await? {
                Some(at) => Reason::OutcomeUnknown
                    .status(format!("transaction {id} is in block {}, which has no certificate yet", at.height)),
                None => self.refusal(&id, Refused::TimedOut),
            }),
            Ok(Err(refused)) => Err(self.refusal(&id, refused)),
            Err(stopping) => Err(Reason::NoLeader.status(stopping.to_string())),
        }
    }

    /// A place for who waits for a transaction; what is urgent has room of its own further on.
    pub(super) fn admit(&self, caller: &Caller, transaction: &Transaction) -> Result<Option<Place<SpiffeId>>, Status> {
        if transaction.urgency().is_some() {
            return Ok(None);
        }
        if self.published.is_disk_nearly_full() {
            return Err(Reason::Overloaded.status("the disk of this node is nearly full; use another node"));
        }
        let place = self.admission.take(&caller.id);
        place.map(Some).ok_or_else(|| self.refusal(&transaction.id, Refused::Overloaded))
    }

    pub(super) fn refusal(&self, id: &TransactionId, refused: Refused) -> Status {
        match refused {
            Refused::Overloaded => Reason::Overloaded.status("too many transactions are waiting; try again shortly"),
            Refused::OverQuota { wait_ms } => errors::over_quota(wait_ms),
            Refused::Expired => {
                Reason::TransactionExpired.status("the validity ended before the transaction was ordered")
            }
            Refused::BadSignature => Reason::BadSignature.status("the signature is not by the author's key"),
            Refused::UnknownAuthor => {
                Reason::UnknownAuthor.status("nobody with the author's fingerprint is enrolled on this ledger")
            }
            Refused::TimedOut if self.published.leader().is_none() => {
                Reason::NoLeader.status("no leader is known; send the same transaction again")
            }
            Refused::TimedOut => Reason::OutcomeUnknown
                .status(format!("transaction {id} has no outcome yet; ask for its status, or send it again")),
        }
    }

    /// The receipt of an executed transaction under the newest certificate. Who signed it is
    /// shown to who may see the transaction, or the event that it left in a log.
    pub(super) async fn receipt(&self, caller: &Caller, id: TransactionId) -> Result<Receipt, Status> {
        let receipt = self.unsigned_receipt(id).await?;
        let (leaf, leaf_index) = (receipt.leaf, receipt.leaf_index);
        let (reader, ledger_id) = (caller.id.clone(), self.ledger_id());
        let signed = move |ledger: &LedgerSnapshot<'_>| {
            let (signed, transaction) = signed_by(ledger, &leaf, leaf_index)?;
            let transaction =
                Transaction::parse_bare(&transaction, ledger_id).map_err(|e| StorageError::corrupt("block", e))?;
            let shown = may_see(ledger, &reader, &transaction)? || shows_event(ledger, &reader, &id)?;
            Ok(shown.then_some(signed))
        };
        Ok(Receipt { signed: self.read(signed).await?, ..receipt })
    }
}

/// Turns away what the rules would turn away, judged by the ledger's time, which is
/// final, and by this node's clock.
fn check_validity(transaction: &Transaction, (ledger_time, now): (TimeMs, TimeMs), skew_ms: u64) -> Result<(), Status> {
    let field = "body.valid_until_ms";
    let until = transaction.head.valid_until;
    let expired = |problem| Err(Reason::TransactionExpired.field_at(&FieldError::malformed(field, problem), now));
    if until < ledger_time {
        return expired("is before the ledger's time: unless it was executed already, the transaction never will be");
    }
    if until < now {
        return expired("has passed by this node's clock: the transaction was not taken");
    }
    let latest = now.0.saturating_add(VALIDITY_AHEAD_MAX_MS).saturating_add(skew_ms);
    if until.0 > latest {
        let error = FieldError::time(field, (now, TimeMs(latest)), until);
        return Err(Reason::InvalidTransaction.field_at(&error, now));
    }
    Ok(())
}

/// What the author of a leaf's transaction signed.
fn signed_by(
    ledger: &LedgerSnapshot<'_>,
    leaf: &Leaf,
    leaf_index: u64,
) -> Result<(SignedHead, pb::SignedTransaction), StorageError> {
    let block = ledger.read(Table::Blocks, &keys::height(leaf.height))?;
    let transaction = block.as_ref().and_then(|block| transaction_of(block, leaf_index));
    match transaction.map(|transaction| (signed_head(&transaction), transaction)) {
        Some((Ok(signed), transaction)) if signed.is_of(leaf) => Ok((signed, transaction)),
        Some(_) | None => Err(StorageError::corrupt("block", "lacks the transaction of a leaf")),
    }
}

/// The validators of an epoch.
pub(super) fn validators_of(ledger: &LedgerSnapshot<'_>, epoch: Epoch) -> Result<ValidatorSet, StorageError> {
    let row: Option<pb::EpochState> = ledger.state(&keys::epoch(epoch))?;
    let set = row.and_then(|row| row.validators).ok_or_else(|| StorageError::corrupt("epoch", "absent"))?;
    ValidatorSet::try_from(&set).map_err(|e| StorageError::corrupt("epoch", e))
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
