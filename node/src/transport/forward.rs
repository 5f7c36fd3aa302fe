//! Hands transactions to the leader, as the replica asks for it; the answer, or its
//! absence, is the replica's to judge.

use std::time::Duration;

use consilium_grpc::peer_service_client::PeerServiceClient;
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::transaction::Transaction;
use consilium_replica::{CallId, Input};
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::clients::PeerClients;
use crate::handle::Handle;

/// Calls that wait; the replica has fewer under way at once.
const CALLS_MAX: usize = 64;
/// Longest wait for the leader's answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The asking side.
#[derive(Clone)]
pub struct Forwarder {
    calls: mpsc::Sender<(CallId, NodeId, Vec<Transaction>)>,
    handle: Handle,
}

impl Forwarder {
    /// Starts the task that holds the connection to the leader.
    #[must_use]
    pub fn start(clients: PeerClients, handle: Handle) -> Self {
        let (calls, waiting) = mpsc::channel(CALLS_MAX);
        tokio::spawn(run(clients, handle.clone(), waiting));
        Self { calls, handle }
    }

    /// Begins a call.
    pub fn forward(&self, call: CallId, to: NodeId, transactions: Vec<Transaction>) {
        if self.calls.try_send((call, to, transactions)).is_err() {
            let _ = self.handle.report(Input::ForwardAnswer { call, results: Vec::new() });
        }
    }
}

async fn run(clients: PeerClients, handle: Handle, mut waiting: mpsc::Receiver<(CallId, NodeId, Vec<Transaction>)>) {
    let mut connection: Option<(NodeId, PeerServiceClient<Channel>)> = None;
    while let Some((call, to, transactions)) = waiting.recv().await {
        if connection.as_ref().is_none_or(|(leader, _)| *leader != to) {
            connection = clients.connect(to).await.ok().map(|client| (to, client));
        }
        let Some((_, client)) = &connection else {
            tracing::debug!(leader = to.0, "the leader cannot be reached");
            let _ = handle.report(Input::ForwardAnswer { call, results: Vec::new() });
            continue;
        };
        let (client, clients, handle) = (client.clone(), clients.clone(), handle.clone());
        tokio::spawn(async move {
            let results = forward(&clients, client, &transactions).await;
            let _ = handle.report(Input::ForwardAnswer { call, results });
        });
    }
}

async fn forward(
    clients: &PeerClients,
    mut client: PeerServiceClient<Channel>,
    transactions: &[Transaction],
) -> Vec<ForwardResult> {
    let transactions = transactions.iter().map(Transaction::to_wire).collect();
    let mut request = clients.request(pb::ForwardRequest { transactions });
    request.set_timeout(TIMEOUT);
    match client.forward(request).await {
        Ok(response) => {
            let results = response.into_inner().results.into_iter();
            results.map(|result| ForwardResult::try_from(result).unwrap_or(ForwardResult::Unspecified)).collect()
        }
        Err(status) => {
            tracing::debug!(reason = status.message(), "forwarding failed");
            Vec::new()
        }
    }
}
