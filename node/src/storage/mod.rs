//! What a node keeps on disk.
//!
//! ```text
//! <data_dir>/
//!   MARKER        ties the disk to ledger, member and raft id
//!   GUARD         last vote and watermark of the log (checksummed, synced)
//!   raft/         RocksDB: the Raft log; every write that is vouched for is synced
//!   ledger/       RocksDB: state, blocks, records; a batch about once a second, not
//!                 synced, what is missing is recovered by replaying the log
//!   REPAIR        the ledger went astray, or has rotten, and is to be rebuilt from the peers
//!   ledger.diverged/  the one that went astray, until the new one was compared with it
//!   late/         requests that were answered without a quorum, until they are on the ledger
//!   DIVERGED      what it had wrong, until the operator removes the file
//! ```
//!
//! A failed write or sync is final: the node stops, it never retries on the
//! same handle.

mod family;
pub mod guard;
pub mod late_journal;
pub mod ledger_port;
pub mod ledger_reader;
pub mod ledger_store;
mod log_space;
pub mod marker;
mod merge;
mod overlay;
pub mod raft_log;
pub mod rot;
pub mod snapshot;
mod tip_row;
mod write_behind;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use consilium_replica::ports::PortFault;

/// A fault of the disk, or a disk that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A file operation failed.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// RocksDB failed.
    #[error("database {name}: {source}{}", remedy(name, source))]
    Database {
        /// Which one.
        name: &'static str,
        /// RocksDB's own words.
        source: rocksdb::Error,
    },
    /// A stored value does not decode or contradicts another.
    #[error("{what} is corrupt: {cause}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// A database does not open, and does not fail either.
    #[error(
        "opening {path} takes longer than storage.open_timeout ({after:?}): the end of its log of writes is damaged in a \
         way that nobody finds, or the disk is very slow. See docs/operations.md, \"A database that does not open\"",
        path = path.display()
    )]
    Stuck {
        /// Its folder.
        path: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// The disk belongs to another node or ledger, or to nobody yet.
    #[error("{0}")]
    WrongDisk(String),
}

/// What to do about a database that has rotten. The ledger's can be rebuilt, and who opens it says
/// so; the Raft log holds what this node promised, which nobody else knows.
fn remedy(name: &str, error: &rocksdb::Error) -> &'static str {
    match name == raft_log::NAME && error.kind() == rocksdb::ErrorKind::Corruption {
        true => {
            ". What this node has promised may be lost with it: neither mend nor copy it, replace the node \
             (docs/operations.md, \"A database that does not open\")"
        }
        false => "",
    }
}

impl StorageError {
    /// Whether the ledger's database has rotten: what it holds was written otherwise.
    pub(crate) fn is_rotten_ledger(&self) -> bool {
        matches!(self, Self::Database { name: ledger_reader::NAME, source } if source.kind() == rocksdb::ErrorKind::Corruption)
    }

    pub(crate) fn corrupt(what: &'static str, cause: impl ToString) -> Self {
        Self::Corrupt { what, cause: cause.to_string() }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn database(name: &'static str) -> impl FnOnce(rocksdb::Error) -> Self {
        move |source| Self::Database { name, source }
    }
}

impl From<StorageError> for PortFault {
    fn from(error: StorageError) -> Self {
        Self { what: "disk", cause: error.to_string() }
    }
}

/// Opens a database, and does not wait for ever.
///
/// # Errors
/// As `open` does, or that it takes too long. Its thread may then go on until the process
/// ends.
pub(crate) fn open_within<T: Send + 'static>(
    path: &Path,
    timeout: Duration,
    open: impl FnOnce(&Path) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tracing::info!(path = %path.display(), "opening a database");
    let (began, (sender, receiver)) = (Instant::now(), mpsc::sync_channel(1));
    let folder = path.to_owned();
    let opening = std::thread::Builder::new().name("open".to_owned());
    let opening = opening.spawn(move || drop(sender.send(open(&folder))));
    opening.map_err(StorageError::file(path))?;
    let opened = receiver.recv_timeout(timeout);
    let opened = opened.map_err(|_| StorageError::Stuck { path: path.to_owned(), after: timeout })?;
    let database = opened?;
    tracing::info!(path = %path.display(), seconds = began.elapsed().as_secs_f64(), "opened");
    Ok(database)
}

/// Options that both databases share: a flipped bit in the log of writes is
/// refused, only a torn last record is tolerated. The ledger's is read up to the first
/// damage instead: see [`ledger_store::LedgerStore::open`].
pub(crate) fn database_options() -> rocksdb::Options {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(256 * 1024 * 1024);
    options.set_keep_log_file_num(4);
    options.set_max_background_jobs(2);
    // Each database has one writer: its inserts need no synchronisation.
    options.set_allow_concurrent_memtable_write(false);
    options.set_bytes_per_sync(1024 * 1024);
    // Most of what is written are hashes and ciphertexts.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_database_that_does_not_open_is_given_up() {
        let path = Path::new("/nowhere/ledger");
        let opened = open_within(path, Duration::from_secs(60), |_| Ok(7)).unwrap();
        assert_eq!(opened, 7);
        let failed = open_within(path, Duration::from_secs(60), |path| -> Result<(), _> {
            Err(StorageError::WrongDisk(path.display().to_string()))
        });
        assert_eq!(failed.unwrap_err().to_string(), "/nowhere/ledger");
        let (held, never) = mpsc::channel::<()>();
        let stuck = open_within(path, Duration::from_millis(1), move |_| {
            let _ = never.recv();
            Ok(())
        });
        let text = stuck.unwrap_err().to_string();
        assert!(text.contains("/nowhere/ledger") && text.contains("storage.open_timeout"), "{text}");
        drop(held);
    }
}
