//! Reading the ledger for a client: never on a worker of the async runtime, and
//! all of one answer from one snapshot.

use std::sync::Arc;
use std::time::Duration;

use consilium_proto::header::{Header, HeaderProof};
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb::Outcome;
use consilium_proto::vote::CertifiedHeader;
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

impl Api {
    /// What makes a header final that an answer was read at: waits until it, or one behind it,
    /// is certified, which takes no longer than certifying anything does.
    pub(super) async fn prove_header(&self, header: Header, within: Duration) -> Result<HeaderProof, Status> {
        let height = header.height;
        let mut certified = self.published.watch_certified();
        let covers = |c: &Option<Arc<CertifiedHeader>>| c.as_ref().is_some_and(|c| c.header.height >= height);
        let reached = tokio::time::timeout(within, certified.wait_for(covers)).await.map(|r| r.map(drop));
        match reached {
            Ok(Ok(())) => self.read(move |ledger| prove_header(ledger, header)).await,
            Ok(Err(_)) | Err(_) => {
                let why = format!("height {height} is executed but not certified; the network may lack a quorum");
                Err(Reason::NotCertified.status(why))
            }
        }
    }
}

fn prove_header(ledger: &LedgerSnapshot<'_>, header: Header) -> Result<HeaderProof, StorageError> {
    let certificate = ledger.certificate_from(header.height)?;
    let certificate = certificate.ok_or_else(|| StorageError::corrupt("certificate", "absent"))?;
    let mut following = Vec::new();
    for height in header.height.0 + 1..=certificate.height.0 {
        let next = ledger.header(Height(height))?;
        following.push(next.ok_or_else(|| StorageError::corrupt("block", "absent"))?);
    }
    Ok(HeaderProof::new(header, following, certificate))
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
