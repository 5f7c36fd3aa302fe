//! Outgoing messages: a bounded queue per peer, and a task that keeps a stream to
//! it open. Order is kept. What does not fit is dropped; Raft and votes repeat
//! themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use consilium_proto::ids::NodeId;
use consilium_proto::pb;
use consilium_replica::Input;
use consilium_replica::peer::{BATCH_MAX, PeerMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::clients::PeerClients;
use crate::handle::Handle;
use crate::published::LiveTopology;

/// Messages that wait for a peer.
const QUEUE_MAX: usize = 4_096;
/// Bytes sent together, unless one message is larger.
const BATCH_BYTES_MAX: usize = consilium_proto::limits::PEER_BATCH_BYTES;

type Queues = BTreeMap<NodeId, mpsc::Sender<PeerMessage>>;

/// The sending side; cheap to clone, usable from any thread. Without peers until
/// [`PeerStreams::run`] opens their queues.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    queues: Arc<ArcSwap<Queues>>,
    connected: Arc<Mutex<BTreeSet<NodeId>>>,
}

impl Outbox {
    /// Opens queues to new peers and closes those to peers that are gone;
    /// returns the receiving ends of the new ones.
    fn follow(&self, peers: impl Iterator<Item = NodeId>) -> Vec<(NodeId, mpsc::Receiver<PeerMessage>)> {
        let before = self.queues.load();
        let mut queues = Queues::new();
        let mut opened = Vec::new();
        for peer in peers {
            let sender = before.get(&peer).cloned().unwrap_or_else(|| {
                let (sender, receiver) = mpsc::channel(QUEUE_MAX);
                opened.push((peer, receiver));
                sender
            });
            queues.insert(peer, sender);
        }
        self.queues.store(Arc::new(queues));
        opened
    }

    /// Sends a message, or drops it.
    pub fn send(&self, to: NodeId, message: PeerMessage) {
        let sent = self.queues.load().get(&to).is_some_and(|queue| queue.try_send(message).is_ok());
        if !sent {
            metrics::counter!("consilium_peer_messages_dropped_total").increment(1);
        }
    }

    /// Whether a stream to a peer is open.
    #[must_use]
    pub fn is_connected(&self, peer: NodeId) -> bool {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer)
    }

    fn set_connected(&self, peer: NodeId, up: bool) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if up {
            connected.insert(peer);
        } else {
            connected.remove(&peer);
        }
    }
}

/// Keeps streams to all nodes of the ledger open.
#[derive(Clone)]
pub struct PeerStreams {
    /// Whose queues they empty.
    pub outbox: Outbox,
    /// Connections.
    pub clients: PeerClients,
    /// Nodes that join get a stream, and those that leave lose it.
    pub topology: LiveTopology,
    /// Told when a peer cannot be reached.
    pub handle: Handle,
    /// Ends everything.
    pub stopping: CancellationToken,
}

impl PeerStreams {
    /// Runs until the node stops.
    pub async fn run(self) {
        let mut changes = self.topology.changes();
        loop {
            changes.mark_unchanged();
            for (peer, queue) in self.outbox.follow(self.clients.peers().into_iter()) {
                tokio::spawn(self.clone().serve(peer, queue));
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = self.stopping.cancelled() => return,
            }
        }
    }

    async fn serve(self, peer: NodeId, mut queue: mpsc::Receiver<PeerMessage>) {
        let mut back_off = Duration::from_millis(50);
        while !self.stopping.is_cancelled() {
            let started = tokio::time::Instant::now();
            tokio::select! {
                ended = self.stream_to(peer, &mut queue) => {
                    self.outbox.set_connected(peer, false);
                    tracing::debug!(peer = peer.0, reason = ended, "stream to peer ended");
                    if queue.is_closed() {
                        return;
                    }
                }
                () = self.stopping.cancelled() => return,
            }
            let _ = self.handle.batch(Input::Unreachable(peer), 0).await;
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
    async fn stream_to(&self, peer: NodeId, queue: &mut mpsc::Receiver<PeerMessage>) -> String {
        // Before the handshake, which takes the newest certificate.
        let mut renewals = self.clients.renewals();
        let mut client = match self.clients.connect(peer).await {
            Ok(client) => client,
            Err(status) => return status.message().to_owned(),
        };
        let (batches, outgoing) = mpsc::channel(4);
        let call = client.exchange(self.clients.request(ReceiverStream::new(outgoing)));
        tokio::pin!(call);
        self.outbox.set_connected(peer, true);
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                _ = renewals.changed() => return "this node has a new certificate".into(),
                ended = &mut call => return ended.map_or_else(|s| s.message().to_owned(), |_| "closed".into()),
                count = queue.recv_many(&mut waiting, BATCH_MAX) => {
                    if count == 0 {
                        return "stopping".into();
                    }
                    for batch in batches_of(&mut waiting) {
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
}

fn batches_of(waiting: &mut Vec<PeerMessage>) -> Vec<pb::ExchangeRequest> {
    let mut batches = vec![pb::ExchangeRequest::default()];
    let mut bytes = 0;
    for message in waiting.drain(..) {
        if bytes > BATCH_BYTES_MAX {
            batches.push(pb::ExchangeRequest::default());
            bytes = 0;
        }
        bytes += message.size();
        if let Some(current) = batches.last_mut() {
            current.messages.push(message.into());
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use consilium_proto::ids::Height;

    /// A batch once kept the last certificate and the last height of each kind.
    #[test]
    fn a_batch_keeps_everything_in_order_and_is_cut_by_bytes() {
        let large = || PeerMessage::Raft(Bytes::from(vec![7; BATCH_BYTES_MAX + 1]));
        let said = vec![
            PeerMessage::UncertifiedFrom(Height(1)),
            large(),
            PeerMessage::UncertifiedFrom(Height(2)),
            PeerMessage::UncertifiedFrom(Height(3)),
        ];
        let batches = batches_of(&mut said.clone());
        assert_eq!(batches.iter().map(|b| b.messages.len()).collect::<Vec<_>>(), [2, 2]);
        let heard = batches.into_iter().flat_map(|b| b.messages).map(PeerMessage::try_from);
        assert_eq!(heard.collect::<Result<Vec<_>, _>>(), Ok(said));
    }
}
