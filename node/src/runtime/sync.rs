//! Catching up by certified blocks: fetched from a peer, checked against the
//! chain and its certificates before anything is executed, executed here, and
//! compared header by header. It needs no trust in the peer, and serves
//! followers that lag behind the log and nodes that went astray alike.

use std::sync::Arc;

use bytes::Bytes;
use consilium_consensus::{IncomingSnapshot, LogIndex, LogPosition, Membership, SnapshotMeta, Term};
use consilium_ledger::CheckedTransaction;
use consilium_proto::header::Header;
use consilium_proto::ids::{HeaderHash, Height, LedgerId};
use consilium_proto::observed::Observed;
use consilium_proto::pb;
use consilium_proto::transaction::Transaction;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader};
use crossbeam_channel::Sender;
use tokio::sync::{mpsc, oneshot};

use super::applier::{ApplierMsg, CertifiedBlock};
use super::certifier::CertifierMsg;
use super::driver::DriverMsg;
use super::shared::Shared;
use crate::transport::PeerClients;

/// Blocks held back until a certificate covers them.
const UNCERTIFIED_MAX: usize = 4_096;

/// Why blocks of a peer were not taken.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The peer cannot be reached or ended the answer.
    #[error("fetching from the peer: {0}")]
    Fetch(Box<tonic::Status>),
    /// The blocks are not what they should be.
    #[error("block {height} of the peer: {problem}")]
    Block {
        /// Its height.
        height: Height,
        /// What is wrong.
        problem: String,
    },
    /// The answer ended before the wanted place.
    #[error("the peer's certified blocks end at height {0}")]
    TooShort(Height),
    /// This node stopped meanwhile.
    #[error("stopping")]
    Stopping,
}

/// Checks a stream of blocks against the chain so far and the certificates in
/// it. Blocks come out when they are covered.
pub struct ChainCheck {
    ledger: LedgerId,
    validators: ValidatorSet,
    tip: (Height, HeaderHash),
    waiting: Vec<CertifiedBlock>,
}

impl ChainCheck {
    /// Starts at a tip that is certified, or the genesis.
    #[must_use]
    pub fn new(ledger: LedgerId, validators: ValidatorSet, tip: (Height, HeaderHash)) -> Self {
        Self { ledger, validators, tip, waiting: Vec::new() }
    }

    /// Takes the next block; returns all that are now certified, with the
    /// certificate.
    ///
    /// # Errors
    /// If the block does not continue the chain, or its certificate is wrong.
    pub fn push(
        &mut self,
        m: pb::FetchBlocksResponse,
    ) -> Result<Option<(Vec<CertifiedBlock>, BlockCertificate)>, SyncError> {
        let expected = self.tip.0.next();
        let fail = |problem: String| SyncError::Block { height: expected, problem };
        let block = m.block.ok_or_else(|| fail("is absent".into()))?;
        let header = block.header.as_ref().ok_or_else(|| fail("has no header".into()))?;
        let header = Header::try_from(header).map_err(|e| fail(e.to_string()))?;
        if header.height != expected || header.previous_hash != self.tip.1 || header.ledger_id != self.ledger {
            return Err(fail("does not continue the chain".into()));
        }
        let certificate = m.certificate.as_ref().map(BlockCertificate::try_from).transpose();
        let certificate = certificate.map_err(|e| fail(e.to_string()))?;
        self.tip = (header.height, header.hash());
        let position = LogPosition { index: LogIndex(m.raft_index), term: Term(m.raft_term) };
        let membership = (!m.raft_membership.is_empty()).then(|| Membership::decode(&m.raft_membership)).transpose();
        let membership = membership.map_err(|e| fail(e.to_string()))?;
        let transactions = transactions(&block.transactions, m.attachments, self.ledger).map_err(fail)?;
        let observed = Observed::of_block(&block).map_err(|e| fail(e.to_string()))?;
        let header_of = header.clone();
        self.waiting.push(CertifiedBlock { header: header_of, position, membership, transactions, observed });
        let Some(certificate) = certificate else {
            if self.waiting.len() > UNCERTIFIED_MAX {
                return Err(fail(format!("{UNCERTIFIED_MAX} blocks without a certificate")));
            }
            return Ok(None);
        };
        certificate.verify(&header, &self.validators).map_err(|e| fail(e.to_string()))?;
        Ok(Some((std::mem::take(&mut self.waiting), certificate)))
    }

