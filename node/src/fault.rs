//! Why a node stops by itself.

use consilium_consensus::StartError;
use consilium_proto::ids::Height;
use consilium_replica::start::StartRefused;

use crate::storage::StorageError;

/// The cause.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The disk, or what is on it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk must not be used.
    #[error(transparent)]
    Refused(#[from] StartRefused),
    /// The replica cannot go on.
    #[error(transparent)]
    Replica(consilium_replica::Fault),
    /// The log must not be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// This node's state differs from what is certified.
    #[error("the state of this node differs from the certified block at height {height}")]
    Diverged {
        /// First height known to differ.
        height: Height,
    },
    /// A thread has ended.
    #[error("the {0} has stopped")]
    Stopped(&'static str),
    /// Anything about start-up that an operator must mend.
    #[error("{0}")]
    Setup(String),
}

impl From<consilium_replica::Fault> for Fault {
    fn from(fault: consilium_replica::Fault) -> Self {
        match fault {
            consilium_replica::Fault::Diverged { height, .. } => Self::Diverged { height },
            other => Self::Replica(other),
        }
    }
}

impl From<consilium_replica::ports::PortFault> for Fault {
    fn from(fault: consilium_replica::ports::PortFault) -> Self {
        Self::Replica(fault.into())
    }
}
