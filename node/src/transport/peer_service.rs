//! Serves the other nodes. Every call is bound to the caller's certificate:
//! the raft id that it claims must be the one that the ledger gives to that
//! identity, and the ledger must be ours.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use consilium_consensus::RaftId;
use consilium_grpc::peer_service_server::PeerService;
use consilium_ledger::{Table, keys};
use consilium_proto::ids::{Height, NodeId, RecordId, TimeMs};
use consilium_proto::pb::{self, Outcome};
use consilium_proto::transaction::{Action, Transaction};
use consilium_proto::vote::{CertifiedHeader, Vote};
use crossbeam_channel::{Sender, TrySendError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::connections::PeerInfo;
use super::{LEDGER_ID_KEY, RAFT_ID_KEY};
use crate::runtime::certifier::CertifierMsg;
use crate::runtime::driver::DriverMsg;
use crate::runtime::shared::Shared;
use crate::runtime::verifier::VerifyJob;
use crate::storage::StorageError;

/// Transactions of one forwarded batch.
const FORWARD_MAX: usize = 1_024;

/// Votes of others that are taken from one batch.
const CONFLICTING_MAX: usize = 64;

/// The service.
pub struct Peers {
    /// Published state.
    pub shared: Arc<Shared>,
    /// For Raft messages.
    pub driver: Sender<DriverMsg>,
    /// For forwarded transactions.
    pub verifier: Sender<VerifyJob>,
    /// For votes.
    pub certifier: Sender<CertifierMsg>,
    /// Limit of the queue, for early refusals.
    pub queued_max: usize,
}

impl Peers {
    /// The calling node.
    fn caller<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let info = request.extensions().get::<PeerInfo>().ok_or_else(|| Status::unauthenticated("no identity"))?;
        let refused = |why: &'static str| {
            tracing::warn!(peer = %info.identity.spiffe_id(), address = %info.address, why, "peer refused");
            Status::permission_denied("not a peer of this ledger")
        };
        let spiffe_id = info.identity.spiffe_id().to_string();
        let topology = self.shared.topology.get();
        if !topology.has_peer_named(&spiffe_id) {
            return Err(refused("not a node of the ledger"));
        }
        let text = |key| request.metadata().get(key).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if text(LEDGER_ID_KEY) != self.shared.genesis.ledger_id.to_string() {
            return Err(refused("another ledger"));
        }
        // A lost node and the one in its place bear the same name for a while:
        // the raft id says which one is calling.
        let claimed = text(RAFT_ID_KEY).parse().map(NodeId).map_err(|_| refused("no raft id"))?;
        let node = topology.peer(claimed).filter(|node| node.spiffe_id == spiffe_id);
        let node = node.ok_or_else(|| refused("another raft id than its identity's"))?;
        if !info.stands() {
            return Err(refused("revoked or expired"));
        }
        Ok(node.id)
    }

    async fn take(&self, from: NodeId, batch: pb::ExchangeRequest) -> Result<(), Status> {
        let pb::ExchangeRequest {
            raft_messages,
            votes,
            certificate,
            certified_header,
            uncertified_from,
            conflicting_votes,
        } = batch;
        let stopped = || Status::unavailable("stopping");
        let peer = RaftId::new(from.0).ok_or_else(|| Status::internal("raft id 0"))?;
        for bytes in raft_messages {
            send(&self.driver, DriverMsg::Raft { from: peer, bytes }).await.map_err(|()| stopped())?;
        }
        for vote in &votes {
            match Vote::try_from(vote) {
                Ok(vote) if vote.validator == from => {
                    send(&self.certifier, CertifierMsg::Vote { from, vote }).await.map_err(|()| stopped())?;
                }
                Ok(_) | Err(_) => tracing::warn!(peer = from.0, "malformed or foreign vote"),
            }
        }
        // Signatures tell whose they are; the certifier checks them.
        for vote in conflicting_votes.iter().take(CONFLICTING_MAX).filter_map(|v| Vote::try_from(v).ok()) {
            send(&self.certifier, CertifierMsg::Vote { from, vote }).await.map_err(|()| stopped())?;
        }
        if uncertified_from > 0 {
            let message = CertifierMsg::UncertifiedFrom { peer: from, height: Height(uncertified_from) };
            send(&self.certifier, message).await.map_err(|()| stopped())?;
        }
        let certified = pb::CertifiedHeader { header: certified_header, certificate };
        if let Ok(certified) = CertifiedHeader::try_from(&certified) {
            send(&self.certifier, CertifierMsg::Certificate(Box::new(certified))).await.map_err(|()| stopped())?;
        }
        Ok(())
    }

    fn forwarded(&self, transaction: &pb::SignedTransaction) -> pb::ForwardResult {
        if !self.shared.is_leader() {
            return pb::ForwardResult::NotLeader;
        }
        if self.shared.queued.load(std::sync::atomic::Ordering::Relaxed) >= self.queued_max {
            return pb::ForwardResult::Overloaded;
        }
        match Transaction::parse(transaction, self.shared.genesis.ledger_id) {
            Ok(parsed) => match self.verifier.try_send(VerifyJob::Submission(parsed)) {
                Ok(()) => pb::ForwardResult::Queued,
                Err(_) => pb::ForwardResult::Overloaded,
            },
            Err(_) => pb::ForwardResult::Invalid,
        }
    }
}

