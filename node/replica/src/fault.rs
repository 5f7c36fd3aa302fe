//! Why a replica cannot go on. Never what a peer or a client sent: that is refused.

use consilium_consensus::voting::VotingError;
use consilium_consensus::{ApplyError, LogError, PersistError, StartError};
use consilium_ledger::{ExecutionError, StoreFault};
use consilium_proto::ids::{HeaderHash, Height};

use crate::ports::PortFault;

/// The cause.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The disk, or what is on it.
    #[error(transparent)]
    Port(#[from] PortFault),
    /// A block could not be executed.
    #[error("executing a block: {0}")]
    Execution(#[from] ExecutionError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log must not be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A write was reported that was never asked for.
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// Raft's entries were applied out of order.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A vote cannot be signed, or what was executed does not fit together.
    #[error(transparent)]
    Voting(#[from] VotingError),
    /// This node's state differs from what is certified: it is to be rebuilt from
    /// certified blocks.
    #[error("this node computed header {own} at height {height}, the validators certified {certified}")]
    Diverged {
        /// First height known to differ.
        height: Height,
        /// What this node computed.
        own: HeaderHash,
        /// What is certified.
        certified: HeaderHash,
    },
    /// Peers hold a vote that the guard does not remember.
    #[error(
        "this node has signed a vote for height {0}, and its disk does not remember it: the disk was lost or rolled \
         back. It must not vote again under this raft id; see docs/operations.md, \"A lost disk\""
    )]
    VoteForgotten(Height),
    /// This node was replaced or taken out.
    #[error("raft id {0} is retired: this node was replaced or taken out; see docs/membership.md")]
    Retired(consilium_proto::ids::NodeId),
}

impl From<StoreFault> for Fault {
    fn from(fault: StoreFault) -> Self {
        Self::Port(fault.into())
    }
}
