//! Hands transactions to the leader when this node is not it. What cannot be
//! handed over stays with its waiter and is tried again, until the waiter's
//! deadline or another leader.

use std::sync::Arc;
use std::time::Duration;

use consilium_consensus::RaftId;
use consilium_grpc::peer_service_client::PeerServiceClient;
use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::NodeId;
use consilium_proto::pb;
use crossbeam_channel::Sender;
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::Channel;

use super::clients::PeerClients;
use crate::runtime::driver::DriverMsg;
use crate::runtime::shared::Shared;
use crate::runtime::waiters::Refused;

/// Transactions handed over in one call.
const BATCH_MAX: usize = 256;
/// Bytes handed over in one call, unless one transaction is larger.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Calls under way.
const CALLS_MAX: usize = 8;
/// Pause before what was not taken is offered again.
const RETRY: Duration = Duration::from_millis(100);

/// Runs until the driver is gone.
pub async fn forward_to_leader(
    shared: Arc<Shared>,
    clients: PeerClients,
    driver: Sender<DriverMsg>,
    mut queue: mpsc::UnboundedReceiver<CheckedTransaction>,
) {
    let calls = Arc::new(Semaphore::new(CALLS_MAX));
    let mut connection: Option<(NodeId, PeerServiceClient<Channel>)> = None;
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        let leader = *shared.leader.borrow();
        let Some(leader) = leader else {
            // The driver offers all unanswered ones to the next leader.
            waiting.clear();
            continue;
        };
        if leader == shared.me {
            let _ = driver.send(DriverMsg::Submit(std::mem::take(&mut waiting)));
            continue;
        }
        if connection.as_ref().is_none_or(|(to, _)| *to != leader) {
            connection = connect(&clients, leader).await.map(|client| (leader, client));
        }
        let Some((_, client)) = &connection else {
            offer_again(&shared, &driver, std::mem::take(&mut waiting));
            continue;
        };
        for batch in cut(&mut waiting) {
            let Ok(permit) = Arc::clone(&calls).acquire_owned().await else { return };
            let (shared, clients, driver) = (Arc::clone(&shared), clients.clone(), driver.clone());
            let client = client.clone();
            tokio::spawn(async move {
                forward(&shared, &clients, &driver, client, batch).await;
                drop(permit);
            });
        }
    }
}

async fn connect(clients: &PeerClients, leader: NodeId) -> Option<PeerServiceClient<Channel>> {
    let leader = RaftId::new(leader.0)?;
    match clients.connect(leader).await {
        Ok(client) => Some(client),
        Err(status) => {
            tracing::debug!(leader = leader.get(), reason = status.message(), "the leader cannot be reached");
            None
        }
    }
}

fn cut(waiting: &mut Vec<CheckedTransaction>) -> Vec<Vec<CheckedTransaction>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for checked in waiting.drain(..) {
        if bytes > BATCH_BYTES_MAX {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += checked.transaction.size();
        if let Some(batch) = batches.last_mut() {
            batch.push(checked);
        }
    }
    batches
}

async fn forward(
    shared: &Arc<Shared>,
    clients: &PeerClients,
    driver: &Sender<DriverMsg>,
    mut client: PeerServiceClient<Channel>,
    batch: Vec<CheckedTransaction>,
) {
    let transactions = batch.iter().map(|c| c.transaction.to_wire()).collect();
    let mut request = clients.request(pb::ForwardRequest { transactions });
    request.set_timeout(Duration::from_secs(5));
    let results = match client.forward(request).await {
        Ok(response) => response.into_inner().results,
        Err(status) => {
            tracing::debug!(reason = status.message(), "forwarding failed");
            return offer_again(shared, driver, batch);
        }
    };
    let mut again = Vec::new();
    for (checked, result) in batch.into_iter().zip(results) {
        match pb::ForwardResult::try_from(result) {
            Ok(pb::ForwardResult::Queued) => {}
            Ok(pb::ForwardResult::Overloaded) => {
                shared.waiters.refuse(&checked.transaction.id, Refused::Overloaded);
            }
            Ok(pb::ForwardResult::NotLeader | pb::ForwardResult::Invalid | pb::ForwardResult::Unspecified) | Err(_) => {
                again.push(checked);
            }
        }
    }
    offer_again(shared, driver, again);
}

/// Later, and only what someone still waits for.
fn offer_again(shared: &Arc<Shared>, driver: &Sender<DriverMsg>, mut batch: Vec<CheckedTransaction>) {
    if batch.is_empty() {
        return;
    }
    let (shared, driver) = (Arc::clone(shared), driver.clone());
    tokio::spawn(async move {
        tokio::time::sleep(RETRY).await;
        batch.retain(|checked| shared.waiters.keep(checked));
        let _ = driver.send(DriverMsg::Submit(batch));
    });
}
