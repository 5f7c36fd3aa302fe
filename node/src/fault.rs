//! Why a node stops by itself.

use std::path::Path;

use consilium_consensus::StartError;
use consilium_proto::ids::Height;
use consilium_replica::start::StartRefused;

use crate::descriptors::TooFew;
use crate::runtime::disk::Room;
use crate::storage::StorageError;
use crate::storage::rot::Rot;

const EX_IOERR: u8 = 74;
const EX_CONFIG: u8 = 78;
/// The system's words for ENOSPC.
const NO_SPACE: &str = "No space left on device";

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
    #[error(
        "the state of this node differs from the certified block at height {height}; the ledger is rebuilt from peers at \
         the next start"
    )]
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
    /// The disk has no room left.
    #[error(
        "the disk of {path} is full: {room}. Make room, then start the node (docs/operations.md, \"The disk is full\"). \
         What failed: {cause}"
    )]
    DiskFull {
        /// The data directory.
        path: String,
        /// How much is free, and of how much.
        room: String,
        /// What could not be written.
        cause: Box<Fault>,
    },
    /// The system does not give something now that it may give later.
    #[error("{0}")]
    System(String),
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
    /// The code that the process ends with, after sysexits.h: what only a person can mend in the
    /// configuration, a disk without room, and all else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setup(_) | Self::Descriptors(_) => EX_CONFIG,
            Self::DiskFull { .. } => EX_IOERR,
            Self::Storage(_)
            | Self::Refused(_)
            | Self::Replica(_)
            | Self::Start(_)
            | Self::Diverged { .. }
            | Self::Rotten(_)
            | Self::Stopped(_)
            | Self::System(_) => 1,
        }
    }

    /// Says that the disk is full, if that is why something failed.
    #[must_use]
    pub fn with_room(self, data_dir: &Path) -> Self {
        // RocksDB passes the system's words on, and no number.
        if !self.to_string().contains(NO_SPACE) {
            return self;
        }
        let room = Room::of(data_dir).map_or_else(|error| error.to_string(), |room| room.to_string());
        Self::DiskFull { path: data_dir.display().to_string(), room, cause: Box::new(self) }
    }

    /// If the ledger has rotten, that is why a node stops, whatever failed for it.
    pub(crate) fn rotten(rot: &Rot) -> Option<Self> {
        rot.cause().map(|cause| Self::Rotten(cause.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_full_disk_is_named_with_its_room() {
        let folder = tempfile::tempdir().unwrap();
        let cause = std::io::Error::from_raw_os_error(28);
        let fault = Fault::from(StorageError::file("/data/GUARD")(cause)).with_room(folder.path());
        let text = fault.to_string();
        assert!(text.contains(&folder.path().display().to_string()) && text.contains("GiB are free"), "{text}");
        assert!(text.contains("/data/GUARD: No space left on device"), "{text}");
        assert_eq!(fault.exit_code(), EX_IOERR);
        let other = Fault::Setup("configuration key `x`: wrong".into()).with_room(folder.path());
        assert_eq!((other.to_string().as_str(), other.exit_code()), ("configuration key `x`: wrong", EX_CONFIG));
        assert_eq!(Fault::System("cannot listen".into()).exit_code(), 1);
    }
}
