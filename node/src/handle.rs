//! Asking the replica: what services and peers hand in, and the answers that come
//! back. Everything on its way to the replica holds a permit, so that the queue is
//! bounded by what is asked and never by what the replica's own helpers report.
//!
//! Urgent transactions ([`Transaction::urgency`]) have room of their own and go in front, at
//! the verifiers and at the replica: no load of ordinary ones keeps them out or waiting.

mod lanes;
pub(crate) mod reserve;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use consilium_consensus::{LogPosition, RaftId, ReadContext, TransferError};
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::ForwardResult;
use consilium_proto::transaction::Transaction;
use consilium_replica::entries::CHECKS_MAX;
use consilium_replica::forward::URGENT_CALLS_MAX;
use consilium_replica::peer::PeerMessage;
use consilium_replica::submission::{Located, Refused, WaitFor};
use consilium_replica::{Input, RequestId};
use rand::RngCore;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use self::lanes::LaneEnds;
use self::lanes::{Lane, Lanes, lanes};
use self::reserve::{Place, Reserve, Room};
use crate::clock::Clocks;

/// Requests on their way to the replica.
const REQUESTS_MAX: usize = 16_384;
/// Batches of peers, and blocks that are fetched, on their way to the replica.
const BATCHES_MAX: usize = 256;
/// Urgent requests besides. No member's people have more than a quarter of it.
const URGENT_REQUESTS: Room = Room { each: 64, group: 256, all: 1_024 };
/// Calls of peers besides that hold nothing but urgent transactions: what one hands to a
/// leader, and to others, at once.
const URGENT_CALLS: Room = Room { each: URGENT_CALLS_MAX + 1, group: URGENT_CALLS_MAX + 1, all: 256 };
/// KiB of them together.
const BATCHES_KIB_MAX: usize = 64 * 1024;
/// KiB of them that one peer may have on their way: what one sends keeps no others waiting.
const PEER_KIB_MAX: u32 = 4 * 1024;
/// Reports of the replica's helpers: bounded by what it has asked of them, which is
/// less.
const REPORTS_MAX: usize = 8_192;
/// Longest wait for a read to be confirmed.
const READ_MAX: Duration = Duration::from_secs(5);

/// The node is stopping: nobody answers any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this node is stopping")]
pub struct Stopping;

/// Room on the way to the replica, for as long as this lives.
#[derive(Debug)]
pub struct Permit(Taken);

#[derive(Debug)]
#[expect(dead_code, reason = "held, and given back when they are dropped")]
enum Taken {
    Ordinary(OwnedSemaphorePermit),
    /// Of the peer's, and of all.
    Batch(OwnedSemaphorePermit, OwnedSemaphorePermit),
    Urgent(Place<SpiffeId>),
    UrgentCall(Place<NodeId>),
}

impl Permit {
    fn lane(&self) -> Lane {
        match self.0 {
            Taken::Ordinary(_) | Taken::Batch(..) => Lane::Back,
            Taken::Urgent(_) | Taken::UrgentCall(_) => Lane::Front,
        }
    }
}

/// What arrives at the replica.
#[expect(clippy::large_enum_variant, reason = "nearly all that is sent is of the large variant")]
#[derive(Debug)]
pub enum Delivery {
    /// An input; its permit goes when it is taken.
    Input(Input, Option<Permit>),
    /// The replica's thread is to end.
    Halt,
}

/// Work for the verifiers.
#[derive(Debug)]
pub enum VerifyJob {
    /// A transaction of a client.
    Submission {
        /// The transaction.
        transaction: Box<Transaction>,
        /// To be answered.
        request: RequestId,
        /// For what the client waits.
        wait_for: WaitFor,
        /// On the monotonic clock.
        deadline_ms: u64,
        /// For the replica's queue.
        permit: Permit,
    },
    /// Transactions that a peer hands to the leader; `None` for one that is
    /// malformed.
    Forwarded {
        /// In order.
        transactions: Vec<Option<Transaction>>,
        /// To be answered.
        request: RequestId,
        /// For the replica's queue.
        permit: Permit,
    },
    /// A log entry.
    Entry(LogPosition, Bytes),
    /// One thread of the pool ends.
    Stop,
}

