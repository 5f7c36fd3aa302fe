//! Receipts, made for all who wait for one at once. A block's authors are answered in the same
//! moment: they share a snapshot, the certificate, and most of the tree that their proofs are read from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consilium_ledger::tree::Tree;
use consilium_proto::header::Leaf;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::merkle::prove_inclusion;
use consilium_proto::pb::Outcome;
use consilium_proto::receipt::Receipt;
use consilium_proto::vote::CertifiedHeader;
use tokio::sync::oneshot;
use tonic::Status;

use super::Api;
use super::errors::{self, Reason};
use super::reading::read;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// Receipts that are made from one snapshot: who comes later waits for no more than these.
const AT_ONCE_MAX: usize = 256;

/// `None`: it is not certified.
type Made = Result<Option<Receipt>, Status>;

/// Who waits for a receipt. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct ReceiptDesk(Arc<Mutex<Desk>>);

#[derive(Default)]
struct Desk {
    waiting: Vec<(TransactionId, oneshot::Sender<Made>)>,
    /// Somebody makes receipts, and looks here again before it ends.
    busy: bool,
}

impl Api {
    /// The receipt of a transaction, without who signed it.
    pub(super) async fn unsigned_receipt(&self, id: TransactionId) -> Result<Receipt, Status> {
        let (made, waits) = oneshot::channel();
        let idle = {
            let mut desk = self.shared.receipts.desk();
            desk.waiting.push((id, made));
            !std::mem::replace(&mut desk.busy, true)
        };
        if idle {
            tokio::spawn(self.clone().make_receipts());
        }
        let made = waits.await.map_err(|_| Reason::Internal.status("stopping"))??;
        made.ok_or_else(|| Reason::NotCertified.status("the transaction is not in a certified block (yet)"))
    }

    /// Makes receipts until nobody waits for one.
    async fn make_receipts(self) {
        while let Some(waiting) = self.shared.receipts.take() {
            let ids: Vec<_> = waiting.iter().map(|(id, _)| *id).collect();
            // Before the snapshot is taken: what it certifies is in it.
            let made = match self.published.certified() {
                Some(newest) => read(&self.ledger, move |ledger| Ok(make(ledger, &newest, &ids))).await,
                None => Ok(ids.iter().map(|_| Ok(None)).collect()),
            };
            match made {
                // What one meets on a damaged disk is nobody else's.
                Ok(made) => waiting.into_iter().zip(made).for_each(|((_, waits), made)| {
                    drop(waits.send(made.map_err(|e| errors::storage(&e))));
                }),
                Err(status) => waiting.into_iter().for_each(|(_, waits)| drop(waits.send(Err(status.clone())))),
            }
        }
    }
}

impl ReceiptDesk {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who have waited longest; `None`, and nobody is busy any more, if nobody does.
    fn take(&self) -> Option<Vec<(TransactionId, oneshot::Sender<Made>)>> {
        let mut desk = self.desk();
        desk.busy = !desk.waiting.is_empty();
        let some = desk.waiting.len().min(AT_ONCE_MAX);
        desk.busy.then(|| desk.waiting.drain(..some).collect())
    }
}

/// The receipts of transactions, as far as they are certified by a header or one below it.
fn make(
    ledger: &LedgerSnapshot<'_>,
    newest: &CertifiedHeader,
    ids: &[TransactionId],
) -> Vec<Result<Option<Receipt>, StorageError>> {
    let (tree, mut heads) = (Tree::new(ledger), BTreeMap::new());
    ids.iter().map(|id| make_one(ledger, (newest, &mut heads), &tree, *id)).collect()
}

fn make_one(
    ledger: &LedgerSnapshot<'_>,
    (newest, heads): (&CertifiedHeader, &mut BTreeMap<Height, CertifiedHeader>),
    tree: &Tree<'_, LedgerSnapshot<'_>>,
    id: TransactionId,
) -> Result<Option<Receipt>, StorageError> {
    let Some(location) = ledger.location(&id)? else { return Ok(None) };
    if location.height > newest.header.height {
        return Ok(None);
    }
    let head = match heads.get(&location.height) {
        Some(head) => head.clone(),
        None => {
            let head = head_over(ledger, newest, location.height)?;
            heads.insert(location.height, head.clone());
            head
        }
    };
    let proof = prove_inclusion(tree, location.leaf_index, head.header.tree_size);
    let proof = proof.map_err(|e| StorageError::corrupt("tree", e))?;
    let outcome = Outcome::try_from(location.outcome).map_err(|e| StorageError::corrupt("transaction", e))?;
    Ok(Some(Receipt {
        ledger_id: newest.header.ledger_id,
        leaf: Leaf { transaction_id: id, height: location.height, outcome, signature_hash: location.signature_hash },
        leaf_index: location.leaf_index,
        inclusion_path: proof.path().to_vec(),
        head,
        set_changes: Vec::new(),
        signed: None,
    }))
}

/// The first certified header at or above a height: the same receipt whenever it is asked for.
fn head_over(
    ledger: &LedgerSnapshot<'_>,
    newest: &CertifiedHeader,
    height: Height,
) -> Result<CertifiedHeader, StorageError> {
    match ledger.certificate_from(height)? {
        Some(certificate) if certificate.height < newest.header.height => {
            let header = ledger.header(certificate.height)?;
            let header = header.ok_or_else(|| StorageError::corrupt("block", "absent"))?;
            Ok(CertifiedHeader { header, certificate })
        }
        Some(certificate) if certificate.height == newest.header.height => {
            Ok(CertifiedHeader { header: newest.header.clone(), certificate })
        }
        Some(_) | None => Ok(newest.clone()),
    }
}
