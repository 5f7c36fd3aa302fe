//! Serves the other nodes; who may call, and how much at a time, is for [`Callers`] to
//! say.

use std::sync::Arc;

use consilium_grpc::peer_service_server::PeerService;
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::transaction::{Slot, Transaction};
use consilium_replica::catch_up::{ATTACHMENTS_MAX, Serving, serve_attachments};
use consilium_replica::forward::FORWARD_MAX;
use consilium_replica::peer::{BATCH_MAX, PeerMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::callers::{Callers, UnderWay};
use crate::contained;
use crate::handle::{Handle, Stopping};
use crate::published::Published;
use crate::storage::ledger_port::LedgerPort;

/// Blocks that are read before the peer takes them.
const SERVED_AHEAD_MAX: usize = 2;

/// The service.
pub struct Peers {
    /// The replica.
    pub handle: Handle,
    /// What it tells.
    pub published: Arc<Published>,
    /// Blocks, to be served.
    pub ledger: LedgerPort,
    /// Whose ledger this is.
    pub genesis: Arc<Genesis>,
    /// Who may call.
    pub callers: Callers,
}

impl Peers {
    async fn take(&self, from: NodeId, batch: pb::ExchangeRequest) -> Result<(), Status> {
        if batch.messages.len() > BATCH_MAX {
            return Err(Status::invalid_argument("too many messages in a batch"));
        }
        let mut messages = Vec::with_capacity(batch.messages.len());
        for message in batch.messages {
            match PeerMessage::try_from(message) {
                Ok(message) => messages.push(message),
                Err(error) => tracing::warn!(peer = from.0, %error, "malformed message of a peer"),
            }
        }
        self.handle.peer(from, messages).await.map_err(stopping)
    }
}

fn stopping(stopping: Stopping) -> Status {
    Status::unavailable(stopping.to_string())
}

#[tonic::async_trait]
impl PeerService for Peers {
    async fn exchange(
        &self,
        request: Request<Streaming<pb::ExchangeRequest>>,
    ) -> Result<Response<pb::ExchangeResponse>, Status> {
        let from = self.callers.identify(&request)?;
        let _under_way = UnderWay::of(&request);
        let mut batches = request.into_inner();
        while let Some(batch) = batches.message().await? {
            self.take(from, batch).await?;
        }
        Ok(Response::new(pb::ExchangeResponse {}))
    }

    async fn forward(&self, request: Request<pb::ForwardRequest>) -> Result<Response<pb::ForwardResponse>, Status> {
        let from = self.callers.identify(&request)?;
        let transactions = request.into_inner().transactions;
        if transactions.len() > FORWARD_MAX {
            return Err(Status::invalid_argument("too many transactions"));
        }
        let parsed = transactions.iter().map(|t| Transaction::parse(t, self.genesis.ledger_id).ok()).collect();
        let results: Vec<ForwardResult> = self.handle.forwarded(from, parsed).await.map_err(stopping)?;
        let leader = self.published.leader().map_or(0, |l| l.0);
        Ok(Response::new(pb::ForwardResponse { results: results.into_iter().map(Into::into).collect(), leader }))
    }

    async fn request_time_block(
        &self,
        request: Request<pb::RequestTimeBlockRequest>,
    ) -> Result<Response<pb::RequestTimeBlockResponse>, Status> {
        self.callers.identify(&request)?;
        let after = TimeMs(request.into_inner().after_ms);
        self.handle.request_time_block(after).await.map_err(stopping)?;
        Ok(Response::new(pb::RequestTimeBlockResponse {}))
    }

    type FetchBlocksStream = ReceiverStream<Result<pb::FetchBlocksResponse, Status>>;

    async fn fetch_blocks(
        &self,
        request: Request<pb::FetchBlocksRequest>,
    ) -> Result<Response<Self::FetchBlocksStream>, Status> {
        let peer = self.callers.identify(&request)?;
        let under_way = UnderWay::of(&request);
        let first = Height(request.into_inner().from_height);
        let certified = self.published.certified_height();
        tracing::debug!(peer = peer.0, first = first.0, certified = certified.0, "serving blocks");
        let mut serving = Serving::new(self.genesis.ledger_id, first, certified);
        let ledger = self.ledger.clone();
        let (sender, receiver) = mpsc::channel(SERVED_AHEAD_MAX);
        let callers = self.callers.clone();
        contained::feed(sender, |sender| async move {
            // A peer that does not read what it asked for holds its own calls up.
            let _under_way = under_way;
            // A block is read when there is room for it: one that nobody takes is not even read.
            while let Ok(room) = sender.reserve().await {
                let ledger = ledger.clone();
                let read = callers.read(move || (serving.next(&ledger), serving)).await;
                let response = match read {
                    Ok((response, rest)) => {
                        serving = rest;
                        response.map_err(|error| {
                            tracing::error!(%error, "a stored block cannot be served");
                            Status::data_loss("a stored block is damaged")
                        })
                    }
                    Err(panicked) => return room.send(Err(panicked.into())),
                };
                match response.transpose() {
                    Some(Ok(block)) => room.send(Ok(block)),
                    Some(Err(status)) => return room.send(Err(status)),
                    None => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_attachments(
        &self,
        request: Request<pb::FetchAttachmentsRequest>,
    ) -> Result<Response<pb::FetchAttachmentsResponse>, Status> {
        self.callers.identify(&request)?;
        let wanted = request.into_inner().attachments;
        if wanted.len() > ATTACHMENTS_MAX {
            return Err(Status::invalid_argument("too many attachments"));
        }
        let slots: Result<Vec<Slot>, _> = wanted.iter().map(Slot::try_from).collect();
        let slots = slots.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let ledger = self.ledger.clone();
        let served = self.callers.read(move || serve_attachments(&ledger, &slots)).await?;
        let attachments = served.map_err(|error| {
            tracing::error!(%error, "a stored attachment cannot be served");
            Status::data_loss("a stored attachment is damaged")
        })?;
        Ok(Response::new(pb::FetchAttachmentsResponse { attachments }))
    }

    async fn get_certified_head(
        &self,
        request: Request<pb::GetCertifiedHeadRequest>,
    ) -> Result<Response<pb::GetCertifiedHeadResponse>, Status> {
        self.callers.identify(&request)?;
        let head = self.published.certified().map(|c| c.as_ref().into());
        Ok(Response::new(pb::GetCertifiedHeadResponse { head }))
    }
}