/// Whom an answer goes to.
enum Reply {
    Submission(oneshot::Sender<Result<Located, Refused>>),
    Forwarded(oneshot::Sender<Vec<ForwardResult>>),
    Read(oneshot::Sender<bool>),
    Transfer(oneshot::Sender<Result<RaftId, TransferError>>),
}

/// Those who wait for an answer.
#[derive(Default)]
struct Pending {
    last: AtomicU64,
    replies: Mutex<HashMap<RequestId, Reply>>,
    /// Whose submitters went away without an answer, since the replica was told last.
    gone: Mutex<Vec<RequestId>>,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Reply>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(self: &Arc<Self>, reply: impl FnOnce(oneshot::Sender<T>) -> Reply) -> (Waiting, oneshot::Receiver<T>) {
        let request = RequestId(self.last.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(request, reply(sender));
        (Waiting { request, pending: Arc::clone(self) }, receiver)
    }
}

/// Somebody waits for an answer. Whoever goes away, for whatever reason, drops this, and is waited
/// for no more, neither here nor by the replica.
struct Waiting {
    request: RequestId,
    pending: Arc<Pending>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let reply = self.pending.lock().remove(&self.request);
        if let Some(Reply::Submission(_)) = reply {
            self.pending.gone.lock().unwrap_or_else(PoisonError::into_inner).push(self.request);
        }
    }
}

/// The asking side. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    replica: Lanes<Delivery>,
    verifier: Lanes<VerifyJob>,
    requests: Arc<Semaphore>,
    urgent: Reserve<SpiffeId>,
    urgent_calls: Reserve<NodeId>,
    /// A permit for each KiB.
    batches: Arc<Semaphore>,
    /// Of these, what each peer has left.
    of_peers: Arc<Mutex<BTreeMap<NodeId, Arc<Semaphore>>>>,
    pending: Arc<Pending>,
    clocks: Clocks,
}

/// The answering side.
pub struct Ends {
    /// What arrives at the replica.
    pub replica: LaneEnds<Delivery>,
    /// Work for the verifiers.
    pub verifier: LaneEnds<VerifyJob>,
}

impl Handle {
    /// Opens the queues.
    #[must_use]
    pub fn new(clocks: Clocks) -> (Self, Ends) {
        let urgent = URGENT_REQUESTS.all + URGENT_CALLS.all;
        let (replica, replica_end) = lanes(urgent, REQUESTS_MAX + BATCHES_MAX + REPORTS_MAX);
        // Each submission holds a permit of the replica's queue.
        let (verifier, verifier_end) = lanes(urgent + CHECKS_MAX, REQUESTS_MAX + BATCHES_MAX + 64);
        let handle = Self {
            replica,
            verifier,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            urgent: Reserve::new(URGENT_REQUESTS),
            urgent_calls: Reserve::new(URGENT_CALLS),
            batches: Arc::new(Semaphore::new(BATCHES_KIB_MAX)),
            of_peers: Arc::default(),
            pending: Arc::default(),
            clocks,
        };
        (handle, Ends { replica: replica_end, verifier: verifier_end })
    }

