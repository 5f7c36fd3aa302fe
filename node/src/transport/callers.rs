//! Who calls, and how much of it at a time. Every call is bound to the caller's
//! certificate: the raft id that it claims must be the one that the ledger gives to that
//! identity, and the ledger must be ours. That is looked at before the body of a call is
//! read, and each node may have a few calls under way: what a stranger sends takes no
//! memory, and what a node sends takes little.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use consilium_proto::ids::{LedgerId, NodeId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::connections::PeerInfo;
use super::{LEDGER_ID_KEY, RAFT_ID_KEY};
use crate::contained::{self, Panicked};
use crate::published::Published;

/// Calls of one node under way, over all its connections: a stream of messages, another
/// one while that ends, and the transactions and questions beside it. Each holds one
/// message of at most [`super::PEER_MESSAGE_BYTES_MAX`] that is not looked at yet.
const CALLS_MAX: usize = 16;
/// Reads of the disk for all nodes together at once: blocks and attachments.
pub(crate) const READS_MAX: usize = 8;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Callers {
    published: Arc<Published>,
    ledger_id: LedgerId,
    calls: Calls,
    reads: Arc<Semaphore>,
}

/// The calls under way, of each node.
#[derive(Debug, Clone, Default)]
struct Calls(Arc<Mutex<BTreeMap<NodeId, Arc<Semaphore>>>>);

/// A call under way, for as long as something holds this. An extension of every request
/// that passed.
#[derive(Debug, Clone)]
pub struct UnderWay {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl UnderWay {
    /// That of a request.
    pub fn of<T>(request: &Request<T>) -> Option<Self> {
        request.extensions().get().cloned()
    }
}

impl Callers {
    /// Of the nodes that the replica tells of.
    #[must_use]
    pub fn new(published: Arc<Published>, ledger_id: LedgerId) -> Self {
        Self { published, ledger_id, calls: Calls::default(), reads: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// Reads something from the disk for a caller, once there is a place for it: no thread waits for a
    /// caller that takes nothing.
    ///
    /// # Errors
    /// If it panics, or the node is stopping.
    pub async fn read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
        contained::blocking_in(&self.reads, work).await
    }

    /// The calling node.
    ///
    /// # Errors
    /// If it is none of this ledger, or has lost its standing.
    pub fn identify<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let info = request.extensions().get::<PeerInfo>().ok_or_else(|| Status::unauthenticated("no identity"))?;
        let refused = |why: &'static str| {
            tracing::warn!(peer = %info.identity.spiffe_id(), address = %info.address, why, "peer refused");
            Status::permission_denied("not a peer of this ledger")
        };
        let spiffe_id = info.identity.spiffe_id();
        let topology = self.published.topology().get();
        if !topology.has_peer_named(spiffe_id) {
            return Err(refused("not a node of the ledger"));
        }
        let text = |key| request.metadata().get(key).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if text(LEDGER_ID_KEY) != self.ledger_id.to_string() {
            return Err(refused("another ledger"));
        }
        // A lost node and the one in its place bear the same name for a while:
        // the raft id says which one is calling.
        let claimed = text(RAFT_ID_KEY).parse().map(NodeId).map_err(|_| refused("no raft id"))?;
        let node = topology.peer(claimed).filter(|node| node.spiffe_id == *spiffe_id);
        let node = node.ok_or_else(|| refused("another raft id than its identity's"))?;
        if !info.stands() {
            return Err(refused("revoked or expired"));
        }
        Ok(node.id)
    }
}

impl Calls {
    /// Lets a node have one more call under way, if it has few.
    fn admit(&self, node: NodeId) -> Result<UnderWay, Status> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = under_way.entry(node).or_insert_with(|| Arc::new(Semaphore::new(CALLS_MAX)));
        let permit = Arc::clone(calls).try_acquire_owned().map_err(|_| {
            metrics::counter!("consilium_peer_calls_refused_total").increment(1);
            Status::resource_exhausted("too many calls of this node are under way")
        })?;
        Ok(UnderWay { _permit: Arc::new(permit) })
    }
}

impl Interceptor for Callers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let under_way = self.calls.admit(self.identify(&request)?)?;
        request.extensions_mut().insert(under_way);
        Ok(request)
    }
}

#[cfg(test)]
mod tests;
