//! What the replica tells everyone: how far it is, who leads, who takes part. All
//! of it is written by one thread and read by any; nothing here is decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::vote::CertifiedHeader;
use consilium_replica::topology::Topology;
use consilium_replica::{Applied, Status};
use tokio::sync::watch;

use crate::held::Held;

/// The newest of everything.
#[derive(Debug)]
pub struct Published {
    me: NodeId,
    applied: watch::Sender<Applied>,
    certified: watch::Sender<Option<Arc<CertifiedHeader>>>,
    leader: watch::Sender<Option<NodeId>>,
    status: ArcSwap<Status>,
    topology: LiveTopology,
    quarantined: AtomicBool,
    disk_nearly_full: AtomicBool,
    held: Held,
}

impl Published {
    /// As a node starts.
    #[must_use]
    pub fn new(
        me: NodeId,
        applied: Applied,
        certified: Option<Arc<CertifiedHeader>>,
        status: Status,
        topology: LiveTopology,
    ) -> Self {
        let held = Held::new(certified.as_ref().map_or(Height::GENESIS, |c| c.header.height));
        Self {
            me,
            held,
            applied: watch::Sender::new(applied),
            certified: watch::Sender::new(certified),
            leader: watch::Sender::new(None),
            status: ArcSwap::from_pointee(status),
            topology,
            quarantined: AtomicBool::new(false),
            disk_nearly_full: AtomicBool::new(false),
        }
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// How far the ledger here is.
    #[must_use]
    pub fn applied(&self) -> Applied {
        *self.applied.borrow()
    }

    /// Tells of every move.
    #[must_use]
    pub fn watch_applied(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    /// The newest certified header; `None` before the first.
    #[must_use]
    pub fn certified(&self) -> Option<Arc<CertifiedHeader>> {
        self.certified.borrow().clone()
    }

    /// Height of the newest certificate; the genesis counts as certified.
    #[must_use]
    pub fn certified_height(&self) -> Height {
        self.certified.borrow().as_ref().map_or(Height::GENESIS, |c| c.header.height)
    }

    /// Tells of every certificate.
    #[must_use]
    pub fn watch_certified(&self) -> watch::Receiver<Option<Arc<CertifiedHeader>>> {
        self.certified.subscribe()
    }

    /// The leader as known here.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        *self.leader.borrow()
    }

    /// Tells of every leader.
    #[must_use]
    pub fn watch_leader(&self) -> watch::Receiver<Option<NodeId>> {
        self.leader.subscribe()
    }

    /// The replica's picture of itself, of its last tick.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Nodes, validators and parameters.
    #[must_use]
    pub fn topology(&self) -> &LiveTopology {
        &self.topology
    }

    /// Whether this node has put itself aside: it neither votes nor serves reads.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.quarantined.load(Ordering::Acquire)
    }

    /// Whether there is next to no room left on this node's disk: clients' transactions are refused,
    /// but for urgent ones.
    #[must_use]
    pub fn is_disk_nearly_full(&self) -> bool {
        self.disk_nearly_full.load(Ordering::Relaxed)
    }

    pub(crate) fn set_disk_nearly_full(&self, nearly_full: bool) {
        self.disk_nearly_full.store(nearly_full, Ordering::Relaxed);
    }

    pub(crate) fn set_applied(&self, applied: Applied) {
        self.applied.send_replace(applied);
    }

    /// When the certificate of a height, or of one above it, was known here; `None` if it is not,
    /// or this node has forgotten.
    #[must_use]
    pub fn held_since(&self, height: Height) -> Option<TimeMs> {
        self.held.since(height)
    }

    pub(crate) fn set_certified(&self, certified: Arc<CertifiedHeader>, now: TimeMs) {
        self.held.certified(certified.header.height, now);
        self.certified.send_replace(Some(certified));
    }

    pub(crate) fn set_leader(&self, leader: Option<NodeId>) {
        self.leader.send_replace(leader);
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.status.store(Arc::new(status));
    }

    pub(crate) fn quarantine(&self) {
        self.quarantined.store(true, Ordering::Release);
        self.leader.send_modify(|_| {});
    }
}

/// The newest topology, and word of every change. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveTopology(Arc<Live>);

#[derive(Debug)]
struct Live {
    current: ArcSwap<Topology>,
    version: watch::Sender<u64>,
}

impl LiveTopology {
    /// Begins with one.
    #[must_use]
    pub fn new(topology: Arc<Topology>) -> Self {
        Self(Arc::new(Live { current: ArcSwap::new(topology), version: watch::Sender::new(0) }))
    }

    /// The newest.
    #[must_use]
    pub fn get(&self) -> Arc<Topology> {
        self.0.current.load_full()
    }

    /// Tells of every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    pub(crate) fn set(&self, topology: Arc<Topology>) {
        self.0.current.store(topology);
        self.0.version.send_modify(|version| *version += 1);
    }
}