    /// The node's clocks.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        self.clocks
    }

    /// Has a transaction of a caller executed, and waits for its outcome for a while.
    ///
    /// # Errors
    /// If the node is stopping.
    pub async fn submit(
        &self,
        caller: &SpiffeId,
        transaction: Transaction,
        wait_for: WaitFor,
        within: Duration,
    ) -> Result<Result<Located, Refused>, Stopping> {
        let Some(permit) = self.permit(caller, &transaction) else { return Ok(Err(Refused::Overloaded)) };
        let patience = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let deadline_ms = self.clocks.monotonic_ms().saturating_add(patience);
        let (waiting, answer) = self.pending.wait(Reply::Submission);
        self.verify(VerifyJob::Submission {
            transaction: Box::new(transaction),
            request: waiting.request,
            wait_for,
            deadline_ms,
            permit,
        })?;
        match tokio::time::timeout(within, answer).await {
            Ok(answer) => answer.map_err(|_| Stopping),
            Err(_) => Ok(Err(Refused::TimedOut)),
        }
    }

    /// Room for a transaction: of what is kept for urgent ones, or of everybody's.
    fn permit(&self, caller: &SpiffeId, transaction: &Transaction) -> Option<Permit> {
        if let Some(place) = transaction.urgency().and_then(|_| self.urgent.take(caller)) {
            return Some(Permit(Taken::Urgent(place)));
        }
        Arc::clone(&self.requests).try_acquire_owned().ok().map(|permit| Permit(Taken::Ordinary(permit)))
    }

    /// Takes transactions that a peer hands to the leader; `None` for one that is
    /// malformed.
    ///
    /// # Errors
    /// If the node is stopping.
    pub async fn forwarded(
        &self,
        from: NodeId,
        transactions: Vec<Option<Transaction>>,
    ) -> Result<Vec<ForwardResult>, Stopping> {
        let Some(permit) = self.permit_for_call(from, &transactions) else {
            return Ok(vec![ForwardResult::Overloaded; transactions.len()]);
        };
        let (waiting, answer) = self.pending.wait(Reply::Forwarded);
        self.verify(VerifyJob::Forwarded { transactions, request: waiting.request, permit })?;
        answer.await.map_err(|_| Stopping)
    }

    fn permit_for_call(&self, from: NodeId, transactions: &[Option<Transaction>]) -> Option<Permit> {
        let is_urgent = |t: &Option<Transaction>| t.as_ref().is_some_and(|t| t.urgency().is_some());
        if let Some(place) = transactions.iter().all(is_urgent).then(|| self.urgent_calls.take(&from)).flatten() {
            return Some(Permit(Taken::UrgentCall(place)));
        }
        let bytes = transactions.iter().flatten().map(Transaction::size).sum();
        let permit = Arc::clone(&self.batches).try_acquire_many_owned(permits(bytes)).ok()?;
        Some(Permit(Taken::Ordinary(permit)))
    }

    /// Waits until this node has applied everything that was committed when the call
    /// began; `false` if no leader confirmed it: try again.
    pub async fn linearize(&self) -> bool {
        let mut context = [0; 16];
        rand::rng().fill_bytes(&mut context);
        let (waiting, answer) = self.pending.wait(Reply::Read);
        if self.ask(Input::Read { request: waiting.request, context: ReadContext(context) }).await.is_err() {
            return false;
        }
        matches!(tokio::time::timeout(READ_MAX, answer).await, Ok(Ok(true)))
    }

    /// Hands leadership over; returns to whom.
    ///
    /// # Errors
    /// If the node is stopping.
    pub async fn transfer(&self, to: Option<RaftId>) -> Result<Result<RaftId, TransferError>, Stopping> {
        let (waiting, answer) = self.pending.wait(Reply::Transfer);
        self.ask(Input::Transfer { request: waiting.request, to }).await?;
        answer.await.map_err(|_| Stopping)
    }

    /// Has the ledger's time pass a moment, if this node leads.
    ///
    /// # Errors
    /// If the node is stopping.
    pub async fn request_time_block(&self, after: TimeMs) -> Result<(), Stopping> {
        self.ask(Input::RequestTimeBlock(after)).await
    }

    /// A client missed an attachment of a block here.
    ///
    /// # Errors
    /// If the node is stopping.
    pub async fn attachment_missed(&self, height: Height) -> Result<(), Stopping> {
        self.ask(Input::AttachmentMissed(height)).await
    }

    /// Messages of a peer, in order. Waits while the replica is busy, so that the
    /// peer has to.
    ///
    /// # Errors
    /// If the node is stopping.
    pub async fn peer(&self, from: NodeId, messages: Vec<PeerMessage>) -> Result<(), Stopping> {
        let bytes = messages.iter().map(PeerMessage::size).sum();
        let own = self.room_of_peer(from).acquire_many_owned(permits(bytes).min(PEER_KIB_MAX)).await;
        let own = own.map_err(|_| Stopping)?;
        let of_all = Arc::clone(&self.batches).acquire_many_owned(permits(bytes)).await.map_err(|_| Stopping)?;
        let permit = Permit(Taken::Batch(own, of_all));
        self.deliver(Lane::Back, Delivery::Input(Input::Peer { from, messages }, Some(permit)))
    }

    fn room_of_peer(&self, peer: NodeId) -> Arc<Semaphore> {
        let mut rooms = self.of_peers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(PEER_KIB_MAX as usize))))
    }

    /// Something large, for which the replica must have time: so many bytes.
    ///
    /// # Errors
    /// If the node is stopping.
    pub async fn batch(&self, input: Input, bytes: usize) -> Result<(), Stopping> {
        let permit = Arc::clone(&self.batches).acquire_many_owned(permits(bytes)).await.map_err(|_| Stopping)?;
        self.deliver(Lane::Back, Delivery::Input(input, Some(Permit(Taken::Ordinary(permit)))))
    }

    async fn ask(&self, input: Input) -> Result<(), Stopping> {
        let permit = Arc::clone(&self.requests).acquire_owned().await.map_err(|_| Stopping)?;
        self.deliver(Lane::Back, Delivery::Input(input, Some(Permit(Taken::Ordinary(permit)))))
    }

    /// A report of something that the replica asked for.
    ///
    /// # Errors
    /// If the node is stopping.
    pub fn report(&self, input: Input) -> Result<(), Stopping> {
        self.deliver(Lane::Back, Delivery::Input(input, None))
    }

    /// Takes what the verifiers have looked at.
    pub(crate) fn verified(&self, input: Input, permit: Permit) -> Result<(), Stopping> {
        self.deliver(permit.lane(), Delivery::Input(input, Some(permit)))
    }

    /// Ends the replica's thread.
    pub(crate) fn halt(&self) {
        let _ = self.replica.send(Lane::Back, Delivery::Halt);
    }

    /// Ends one thread of the verifiers.
    pub(crate) fn stop_verifier(&self) {
        let _ = self.verifier.send(Lane::Back, VerifyJob::Stop);
    }

    /// Work for the verifiers. Entries of the log go in front: what is in them is on its way
    /// into a block, urgent ones among it.
    ///
    /// # Errors
    /// If the node is stopping.
    pub(crate) fn verify(&self, job: VerifyJob) -> Result<(), Stopping> {
        let lane = match &job {
            VerifyJob::Submission { permit, .. } | VerifyJob::Forwarded { permit, .. } => permit.lane(),
            VerifyJob::Entry(..) => Lane::Front,
            VerifyJob::Stop => Lane::Back,
        };
        self.verifier.send(lane, job).ok_or(Stopping)
    }

    /// Permits leave room for everything that is sent, so this does not wait.
    fn deliver(&self, lane: Lane, delivery: Delivery) -> Result<(), Stopping> {
        self.replica.send(lane, delivery).ok_or(Stopping)
    }

    /// Who went away without an answer since the last call: for the replica, once a tick.
    pub(crate) fn take_gone(&self) -> Option<Input> {
        let gone = std::mem::take(&mut *self.pending.gone.lock().unwrap_or_else(PoisonError::into_inner));
        (!gone.is_empty()).then_some(Input::Gone(gone))
    }

    /// Passes an answer of the replica on. Who has gone away misses it.
    pub(crate) fn answer(&self, request: RequestId, result: Result<Located, Refused>) {
        if let Some(Reply::Submission(reply)) = self.pending.lock().remove(&request) {
            let _ = reply.send(result);
        }
    }

    pub(crate) fn answer_forwarded(&self, request: RequestId, results: Vec<ForwardResult>) {
        if let Some(Reply::Forwarded(reply)) = self.pending.lock().remove(&request) {
            let _ = reply.send(results);
        }
    }

    pub(crate) fn answer_read(&self, request: RequestId, ready: bool) {
        if let Some(Reply::Read(reply)) = self.pending.lock().remove(&request) {
            let _ = reply.send(ready);
        }
    }

    pub(crate) fn answer_transfer(&self, request: RequestId, result: Result<RaftId, TransferError>) {
        if let Some(Reply::Transfer(reply)) = self.pending.lock().remove(&request) {
            let _ = reply.send(result);
        }
    }
}

/// Of those for batches, for one of so many bytes: what is small counts for its share of
/// [`BATCHES_MAX`], and nothing waits for more than there is.
fn permits(bytes: usize) -> u32 {
    let kib = bytes.div_ceil(1024).clamp(BATCHES_KIB_MAX / BATCHES_MAX, BATCHES_KIB_MAX);
    u32::try_from(kib).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