    /// What came out was executed: from here on these validators certify. The
    /// header that ends an epoch always comes with a certificate of its own, so
    /// no block of the next epoch is looked at before this is called.
    pub fn set_validators(&mut self, validators: ValidatorSet) {
        self.validators = validators;
    }
}

fn transactions(
    executed: &[pb::ExecutedTransaction],
    attachments: Vec<Bytes>,
    ledger: LedgerId,
) -> Result<Vec<CheckedTransaction>, String> {
    let mut left = attachments.into_iter();
    let mut out = Vec::with_capacity(executed.len());
    for executed in executed {
        let mut wire = executed.transaction.clone().ok_or("a transaction is absent")?;
        // The number of attachments follows from the body alone.
        let count = Transaction::count_attachments(&wire, ledger).map_err(|e| e.to_string())?;
        wire.attachments = left.by_ref().take(count).collect();
        let transaction = Transaction::parse_stored(&wire, ledger).map_err(|e| e.to_string())?;
        out.push(CheckedTransaction { transaction, verified_under: None });
    }
    if left.next().is_some() { Err("more attachments than the transactions name".into()) } else { Ok(out) }
}

/// Serves the driver: fetches the state of snapshots that leaders offer.
pub async fn serve_offers(
    shared: Arc<Shared>,
    clients: PeerClients,
    applier: Sender<ApplierMsg>,
    certifier: Sender<CertifierMsg>,
    driver: Sender<DriverMsg>,
    mut offers: mpsc::UnboundedReceiver<IncomingSnapshot>,
) {
    while let Some(offer) = offers.recv().await {
        tracing::info!(from = offer.from.get(), index = offer.meta.index.0, "catching up by certified blocks");
        match fetch(&shared, &clients, (&applier, &certifier), &offer).await {
            Ok(meta) => drop(driver.send(DriverMsg::InstallSnapshot(meta))),
            Err(error) => {
                tracing::warn!(%error, "catching up failed; it will be offered again");
                drop(driver.send(DriverMsg::RefuseSnapshot));
            }
        }
    }
}

async fn fetch(
    shared: &Shared,
    clients: &PeerClients,
    (applier, certifier): (&Sender<ApplierMsg>, &Sender<CertifierMsg>),
    offer: &IncomingSnapshot,
) -> Result<SnapshotMeta, SyncError> {
    let applied = *shared.applied.borrow();
    if applied.index >= offer.meta.index {
        return Ok(offer.meta.clone());
    }
    let validators = shared.topology.get().validators().clone();
    let mut check = ChainCheck::new(shared.genesis.ledger_id, validators, (applied.height, applied.header_hash));
    let mut blocks = clients.fetch_blocks(offer.from, applied.height.next()).await.map_err(boxed)?;
    while let Some(block) = blocks.message().await.map_err(boxed)? {
        let Some((certified, certificate)) = check.push(block)? else { continue };
        // The certificate is over the last of them.
        let header = certified.last().map(|block| block.header.clone());
        let mut reached = false;
        for block in certified {
            let index = block.position.index;
            if index > offer.meta.index {
                return Err(SyncError::TooShort(block.header.height));
            }
            execute(applier, block).await?;
            reached = index == offer.meta.index;
        }
        check.set_validators(shared.topology.get().validators().clone());
        // After its headers in the same queue.
        if let Some(header) = header {
            let certified = Box::new(CertifiedHeader { header, certificate });
            certifier.send(CertifierMsg::Certificate(certified)).map_err(|_| SyncError::Stopping)?;
        }
        if reached {
            return Ok(offer.meta.clone());
        }
    }
    Err(SyncError::TooShort(shared.applied.borrow().height))
}

async fn execute(applier: &Sender<ApplierMsg>, block: CertifiedBlock) -> Result<(), SyncError> {
    let height = block.header.height;
    let (reply, done) = oneshot::channel();
    applier.send(ApplierMsg::Certified(Box::new(block), reply)).map_err(|_| SyncError::Stopping)?;
    let result = done.await.map_err(|_| SyncError::Stopping)?;
    result.map_err(|problem| SyncError::Block { height, problem })
}

fn boxed(status: tonic::Status) -> SyncError {
    SyncError::Fetch(Box::new(status))
}
