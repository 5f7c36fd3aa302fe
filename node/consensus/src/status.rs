//! A picture of the core for operators and metrics.

use std::collections::BTreeMap;

use crate::ids::{LogIndex, RaftId, Term};
use crate::membership::Membership;

/// The role of this node in the current term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether an election would succeed, without raising the term.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

impl Role {
    pub(crate) fn from_raft(role: raft::StateRole) -> Self {
        match role {
            raft::StateRole::Follower => Self::Follower,
            raft::StateRole::PreCandidate => Self::PreCandidate,
            raft::StateRole::Candidate => Self::Candidate,
            raft::StateRole::Leader => Self::Leader,
        }
    }
}

/// How a leader sends to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// One message at a time, to find where the logs agree.
    Probe,
    /// Streaming entries.
    Replicate,
    /// Waiting for a snapshot to arrive there.
    Snapshot,
}

/// What a leader knows of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Highest index known to be durable there.
    pub matched: LogIndex,
    /// How it is being served.
    pub state: PeerState,
    /// Whether it answered within the last election timeout (the shortest one).
    pub recently_active: bool,
    /// Ticks since it last answered this leader; `None` if it never did in this term.
    pub ticks_since_heard: Option<u64>,
    /// Ticks since it last let an offer of leadership pass in this term; `None` if it never did.
    pub ticks_since_declined: Option<u64>,
}

/// The state of a core at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: RaftId,
    /// Its role.
    pub role: Role,
    /// The current term.
    pub term: Term,
    /// The leader, if known.
    pub leader: Option<RaftId>,
    /// Highest index known to be committed.
    pub commit: LogIndex,
    /// Highest index that the driver reported as applied.
    pub applied: LogIndex,
    /// Highest index known to be durable here.
    pub persisted: LogIndex,
    /// Index before the first entry still in the log.
    pub truncated: LogIndex,
    /// Last index of the log, durable or not.
    pub last_index: LogIndex,
    /// The configuration in force.
    pub membership: Membership,
    /// Progress of the others; empty unless leader.
    pub peers: BTreeMap<RaftId, PeerProgress>,
    /// Whether a membership change may be under way: proposed and not applied, or joint. No
    /// other one can be proposed meanwhile. Of use at the leader only.
    pub change_pending: bool,
    /// Whether leadership is being handed over.
    pub transferring_to: Option<RaftId>,
}
