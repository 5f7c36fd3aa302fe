//! Fetches blocks and attachments that the replica asked for. Each call is a task; the peer waits
//! while the replica is busy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::transaction::Slot;
use consilium_replica::{CallId, Input};
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::handle::Handle;
use crate::transport::PeerClients;

/// Longest wait for attachments.
const ATTACHMENTS_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls under way.
#[derive(Clone)]
pub(super) struct Fetches {
    clients: PeerClients,
    handle: Handle,
    runtime: tokio::runtime::Handle,
    calls: Arc<Mutex<BTreeMap<CallId, CancellationToken>>>,
}

impl Fetches {
    /// None yet.
    pub(super) fn new(clients: PeerClients, handle: Handle) -> Self {
        Self { clients, handle, runtime: tokio::runtime::Handle::current(), calls: Arc::default() }
    }

    /// Begins a call.
    pub(super) fn start(&self, call: CallId, from: NodeId, first: Height) {
        let stop = CancellationToken::new();
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(call, stop.clone());
        let this = self.clone();
        self.runtime.spawn(async move {
            let problem = tokio::select! {
                result = this.fetch(call, from, first) => result.err(),
                () = stop.cancelled() => None,
            };
            this.stop(call);
            let _ = this.handle.batch(Input::FetchEnded { call, problem }, 0).await;
        });
    }

    async fn fetch(&self, call: CallId, from: NodeId, first: Height) -> Result<(), String> {
        let words = |status: tonic::Status| format!("fetching from the peer: {}", status.message());
        let mut blocks = self.clients.fetch_blocks(from, first).await.map_err(words)?;
        while let Some(block) = blocks.message().await.map_err(words)? {
            let bytes = block.encoded_len();
            let input = Input::Fetched { call, block: Box::new(block) };
            self.handle.batch(input, bytes).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Asks a peer for attachments.
    pub(super) fn attachments(&self, call: CallId, from: NodeId, slots: Vec<Slot>) {
        let (clients, handle) = (self.clients.clone(), self.handle.clone());
        self.runtime.spawn(async move {
            let asked = tokio::time::timeout(ATTACHMENTS_TIMEOUT, clients.fetch_attachments(from, &slots)).await;
            let contents = match asked {
                Ok(Ok(contents)) => contents,
                Ok(Err(status)) => {
                    tracing::debug!(peer = from.0, reason = status.message(), "fetching attachments failed");
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
            let bytes = contents.iter().map(Bytes::len).sum();
            let _ = handle.batch(Input::AttachmentsFetched { call, contents }, bytes).await;
        });
    }

    /// Ends a call.
    pub(super) fn stop(&self, call: CallId) {
        if let Some(stop) = self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&call) {
            stop.cancel();
        }
    }
}
