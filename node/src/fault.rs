//! Why a node stops by itself.

use consilium_consensus::StartError;
use consilium_proto::ids::Height;
use consilium_replica::start::StartRefused;

use crate::descriptors::TooFew;
use crate::storage::StorageError;
use crate::storage::rot::Rot;

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
    /// The ledger's database has rotten.
    #[error(
        "the ledger on this disk cannot be read: {0}. It is rebuilt from peers at the next start; look after the disk \
         (docs/operations.md, \"A ledger that has rotten\")"
    )]
    Rotten(String),
    /// A thread has ended.
    #[error("the {0} has stopped")]
    Stopped(&'static str),
    /// The system gives the process too few descriptors.
    #[error(transparent)]
    Descriptors(#[from] TooFew),
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

impl Fault {
    /// If the ledger has rotten, that is why a node stops, whatever failed for it.
    pub(crate) fn rotten(rot: &Rot) -> Option<Self> {
        rot.cause().map(|cause| Self::Rotten(cause.to_owned()))
    }
}
