//! Settings of a core, with defaults that are safe (the library's own are not).
//!
//! Pre-vote, check-quorum and quorum reads are not settings: they are always on.

use crate::ids::RaftId;

/// Room for a message's fields around its entries, in bytes.
const MESSAGE_OVERHEAD_BYTES: usize = 64 << 10;

/// The range of the election timeout in ticks; one value is drawn per term from `[min, max)`.
///
/// `max = min + 1` leaves no choice and makes a run reproducible; simulations then give every
/// node a `min` of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionTicks {
    /// Smallest timeout.
    pub min: u32,
    /// One more than the largest timeout.
    pub max: u32,
}

/// Settings of a [`crate::Core`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub id: RaftId,
    /// Election timeout. Longer: slower fail-over. Shorter: more needless elections.
    pub election_ticks: ElectionTicks,
    /// Ticks between heartbeats of a leader; less than the election timeout.
    pub heartbeat_ticks: u32,
    /// Entries in one append message, in bytes; one larger entry still goes alone.
    pub append_bytes_max: usize,
    /// Append messages on their way to one follower.
    pub inflight_max: usize,
    /// Proposed and not yet committed content, in bytes; beyond it proposals are refused.
    pub uncommitted_bytes_max: usize,
    /// Committed entries in one output, in bytes (at least one entry).
    pub committed_bytes_max: usize,
    /// Content of one entry, in bytes.
    pub entry_bytes_max: usize,
    /// One message from a peer, in bytes.
    pub message_bytes_max: usize,
    /// Recent entries kept in memory, in bytes. What is not yet durable is kept regardless.
    pub cache_bytes_max: usize,
    /// Ticks until an unanswered read is reported as dropped.
    pub read_ticks_max: u32,
    /// Reads waiting at once; of this node, and for a leader of all nodes.
    pub reads_max: usize,
    /// Ticks until a leader takes a snapshot transfer nobody reported on for failed.
    pub snapshot_ticks_max: u32,
}

impl Config {
    /// Defaults for node `id`: ticks of about 50 ms give elections after 1 to 2 s.
    pub fn new(id: RaftId) -> Self {
        Self {
            id,
            election_ticks: ElectionTicks { min: 20, max: 40 },
            heartbeat_ticks: 2,
            append_bytes_max: 1 << 20,
            inflight_max: 256,
            uncommitted_bytes_max: 64 << 20,
            committed_bytes_max: 8 << 20,
            entry_bytes_max: 6 << 20,
            message_bytes_max: 8 << 20,
            cache_bytes_max: 64 << 20,
            read_ticks_max: 40,
            reads_max: 4096,
            snapshot_ticks_max: 1200,
        }
    }

    /// Checks the settings against each other.
    ///
    /// # Errors
    /// The first that does not fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ElectionTicks { min, max } = self.election_ticks;
        if min >= max {
            return Err(ConfigError::ElectionRange { min, max });
        }
        if self.heartbeat_ticks == 0 || self.heartbeat_ticks >= min {
            return Err(ConfigError::Heartbeat { heartbeat: self.heartbeat_ticks, min });
        }
        if self.inflight_max == 0 || self.entry_bytes_max == 0 || self.reads_max == 0 {
            return Err(ConfigError::Zero);
        }
        let needed = self.append_bytes_max.max(self.entry_bytes_max) + MESSAGE_OVERHEAD_BYTES;
        if self.message_bytes_max < needed {
            return Err(ConfigError::MessageTooSmall { max: self.message_bytes_max, needed });
        }
        if self.uncommitted_bytes_max < self.append_bytes_max {
            return Err(ConfigError::UncommittedTooSmall { max: self.uncommitted_bytes_max });
        }
        Ok(())
    }

    pub(crate) fn to_raft(&self, applied: u64) -> raft::Config {
        raft::Config {
            id: self.id.get(),
            election_tick: self.election_ticks.min as usize,
            min_election_tick: self.election_ticks.min as usize,
            max_election_tick: self.election_ticks.max as usize,
            heartbeat_tick: self.heartbeat_ticks as usize,
            applied,
            max_size_per_msg: self.append_bytes_max as u64,
            max_inflight_msgs: self.inflight_max,
            check_quorum: true,
            pre_vote: true,
            read_only_option: raft::ReadOnlyOption::Safe,
            max_uncommitted_size: self.uncommitted_bytes_max as u64,
            max_committed_size_per_ready: self.committed_bytes_max as u64,
            ..raft::Config::default()
        }
    }
}

/// Which settings do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The range of election timeouts is empty.
    #[error("election ticks: {min} is not below {max}")]
    ElectionRange {
        /// Smallest timeout.
        min: u32,
        /// End of the range.
        max: u32,
    },
    /// Heartbeats would come too late to prevent elections.
    #[error("heartbeat ticks {heartbeat} must be between 1 and {min}")]
    Heartbeat {
        /// Ticks between heartbeats.
        heartbeat: u32,
        /// Smallest election timeout.
        min: u32,
    },
    /// A limit of zero that would stop everything.
    #[error("a limit is zero")]
    Zero,
    /// Peers would refuse messages that this node may send.
    #[error("message limit {max} is below the {needed} bytes a message may need")]
    MessageTooSmall {
        /// The limit.
        max: usize,
        /// What a legal message may take.
        needed: usize,
    },
    /// Not even one append could be outstanding.
    #[error("uncommitted limit {max} is below the append limit")]
    UncommittedTooSmall {
        /// The limit.
        max: usize,
    },
}

#[cfg(test)]
mod tests;
