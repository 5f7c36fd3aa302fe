//! Whether the ledger's database can be read. A row whose checksum is wrong was written
//! right and has rotten: nothing that is computed from this disk counts any more, and the
//! node must not vote on. The first reader who meets it says so here, whoever it is.

use std::sync::OnceLock;

use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub struct Rot {
    cause: OnceLock<String>,
    seen: Notify,
}

impl Rot {
    /// Looks at a failure of the database: only what has rotten counts, not a disk that is
    /// full or gone.
    pub(super) fn note(&self, failure: &rocksdb::Error) {
        if failure.kind() == rocksdb::ErrorKind::Corruption {
            let _ = self.cause.set(failure.to_string());
            self.seen.notify_waiters();
        }
    }

    /// What was met first, in RocksDB's own words.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.get().map(String::as_str)
    }

    /// Resolves when something was met.
    pub async fn seen(&self) {
        loop {
            let seen = self.seen.notified();
            tokio::pin!(seen);
            // Before the look: what comes in between is not missed.
            seen.as_mut().enable();
            if self.cause().is_some() {
                return;
            }
            seen.await;
        }
    }
}
