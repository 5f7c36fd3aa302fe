//! Gives the disk's space back after the Raft log was cut, on a thread of its own: neither
//! the replica nor the log's writer waits for it.
//!
//! A cut only says that entries are gone. Three things still hold them: the log of writes,
//! until all in memory is in tables; whole tables of nothing else, which are dropped; and
//! tables that hold a part of them, which are written anew without it. Nothing here says
//! what is gone: without this thread the log is as right, and larger.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use consilium_consensus::LogIndex;
use rocksdb::{CompactOptions, DB, FlushOptions};

use super::StorageError;
use super::raft_log::entry_key;

/// Entries that were cut off: from the first on, and up to the last.
type Cut = (LogIndex, LogIndex);

/// See the module. Ends its thread when it is dropped.
pub(super) struct LogSpace {
    db: Arc<DB>,
    cuts: Option<Sender<Cut>>,
    thread: Option<JoinHandle<()>>,
}

impl LogSpace {
    /// Starts the thread.
    ///
    /// # Errors
    /// If there can be none.
    pub(super) fn start(db: Arc<DB>) -> std::io::Result<Self> {
        let (cuts, waiting) = channel();
        let (name, database) = ("log-space".to_owned(), Arc::clone(&db));
        let thread = std::thread::Builder::new().name(name).spawn(move || run(&database, &waiting))?;
        Ok(Self { db, cuts: Some(cuts), thread: Some(thread) })
    }

    /// Entries from one up to another were deleted, durably.
    pub(super) fn give_back(&self, first: LogIndex, last: LogIndex) {
        if let Some(cuts) = &self.cuts {
            let _ = cuts.send((first, last));
        }
    }
}

impl Drop for LogSpace {
    fn drop(&mut self) {
        self.cuts = None;
        // The database is to be closed: what is under way is not waited for to its end.
        self.db.cancel_all_background_work(false);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(db: &DB, waiting: &Receiver<Cut>) {
    while let Ok((first, mut last)) = waiting.recv() {
        // Cuts are in order, and one behind the other.
        while let Ok((_, later)) = waiting.try_recv() {
            last = later;
        }
        if let Err(error) = give_back(db, first, last) {
            // A disk that fails is found out by the writer, which stops the node.
            tracing::debug!(%error, "the space of the log that was cut is not given back now");
        }
    }
}

fn give_back(db: &DB, first: LogIndex, last: LogIndex) -> Result<(), StorageError> {
    let (first, last) = (entry_key(first), entry_key(last));
    let failed = StorageError::database(super::raft_log::NAME);
    let flushed = db.flush_opt(&FlushOptions::default());
    let dropped = flushed.and_then(|()| db.delete_file_in_range(first, last));
    dropped.map_err(failed)?;
    let mut options = CompactOptions::default();
    // What RocksDB does by itself meanwhile goes on.
    options.set_exclusive_manual_compaction(false);
    db.compact_range_opt(Some(first), Some(last), &options);
    Ok(())
}
