//! Hands transactions to the leader, and to other nodes, as the replica asks for it; the
//! answer, or its absence, is the replica's to judge. Nobody waits for a node that another
//! call is for.

use std::collections::HashMap;
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

/// A call to a node.
type Call = (CallId, Vec<Transaction>);

/// The asking side.
#[derive(Clone)]
pub struct Forwarder {
    calls: mpsc::Sender<(NodeId, Call)>,
    handle: Handle,
}

impl Forwarder {
    /// Starts the task that gives each node's calls to a task of its own.
    #[must_use]
    pub fn start(clients: PeerClients, handle: Handle) -> Self {
        let (calls, waiting) = mpsc::channel(CALLS_MAX);
        tokio::spawn(run(clients, handle.clone(), waiting));
        Self { calls, handle }
    }

    /// Begins a call.
    pub fn forward(&self, call: CallId, to: NodeId, transactions: Vec<Transaction>) {
        if self.calls.try_send((to, (call, transactions))).is_err() {
            unanswered(&self.handle, call);
        }
    }
}

fn unanswered(handle: &Handle, call: CallId) {
    let _ = handle.report(Input::ForwardAnswer { call, results: Vec::new() });
}

async fn run(clients: PeerClients, handle: Handle, mut waiting: mpsc::Receiver<(NodeId, Call)>) {
    let mut peers: HashMap<NodeId, mpsc::Sender<Call>> = HashMap::new();
    while let Some((to, call)) = waiting.recv().await {
        // Those that are none any more have ended.
        peers.retain(|_, calls| !calls.is_closed());
        let calls = peers.entry(to).or_insert_with(|| {
            let (calls, waiting) = mpsc::channel(CALLS_MAX);
            tokio::spawn(run_peer(to, clients.clone(), handle.clone(), waiting));
            calls
        });
        if let Err(refused) = calls.try_send(call) {
            unanswered(&handle, refused.into_inner().0);
        }
    }
}

/// The calls to one node, for as long as it can be reached. Its connection mends itself.
async fn run_peer(to: NodeId, clients: PeerClients, handle: Handle, mut waiting: mpsc::Receiver<Call>) {
    let Ok(client) = clients.connect(to).await else {
        tracing::debug!(peer = to.0, "transactions cannot be handed over: the node is not reached");
        waiting.close();
        while let Some((call, _)) = waiting.recv().await {
            unanswered(&handle, call);
        }
        return;
    };
    while let Some((call, transactions)) = waiting.recv().await {
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
