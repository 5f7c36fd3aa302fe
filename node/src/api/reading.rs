//! Reading the ledger for a client: never on a worker of the async runtime, and
//! all of one answer from one snapshot.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use consilium_proto::header::{Header, HeaderProof};
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::Outcome;
use consilium_proto::transaction::Urgency;
use consilium_proto::vote::CertifiedHeader;
use consilium_replica::submission::Located;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::Api;
use super::errors::{self, Reason};
use crate::contained;
use crate::handle::reserve::{Place, Reserve, Room};
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;
use crate::storage::snapshot::LedgerSnapshot;

/// Reads at once: more would only take the processors from each other.
const READS_MAX: usize = 64;
/// Of all kinds.
pub(crate) const READS_AT_ONCE: usize = READS_MAX + URGENT_READS.all;
/// Reads besides for what is urgent, which wait for no others.
const URGENT_READS: Room = Room { each: 4, group: 16, all: 64 };

tokio::task_local! {
    /// Who waits for something urgent in this task.
    static URGENT: SpiffeId;
}

/// Does something that is urgent, if it is, for a caller: its reads have room of their own.
pub(super) async fn in_lane<T>(caller: &SpiffeId, urgency: Option<Urgency>, work: impl Future<Output = T>) -> T {
    match urgency {
        Some(Urgency::Protection | Urgency::Withdrawal | Urgency::Emergency | Urgency::Key) => {
            URGENT.scope(caller.clone(), work).await
        }
        None => work.await,
    }
}

/// Whether this task does something that is urgent.
pub(super) fn is_urgent() -> bool {
    URGENT.try_with(|_| ()).is_ok()
}

/// Room for reads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reads {
    ordinary: Arc<Semaphore>,
    urgent: Reserve<SpiffeId>,
}

/// Room for one, for as long as it takes, whether somebody still waits for it or not.
#[expect(dead_code, reason = "held, and given back when they are dropped")]
enum Reading {
    Ordinary(OwnedSemaphorePermit),
    Urgent(Place<SpiffeId>),
}

impl Default for Reads {
    fn default() -> Self {
        Self { ordinary: Arc::new(Semaphore::new(READS_MAX)), urgent: Reserve::new(URGENT_READS) }
    }
}

impl Reads {
    async fn room(&self) -> Result<Reading, Status> {
        if let Some(place) = URGENT.try_with(|caller| self.urgent.take(caller)).ok().flatten() {
            return Ok(Reading::Urgent(place));
        }
        let permit = Arc::clone(&self.ordinary).acquire_owned().await;
        permit.map(Reading::Ordinary).map_err(|_| Reason::Internal.status("stopping"))
    }
}

impl Api {
    /// Reads an answer from one snapshot. What was published before (a height
    /// that is applied or certified) is in it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LedgerSnapshot<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, Status> {
        let room = self.reads.room().await?;
        let work = move |ledger: &LedgerSnapshot<'_>| {
            let _room = room;
            work(ledger)
        };
        read(&self.ledger, work).await
    }

    /// Where an executed transaction is: one row, which never changes, and that
    /// every submission asks for. It needs no snapshot.
    pub(super) async fn locate(&self, id: TransactionId) -> Result<Option<Located>, Status> {
        let room = self.reads.room().await?;
        off_worker(&self.ledger, move |ledger| {
            let _room = room;
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
        let reached = tokio::time::timeout(within, certified.wait_for(covers)).await.map(|r| r.map(|c| c.clone()));
        match reached {
            // It is what was waited for, mostly: nothing is to be read then.
            Ok(Ok(Some(certified))) if certified.header == header => {
                Ok(HeaderProof::new(header, Vec::new(), certified.certificate.clone()))
            }
            Ok(Ok(_)) => self.read(move |ledger| prove_header(ledger, header)).await,
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
pub(super) async fn read<T: Send + 'static>(
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
    contained::blocking(move || work(&ledger)).await?.map_err(|e| errors::storage(&e))
}

#[cfg(test)]
mod tests;
