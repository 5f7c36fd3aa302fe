//! Reading the ledger for a client: never on a worker of the async runtime, and
//! all of one answer from one snapshot.

use std::sync::Arc;

use consilium_proto::ids::TransactionId;
use consilium_proto::pb::Outcome;
use consilium_replica::submission::Located;
use tonic::Status;

use super::Api;
use super::errors::{self, Reason};
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;
use crate::storage::snapshot::LedgerSnapshot;

impl Api {
    /// Reads an answer from one snapshot. What was published before (a height
    /// that is applied or certified) is in it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LedgerSnapshot<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, Status> {
        read(&self.ledger, work).await
    }

    /// Where an executed transaction is: one row, which never changes, and that
    /// every submission asks for. It needs no snapshot.
    pub(super) async fn locate(&self, id: TransactionId) -> Result<Option<Located>, Status> {
        off_worker(&self.ledger, move |ledger| {
            let Some(location) = ledger.location(&id)? else { return Ok(None) };
            let outcome = Outcome::try_from(location.outcome).map_err(|e| StorageError::corrupt("transaction", e))?;
            Ok(Some(Located { height: location.height, outcome }))
        })
        .await
    }
}

/// As [`Api::read`].
async fn read<T: Send + 'static>(
    ledger: &Arc<LedgerStore>,
    work: impl FnOnce(&LedgerSnapshot<'_>) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, Status> {
    off_worker(ledger, move |ledger| work(&ledger.snapshot()?)).await
}

async fn off_worker<T: Send + 'static>(
    ledger: &Arc<LedgerStore>,
    work: impl FnOnce(&LedgerStore) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, Status> {
    let ledger = Arc::clone(ledger);
    let done = tokio::task::spawn_blocking(move || work(&ledger)).await;
    done.map_err(|_| Reason::Internal.status("stopping"))?.map_err(|e| errors::storage(&e))
}

#[cfg(test)]
mod tests;
