//! What the threads of a node publish for each other and for the API: the
//! newest applied block, the newest certificate, leadership, alarms. Everything
//! here is a snapshot to read; the owners are the threads that write it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use consilium_consensus::{LogIndex, Status};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::{HeaderHash, Height, NodeId, TimeMs};
use consilium_proto::vote::{CertifiedHeader, Equivocation, Vote};
use tokio::sync::watch;

use super::waiters::Waiters;
use crate::identity::topology::LiveTopology;
use crate::identity::trust::LedgerTrust;
use crate::storage::ledger_store::LedgerStore;

/// The newest executed block.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// Raft index.
    pub index: LogIndex,
    /// Height.
    pub height: Height,
    /// Block time.
    pub time: TimeMs,
    /// Header.
    pub header_hash: HeaderHash,
}

/// Published state of a node.
#[derive(Debug)]
pub struct Shared {
    /// The ledger.
    pub ledger: Arc<LedgerStore>,
    /// The genesis document.
    pub genesis: Genesis,
    /// Its bytes, to be served.
    pub genesis_bytes: Bytes,
    /// Nodes, validators and parameters as of the newest executed block.
    pub topology: Arc<LiveTopology>,
    /// This node.
    pub me: NodeId,
    /// Members, for handshakes.
    pub trust: Arc<LedgerTrust>,
    /// Newest executed block.
    pub applied: watch::Sender<Applied>,
    /// Newest certified header; `None` until the first certificate.
    pub certified: watch::Sender<Option<Arc<CertifiedHeader>>>,
    /// The leader as known here.
    pub leader: watch::Sender<Option<NodeId>>,
    /// Raft's picture, refreshed each tick.
    pub raft: ArcSwapOption<Status>,
    /// Those who wait for a transaction.
    pub waiters: Waiters,
    /// Transactions in the leader's queue here.
    pub queued: AtomicUsize,
    /// Newest vote of each validator, as seen here.
    pub votes: Mutex<BTreeMap<NodeId, Vote>>,
    /// What a leader reports in its blocks.
    pub sightings: Mutex<Sightings>,
    /// What the leader does about Raft's voters, in words.
    pub reconciliation: Mutex<String>,
    /// How suspensions took effect here, newest first.
    pub cuts: Mutex<VecDeque<MemberCut>>,
    /// Open streams to peers.
    pub connected: Mutex<BTreeMap<NodeId, bool>>,
    /// This node's state differs from a certified header: it neither votes nor
    /// serves reads.
    pub quarantined: AtomicBool,
    /// What needs attention.
    pub alarms: Alarms,
    /// Set when the node stops.
    pub stopping: watch::Sender<bool>,
}

/// What this node has seen of others and the ledger has not recorded yet.
#[derive(Debug, Default)]
pub struct Sightings {
    /// Nodes that the ledger has not seen in the current window.
    pub unseen: BTreeSet<NodeId>,
    /// Verified votes of such nodes.
    pub votes: BTreeMap<NodeId, Vote>,
    /// Proofs of double signing, by node.
    pub evidence: BTreeMap<NodeId, Equivocation>,
}

/// How a suspension or removal took effect on this node.
#[derive(Debug, Clone)]
pub struct MemberCut {
    /// The member.
    pub member: String,
    /// The block that holds it.
    pub height: Height,
    /// When the block was executed here.
    pub executed: Instant,
    /// When its certificate was known here.
    pub certified: Option<Instant>,
    /// When the last connection was closed.
    pub cut: Option<Instant>,
    /// Connections closed.
    pub connections: u64,
}

/// Cuts that are kept for status.
pub const CUTS_MAX: usize = 16;

impl Shared {
    /// Height of the newest certificate; genesis counts as certified.
    #[must_use]
    pub fn certified_height(&self) -> Height {
        self.certified.borrow().as_ref().map_or(Height::GENESIS, |c| c.header.height)
    }

    /// What this node has seen and the ledger has not recorded.
    pub fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this node leads, as far as published.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        *self.leader.borrow() == Some(self.me)
    }

    /// Whether this node has put itself aside.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.quarantined.load(Ordering::Acquire)
    }

    /// A block cut a member off.
    pub(crate) fn member_cut(&self, member: &str, height: Height) {
        tracing::warn!(member, height = height.0, "member cut off");
        let executed = Instant::now();
        let cut = MemberCut { member: member.to_owned(), height, executed, certified: None, cut: None, connections: 0 };
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.push_front(cut);
        cuts.truncate(CUTS_MAX);
    }

    /// Completes the cuts that are under way.
    pub(crate) fn complete_cuts(&self, complete: impl Fn(&mut MemberCut)) {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.iter_mut().filter(|c| c.cut.is_none() || c.certified.is_none()).for_each(complete);
    }

    /// Whether a stream to a peer is open.
    #[must_use]
    pub fn is_connected(&self, id: NodeId) -> bool {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.get(&id).copied().unwrap_or(false)
    }

    pub(crate) fn set_connected(&self, id: NodeId, up: bool) {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).insert(id, up);
    }
}

/// The wall clock: for proposed block times, vote checks and alarms only.
#[must_use]
pub fn now_ms() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The wall clock in seconds, for certificates of identity.
#[must_use]
pub fn now_s() -> i64 {
    i64::try_from(now_ms().0 / 1_000).unwrap_or(i64::MAX)
}

/// Raised alarms by stable name.
#[derive(Debug, Default)]
pub struct Alarms(Mutex<BTreeMap<&'static str, RaisedAlarm>>);

/// One alarm.
#[derive(Debug, Clone)]
pub struct RaisedAlarm {
    /// What is wrong and what to do.
    pub message: String,
    /// Since when.
    pub since: TimeMs,
}

impl Alarms {
    /// Raises an alarm, or keeps it raised.
    pub fn raise(&self, name: &'static str, message: String) {
        let mut alarms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !alarms.contains_key(name) {
            tracing::error!(alarm = name, message, "alarm raised");
            metrics::gauge!("consilium_alarm", "name" => name).set(1.0);
        }
        let since = alarms.get(name).map_or_else(now_ms, |a| a.since);
        alarms.insert(name, RaisedAlarm { message, since });
    }

    /// Clears an alarm.
    pub fn clear(&self, name: &'static str) {
        let mut alarms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if alarms.remove(name).is_some() {
            tracing::info!(alarm = name, "alarm cleared");
            metrics::gauge!("consilium_alarm", "name" => name).set(0.0);
        }
    }

    /// All raised alarms.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static str, RaisedAlarm)> {
        let alarms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.iter().map(|(name, alarm)| (*name, alarm.clone())).collect()
    }
}

/// Measures a stage into a histogram.
pub(crate) fn record_seconds(name: &'static str, since: Instant) {
    metrics::histogram!(name).record(since.elapsed().as_secs_f64());
}
