//! Blocks as a caller may see them: who may not see a transaction that tells of a patient gets
//! what its leaf is made of, and can still hold the block against its header.

use bytes::Bytes;
use consilium_ledger::keys;
use consilium_proto::error::FieldError;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{Fingerprint, Height, LedgerId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb;
use consilium_proto::transaction::{Transaction, signature_hash};
use tonic::Status;

use super::Caller;
use super::errors::Reason;
use crate::access::{self, Decision, What};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// What of blocks is shown to one caller.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    reader: SpiffeId,
    headers_only: bool,
    ledger_id: LedgerId,
}

impl Shown {
    /// Blocks are asked for by height: a stream that may not have them ends at once.
    pub(super) fn to(caller: &Caller, headers_only: bool, ledger_id: LedgerId) -> Result<Self, Status> {
        match access::decide(&access::Request { reader: &caller.id, what: What::Block }) {
            Decision::Allow(_) => Ok(Self { reader: caller.id.clone(), headers_only, ledger_id }),
            Decision::Deny(_) => Err(Reason::PermissionDenied.status("blocks are not for the caller")),
        }
    }

    /// A block with the certificate that is over it.
    pub(super) fn listed(
        &self,
        ledger: &LedgerSnapshot<'_>,
        height: Height,
    ) -> Result<pb::ListBlocksResponse, StorageError> {
        let certificate = ledger.certificate_at(height)?;
        let block = Some(self.block(ledger, height)?);
        Ok(pb::ListBlocksResponse { block, certificate: certificate.as_ref().map(Into::into) })
    }

    /// A block.
    pub(super) fn block(&self, ledger: &LedgerSnapshot<'_>, height: Height) -> Result<pb::Block, StorageError> {
        let block = ledger.block(height)?.ok_or_else(|| StorageError::corrupt("block", "absent"))?;
        let stored = if self.headers_only { Vec::new() } else { block.transactions };
        let shown = stored.into_iter().map(|executed| self.transaction(ledger, executed));
        Ok(pb::Block { transactions: shown.collect::<Result<_, _>>()?, ..block })
    }

    fn transaction(
        &self,
        ledger: &LedgerSnapshot<'_>,
        executed: pb::ExecutedTransaction,
    ) -> Result<pb::ExecutedTransaction, StorageError> {
        let damaged = |e: FieldError| StorageError::corrupt("block", e);
        let wire = executed.transaction.as_ref().ok_or_else(|| damaged(FieldError::missing("transaction")))?;
        let transaction = Transaction::parse_bare(wire, self.ledger_id).map_err(damaged)?;
        if may_see(ledger, &self.reader, &transaction)? {
            return Ok(executed);
        }
        let signature = signature_hash(&transaction.signature);
        let withheld = pb::WithheldTransaction {
            transaction_id: transaction.id.to_bytes(),
            signature_sha256: Bytes::copy_from_slice(Hash::as_bytes(&signature)),
        };
        Ok(pb::ExecutedTransaction { transaction: None, outcome: executed.outcome, withheld: Some(withheld) })
    }
}

/// Whether a transaction, or who signed it, is for a reader.
pub(super) fn may_see(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    transaction: &Transaction,
) -> Result<bool, StorageError> {
    let of_patient = transaction.tells_of_patients();
    let author = if of_patient { author(ledger, &transaction.head.author)? } else { None };
    let what = What::Transaction { author: author.as_ref(), of_patient };
    Ok(access::decide(&access::Request { reader, what }).allows())
}

/// Whose key signed; also of those who have lost their rights since.
fn author(ledger: &LedgerSnapshot<'_>, key: &Fingerprint) -> Result<Option<SpiffeId>, StorageError> {
    let signer: Option<pb::SignerState> = ledger.state(&keys::signer(key))?;
    let name = signer.map(|signer| signer.spiffe_id.parse::<SpiffeId>()).transpose();
    name.map_err(|e| StorageError::corrupt("signer", e))
}
