//! The marker: ties a data directory to one ledger, member and raft id, so
//! that a disk can never be used under another identity, and an empty disk is
//! never taken for one that has merely not started yet: it would vote a second
//! time where it has voted before.

use std::io::Write;
use std::path::Path;

use consilium_proto::ids::{LedgerId, NodeId};
use serde::{Deserialize, Serialize};

use super::StorageError;

/// File name inside the data directory.
pub const MARKER_FILE: &str = "MARKER";
/// There while `init` is at work: without a marker beside it, what else lies there has never been
/// a node, and has never voted.
pub const INIT_FILE: &str = "INIT";
/// Of what lies in a data directory (CHANGELOG.md).
const FORMAT_VERSION: u32 = 10;

/// Content of the marker, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// Format of the data directory.
    pub format_version: u32,
    /// Hexadecimal.
    pub ledger_id: String,
    /// `spiffe://<member>/node/<name>`.
    pub spiffe_id: String,
    /// Raft id.
    pub raft_id: u64,
}

impl Marker {
    /// The marker that this node expects.
    #[must_use]
    pub fn new(ledger: LedgerId, spiffe_id: &str, raft_id: NodeId) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            ledger_id: ledger.to_string(),
            spiffe_id: spiffe_id.to_owned(),
            raft_id: raft_id.0,
        }
    }

    /// Reads the marker of a data directory.
    ///
    /// # Errors
    /// If there is none, with what to do about it; or if it does not parse.
    pub fn read(data_dir: &Path) -> Result<Self, StorageError> {
        let path = data_dir.join(MARKER_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound if data_dir.join(INIT_FILE).exists() => StorageError::WrongDisk(format!(
                "{} holds no node: an `init` was broken off there. Run `consilium-node init` again",
                data_dir.display()
            )),
            std::io::ErrorKind::NotFound => StorageError::WrongDisk(format!(
                "{} holds no node: there is no {MARKER_FILE} file. A new node is set up once with \
                 `consilium-node init`. If this node has run before, its disk was lost: it must not come back \
                 under the same raft id, because it has forgotten what it voted for",
                data_dir.display()
            )),
            _ => StorageError::File { path: path.clone(), source },
        })?;
        serde_json::from_str(&text).map_err(|e| StorageError::corrupt("marker", e))
    }

    /// Checks that a data directory is this node's.
    ///
    /// # Errors
    /// If it belongs to another ledger or node, or is of another version.
    pub fn check(&self, data_dir: &Path) -> Result<(), StorageError> {
        let found = Self::read(data_dir)?;
        if found == *self {
            return Ok(());
        }
        if found.format_version != self.format_version {
            return Err(StorageError::WrongDisk(format!(
                "{} has format version {}, this build reads {}: start the build that wrote it, or replace this node \
                 (docs/membership.md)",
                data_dir.display(),
                found.format_version,
                self.format_version
            )));
        }
        Err(StorageError::WrongDisk(format!(
            "{} belongs to {} (raft id {}, ledger {}), not to {} (raft id {}, ledger {})",
            data_dir.display(),
            found.spiffe_id,
            found.raft_id,
            found.ledger_id,
            self.spiffe_id,
            self.raft_id,
            self.ledger_id
        )))
    }

    /// Writes the marker; the last step of setting up a data directory.
    ///
    /// # Errors
    /// If there is one already, or the disk fails.
    pub fn create(&self, data_dir: &Path) -> Result<(), StorageError> {
        let path = data_dir.join(MARKER_FILE);
        let text = serde_json::to_string_pretty(self).map_err(|e| StorageError::corrupt("marker", e))?;
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(StorageError::file(&path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(StorageError::file(&path))?;
        let dir = std::fs::File::open(data_dir).map_err(StorageError::file(data_dir))?;
        dir.sync_all().map_err(StorageError::file(data_dir))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_empty_disk_and_another_nodes_disk_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let marker = Marker::new(LedgerId::from_bytes([1; 32]), "spiffe://a.example/node/n1", NodeId(1));
        let error = marker.check(dir.path()).unwrap_err().to_string();
        assert!(error.contains("must not come back"), "{error}");
        marker.create(dir.path()).unwrap();
        marker.check(dir.path()).unwrap();
        assert!(marker.create(dir.path()).is_err());
        let older = Marker { format_version: 1, ..marker };
        let error = older.check(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("format version {FORMAT_VERSION}, this build reads 1")), "{error}");
        let other = Marker::new(LedgerId::from_bytes([2; 32]), "spiffe://a.example/node/n1", NodeId(1));
        assert!(matches!(other.check(dir.path()), Err(StorageError::WrongDisk(_))));
    }
}
