//! Outgoing messages: a bounded queue per peer, and a task that keeps a stream
//! to it open. What does not fit is dropped; Raft and votes repeat themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use consilium_consensus::{Outbound, RaftId};
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::pb;
use consilium_proto::vote::{CertifiedHeader, Vote};
use crossbeam_channel::Sender;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::clients::PeerClients;
use crate::runtime::driver::DriverMsg;
use crate::runtime::shared::Shared;

/// Messages that wait for a peer.
const QUEUE_MAX: usize = 4_096;
/// Messages sent together.
const BATCH_MAX: usize = 256;
/// Bytes sent together, unless one message is larger.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One message to a peer.
#[derive(Debug, Clone)]
pub(super) enum PeerMessage {
    /// For its Raft core.
    Raft(Bytes),
    /// For its certifier.
    Vote(pb::Vote),
    /// For its certifier: another node's vote, in conflict with what this node
    /// executed.
    Conflicting(pb::Vote),
    /// For its certifier.
    Certificate(Box<pb::CertifiedHeader>),
    /// For its certifier: this node lacks certificates from this height on.
    UncertifiedFrom(Height),
}

/// The sending side; cheap to clone, usable from any thread. Without peers until
/// [`run_outbox`] opens their queues.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    queues: Arc<ArcSwap<Queues>>,
}

type Queues = BTreeMap<RaftId, mpsc::Sender<PeerMessage>>;

impl Outbox {
    /// Opens queues to new peers and closes those to peers that are gone;
    /// returns the receiving ends of the new ones.
    fn follow(&self, peers: &BTreeSet<RaftId>) -> Vec<(RaftId, mpsc::Receiver<PeerMessage>)> {
        let before = self.queues.load();
        let mut queues = Queues::new();
        let mut opened = Vec::new();
        for peer in peers {
            let sender = before.get(peer).cloned().unwrap_or_else(|| {
                let (sender, receiver) = mpsc::channel(QUEUE_MAX);
                opened.push((*peer, receiver));
                sender
            });
            queues.insert(*peer, sender);
        }
        self.queues.store(Arc::new(queues));
        opened
    }

    fn send(&self, to: RaftId, message: PeerMessage) {
        let sent = self.queues.load().get(&to).is_some_and(|queue| queue.try_send(message).is_ok());
        if !sent {
            metrics::counter!("consilium_peer_messages_dropped_total").increment(1);
        }
    }

    /// Sends a Raft message.
    pub fn send_raft(&self, message: Outbound) {
        self.send(message.to, PeerMessage::Raft(message.bytes));
    }

    /// Sends a vote to everyone.
    pub fn broadcast_vote(&self, vote: &Vote) {
        for peer in self.queues.load().keys() {
            self.send(*peer, PeerMessage::Vote(vote.into()));
        }
    }

    /// Passes another node's vote on to everyone.
    pub fn relay_vote(&self, vote: &Vote) {
        for peer in self.queues.load().keys() {
            self.send(*peer, PeerMessage::Conflicting(vote.into()));
        }
    }

    /// Asks everyone for a certificate at or above a height.
    pub fn broadcast_uncertified(&self, from: Height) {
        for peer in self.queues.load().keys() {
            self.send(*peer, PeerMessage::UncertifiedFrom(from));
        }
    }

    /// Sends a certified header to one peer.
    pub fn send_certificate(&self, to: NodeId, certified: &CertifiedHeader) {
        if let Some(to) = RaftId::new(to.0) {
            self.send(to, PeerMessage::Certificate(Box::new(certified.into())));
        }
    }
}

/// Keeps streams to all nodes of the ledger open until the node stops; nodes
/// that join get one, and those that leave lose it.
pub fn run_outbox(shared: &Arc<Shared>, clients: &PeerClients, driver: &Sender<DriverMsg>, outbox: &Outbox) {
    let (shared, clients) = (Arc::clone(shared), clients.clone());
    let (driver, outbox) = (driver.clone(), outbox.clone());
    tokio::spawn(async move {
        let mut changes = shared.topology.changes();
        loop {
            changes.mark_unchanged();
            for (peer, queue) in outbox.follow(&clients.peers().into_iter().collect()) {
                tokio::spawn(serve_peer(Arc::clone(&shared), clients.clone(), driver.clone(), peer, queue));
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}

async fn serve_peer(
    shared: Arc<Shared>,
    clients: PeerClients,
    driver: Sender<DriverMsg>,
    peer: RaftId,
    mut queue: mpsc::Receiver<PeerMessage>,
) {
    let id = NodeId(peer.get());
    let mut back_off = Duration::from_millis(50);
    let mut stopping = shared.stopping.subscribe();
    while !*stopping.borrow() {
        let started = tokio::time::Instant::now();
        tokio::select! {
            ended = stream_to(&shared, &clients, peer, &mut queue) => {
                shared.set_connected(id, false);
                tracing::debug!(peer = peer.get(), reason = ended, "stream to peer ended");
                if queue.is_closed() {
                    return;
                }
            }
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let _ = driver.send(DriverMsg::Unreachable(peer));
        // What waited is stale by the time that the peer is back.
        while queue.try_recv().is_ok() {}
        if started.elapsed() > Duration::from_secs(5) {
            back_off = Duration::from_millis(50);
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(Duration::from_secs(1));
    }
}

/// One stream, from connect to its end; returns why it ended.
async fn stream_to(
    shared: &Shared,
    clients: &PeerClients,
    peer: RaftId,
    queue: &mut mpsc::Receiver<PeerMessage>,
) -> String {
    // Before the handshake, which takes the newest certificate.
    let mut renewals = clients.renewals();
    let mut client = match clients.connect(peer).await {
        Ok(client) => client,
        Err(status) => return status.message().to_owned(),
    };
    let (batches, outgoing) = mpsc::channel(4);
    let call = client.exchange(clients.request(ReceiverStream::new(outgoing)));
    tokio::pin!(call);
    shared.set_connected(NodeId(peer.get()), true);
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            _ = renewals.changed() => return "this node has a new certificate".into(),
            ended = &mut call => return ended.map_or_else(|s| s.message().to_owned(), |_| "closed".into()),
            count = queue.recv_many(&mut waiting, BATCH_MAX) => {
                if count == 0 {
                    return "stopping".into();
                }
                for batch in batch(&mut waiting) {
                    // The call is polled while a slow peer makes this wait.
                    tokio::select! {
                        sent = batches.send(batch) => if sent.is_err() { return "closed".into() },
                        ended = &mut call => {
                            return ended.map_or_else(|s| s.message().to_owned(), |_| "closed".into());
                        }
                    }
                }
            }
        }
    }
}

fn batch(waiting: &mut Vec<PeerMessage>) -> Vec<pb::ExchangeRequest> {
    let mut batches = vec![pb::ExchangeRequest::default()];
    let mut bytes = 0;
    for message in waiting.drain(..) {
        if bytes > BATCH_BYTES_MAX {
            batches.push(pb::ExchangeRequest::default());
            bytes = 0;
        }
        let Some(current) = batches.last_mut() else { continue };
        match message {
            PeerMessage::Raft(message) => {
                bytes += message.len();
                current.raft_messages.push(message);
            }
            PeerMessage::Vote(vote) => current.votes.push(vote),
            PeerMessage::Conflicting(vote) => current.conflicting_votes.push(vote),
            PeerMessage::Certificate(certified) => {
                current.certificate = certified.certificate;
                current.certified_header = certified.header;
            }
            PeerMessage::UncertifiedFrom(height) => current.uncertified_from = height.0,
        }
    }
    batches
}
