//! What the core asks of its driver. Plain data; nothing here does anything.

use bytes::Bytes;

use crate::entry::LogEntry;
use crate::hard_state::HardState;
use crate::ids::{LogIndex, RaftId, Term};
use crate::snapshot::SnapshotMeta;
use crate::status::Role;

/// One round of work for the driver. Its parts may be handled concurrently, except that
/// [`Persist::messages_after`] waits for its `Persist`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Messages that may leave now: they promise nothing that is not durable already.
    pub messages: Vec<Outbound>,
    /// What to make durable, strictly in order of [`PersistSeq`].
    pub persist: Option<Persist>,
    /// Entries to apply, in order, without gaps. They are committed **and** durable on this
    /// node (the library never hands out an entry before `persisted` covered it). The commit
    /// index that proves it may still be on its way to disk: whoever stores an applied index
    /// stores a commit at least as high with it.
    pub committed: Vec<LogEntry>,
    /// Reads that were answered or given up.
    pub reads: Vec<ReadOutcome>,
    /// Present when leader, term or role changed.
    pub leadership: Option<LeaderChange>,
    /// Followers that need a state: answer with `offer_snapshot`. Asked again as long as
    /// nothing suitable is on offer.
    pub snapshot_wanted: Vec<RaftId>,
    /// A leader offers a state: fetch it, verify it, then `install_snapshot` or
    /// `refuse_snapshot`. No further offer is taken until then.
    pub snapshot_offered: Option<IncomingSnapshot>,
}

impl Output {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let Self { messages, persist, committed, reads, leadership, snapshot_wanted, snapshot_offered } = self;
        messages.is_empty()
            && persist.is_none()
            && committed.is_empty()
            && reads.is_empty()
            && leadership.is_none()
            && snapshot_wanted.is_empty()
            && snapshot_offered.is_none()
    }
}

/// A message for another node, over the authenticated connection to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The receiver.
    pub to: RaftId,
    /// The encoded message, for the receiver's `step`.
    pub bytes: Bytes,
}

/// The number of a [`Persist`]; they ascend, and durability of one implies that of all before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersistSeq(pub(crate) u64);

impl PersistSeq {
    /// The round of a number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// One atomic write. Everything in it goes into one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// To be reported by `persisted`.
    pub seq: PersistSeq,
    /// Replaces the whole log, and the state with the one fetched for it, before `entries`.
    pub snapshot: Option<SnapshotMeta>,
    /// Entries to append. Whatever is stored at or after the first one's index is replaced,
    /// including everything beyond the last one.
    pub entries: Vec<LogEntry>,
    /// To be stored in the same batch.
    pub hard_state: Option<HardState>,
    /// Whether the write must be synced before `persisted`. When not, a plain write will do.
    pub must_sync: bool,
    /// Messages that vouch for this write (votes, acknowledgements): only after it is durable.
    pub messages_after: Vec<Outbound>,
}

/// Names a read. Unpredictable values, used once, keep nodes from answering to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadContext(pub [u8; 16]);

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The read is linearizable once the node has applied `index`.
    Ready {
        /// The read.
        context: ReadContext,
        /// The index to wait for.
        index: LogIndex,
    },
    /// No answer in time: the leader changed, or had not committed in its term. Try again with
    /// a fresh context.
    Dropped {
        /// The read.
        context: ReadContext,
    },
}

/// Who leads, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderChange {
    /// The leader, if one is known.
    pub leader: Option<RaftId>,
    /// The current term.
    pub term: Term,
    /// This node's role.
    pub role: Role,
}

/// A state that a leader offers instead of entries that it no longer has. Only position and
/// membership are claimed here, and neither is proven: verify what is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingSnapshot {
    /// Who offers it.
    pub from: RaftId,
    /// What it claims to be.
    pub meta: SnapshotMeta,
}