/// Sends into a bounded queue of a thread; waits while it is full.
async fn send<T>(queue: &Sender<T>, message: T) -> Result<(), ()> {
    let mut message = message;
    loop {
        match queue.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(()),
            Err(TrySendError::Full(back)) => {
                message = back;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    }
}

#[tonic::async_trait]
impl PeerService for Peers {
    async fn exchange(
        &self,
        request: Request<Streaming<pb::ExchangeRequest>>,
    ) -> Result<Response<pb::ExchangeResponse>, Status> {
        let from = self.caller(&request)?;
        let mut batches = request.into_inner();
        while let Some(batch) = batches.message().await? {
            self.take(from, batch).await?;
        }
        Ok(Response::new(pb::ExchangeResponse {}))
    }

    async fn forward(&self, request: Request<pb::ForwardRequest>) -> Result<Response<pb::ForwardResponse>, Status> {
        self.caller(&request)?;
        let transactions = request.into_inner().transactions;
        if transactions.len() > FORWARD_MAX {
            return Err(Status::invalid_argument("too many transactions"));
        }
        let results = transactions.iter().map(|t| self.forwarded(t) as i32).collect();
        let leader = self.shared.leader.borrow().map_or(0, |l| l.0);
        Ok(Response::new(pb::ForwardResponse { results, leader }))
    }

    async fn request_time_block(
        &self,
        request: Request<pb::RequestTimeBlockRequest>,
    ) -> Result<Response<pb::RequestTimeBlockResponse>, Status> {
        self.caller(&request)?;
        let after = TimeMs(request.into_inner().after_ms);
        send(&self.driver, DriverMsg::TimeBlock(after)).await.map_err(|()| Status::unavailable("stopping"))?;
        Ok(Response::new(pb::RequestTimeBlockResponse {}))
    }

    type FetchBlocksStream = ReceiverStream<Result<pb::FetchBlocksResponse, Status>>;

    async fn fetch_blocks(
        &self,
        request: Request<pb::FetchBlocksRequest>,
    ) -> Result<Response<Self::FetchBlocksStream>, Status> {
        let peer = self.caller(&request)?;
        let pb::FetchBlocksRequest { from_height, to_height } = request.into_inner();
        let shared = Arc::clone(&self.shared);
        let last = shared.certified_height().0.min(to_height);
        tracing::info!(peer = peer.0, from_height, last, "serving blocks");
        let (sender, receiver) = mpsc::channel(16);
        tokio::task::spawn_blocking(move || {
            for height in from_height.max(1)..=last {
                let first = height == from_height.max(1);
                let response = served_block(&shared, Height(height), first).map_err(|error| {
                    tracing::error!(%error, height, "a stored block cannot be served");
                    Status::data_loss("a stored block is damaged")
                });
                let failed = response.is_err();
                if sender.blocking_send(response).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_certified_head(
        &self,
        request: Request<pb::GetCertifiedHeadRequest>,
    ) -> Result<Response<pb::GetCertifiedHeadResponse>, Status> {
        let caller = self.caller(&request)?;
        let head = self.shared.certified.borrow().as_ref().map(|c| c.as_ref().into());
        let votes = self.shared.votes.lock().unwrap_or_else(PoisonError::into_inner);
        let caller_vote = votes.get(&caller).map(Into::into);
        Ok(Response::new(pb::GetCertifiedHeadResponse { head, nodes: Vec::new(), caller_vote }))
    }
}

/// A block with what a peer needs to execute it, and the membership if it
/// changed here or `first` asks for it.
///
/// # Errors
/// If the disk fails or the block is not there.
pub(crate) fn served_block(
    shared: &Shared,
    height: Height,
    first: bool,
) -> Result<pb::FetchBlocksResponse, StorageError> {
    let store = &shared.ledger;
    let block = store.block(height)?.ok_or_else(|| StorageError::corrupt("block", "absent"))?;
    let position = store.position(height)?.unwrap_or_default();
    let mut attachments = Vec::new();
    for executed in &block.transactions {
        attachments.extend(stored_attachments(store, shared.genesis.ledger_id, executed)?);
    }
    let membership = match first {
        true => Some(store.membership_at(height)?),
        false => store.membership_changed_at(height)?,
    };
    Ok(pb::FetchBlocksResponse {
        raft_membership: membership.map(|m| m.encode().into()).unwrap_or_default(),
        block: Some(block),
        raft_index: position.index.0,
        raft_term: position.term.0,
        attachments,
        certificate: store.certificate_at(height)?.as_ref().map(Into::into),
    })
}

/// Attachments of an executed transaction, an empty entry for each that is not
/// there (a refused transaction's were never kept, an erased record's are gone).
pub(crate) fn stored_attachments(
    store: &crate::storage::ledger_store::LedgerStore,
    ledger: consilium_proto::ids::LedgerId,
    executed: &pb::ExecutedTransaction,
) -> Result<Vec<Bytes>, StorageError> {
    let wire = executed.transaction.as_ref().ok_or_else(|| StorageError::corrupt("block", "no transaction"))?;
    let count = Transaction::count_attachments(wire, ledger).map_err(|e| StorageError::corrupt("block", e))?;
    if executed.outcome != Outcome::Applied as i32 {
        return Ok(vec![Bytes::new(); count]);
    }
    let blank = pb::SignedTransaction { attachments: vec![Bytes::new(); count], ..wire.clone() };
    let parsed = Transaction::parse_stored(&blank, ledger).map_err(|e| StorageError::corrupt("block", e))?;
    let mut attachments = Vec::with_capacity(count);
    for action in &parsed.actions {
        if let Action::WriteRecord(write) = action {
            let (id, version): (RecordId, u32) = (write.record_id, write.version);
            attachments.push(store.read(Table::Payloads, &keys::payload(&id, version))?.unwrap_or_default());
            for wrap in &write.wraps {
                let key = keys::wrap(&id, version, &wrap.recipient);
                attachments.push(store.read(Table::Wraps, &key)?.unwrap_or_default());
            }
        }
    }
    Ok(attachments)
}
