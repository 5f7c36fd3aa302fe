//! Fetches blocks that the replica asked for. Each call is a task; the peer waits
//! while the replica is busy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use consilium_proto::ids::{Height, NodeId};
use consilium_replica::{CallId, Input};
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::handle::Handle;
use crate::transport::PeerClients;

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

    /// Ends a call.
    pub(super) fn stop(&self, call: CallId) {
        if let Some(stop) = self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&call) {
            stop.cancel();
        }
    }
}
