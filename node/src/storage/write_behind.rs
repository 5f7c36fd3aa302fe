//! The ledger's database, with the rows in front of it that it does not hold yet. What blocks
//! write goes to memory, and from there in one batch about once a second: a row that many blocks
//! change is written once, and rows go to the database in the order of their keys.
//!
//! The database keeps no log of writes: what it has in its own memory it writes to files of all
//! families at once, as of one batch. A batch ends between two blocks and holds the tip, so that no
//! crash can separate rows that belong together (invariant I8). What a crash takes is executed again
//! from the Raft log, which is cut only behind what was made durable ([`WriteBehind::flush`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rocksdb::{ColumnFamily, DB, FlushOptions, WriteBatch, WriteOptions};

use super::family::Family;
use super::overlay::{NewRow, Recent, Value};

/// How long rows stay in memory alone, about.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of rows that are written out before their time.
const FULL_BYTES: usize = 16 * 1024 * 1024;
/// Bytes with which whoever writes more waits: there may be as many in memory that are on
/// their way, and what one block writes.
const BYTES_MAX: usize = 2 * FULL_BYTES;
/// Bytes in the database's memory with which it writes its files: about as much is executed again
/// after a crash.
const FILES_BYTES: usize = 64 * 1024 * 1024;
/// With less, it writes them after so long.
const FILES_INTERVAL: Duration = Duration::from_secs(120);

/// See the module.
pub struct WriteBehind {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    database: DB,
    recent: RwLock<Recent>,
    /// The newest moment at which anybody has begun to read.
    seen: AtomicU64,
    /// Held by who writes out.
    writing: Mutex<InMemory>,
    orders: Mutex<Orders>,
    ordered: Condvar,
    /// Why no row gets into the database any more.
    failed: OnceLock<rocksdb::Error>,
}

/// What the database has in memory and in no file.
struct InMemory {
    bytes: usize,
    /// When its files were last begun.
    since: Instant,
}

/// What the thread is told.
#[derive(Default)]
struct Orders {
    now: bool,
    stop: bool,
}

impl WriteBehind {
    /// A database that is written to.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn start(database: DB) -> std::io::Result<Self> {
        let mut started = Self::read_only(database);
        let shared = Arc::clone(&started.shared);
        let thread = std::thread::Builder::new().name("ledger-writer".to_owned());
        started.writer = Some(thread.spawn(move || shared.run())?);
        Ok(started)
    }

    /// A database that nobody writes to.
    #[must_use]
    pub fn read_only(database: DB) -> Self {
        let shared = Shared {
            database,
            recent: RwLock::default(),
            seen: AtomicU64::new(0),
            writing: Mutex::new(InMemory { bytes: 0, since: Instant::now() }),
            orders: Mutex::default(),
            ordered: Condvar::new(),
            failed: OnceLock::new(),
        };
        Self { shared: Arc::new(shared), writer: None }
    }

    /// The database, which lacks what is in front of it.
    #[must_use]
    pub fn database(&self) -> &DB {
        &self.shared.database
    }

    /// A row, if it is in front of the database.
    #[must_use]
    pub fn recent_row(&self, family: Family, key: &[u8]) -> Option<Value> {
        self.shared.recent().get(family, key)
    }

    /// What is in front of the database now, and `look` at the database of the same moment.
    pub fn with_recent<'a, T>(&'a self, look: impl FnOnce(&'a DB) -> T) -> (Recent, T) {
        let recent = self.shared.recent();
        self.shared.seen.fetch_max(recent.moment(), Ordering::Relaxed);
        // Nothing that is written from here on gets into the database before the lock is let go.
        let looked = look(&self.shared.database);
        (recent.clone(), looked)
    }

    /// Takes rows that belong together.
    ///
    /// # Errors
    /// If rows from before could not be written: nothing is durable any more.
    pub fn write(&self, rows: impl IntoIterator<Item = NewRow>) -> Result<(), rocksdb::Error> {
        if let Some(failed) = self.shared.failed.get() {
            return Err(failed.clone());
        }
        let bytes = {
            let mut recent = self.shared.recent_mut();
            recent.write(rows, self.shared.seen.load(Ordering::Relaxed));
            recent.unsealed_bytes()
        };
        if bytes > BYTES_MAX {
            return self.shared.write_out();
        }
        if bytes > FULL_BYTES {
            self.shared.order(|orders| orders.now = true);
        }
        Ok(())
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn flush(&self) -> Result<(), rocksdb::Error> {
        self.shared.write_out()?;
        self.shared.write_files(true)
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        self.shared.order(|orders| orders.stop = true);
        if let Some(writer) = self.writer.take() {
            // It has said why, if it panicked.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut self.orders());
        self.ordered.notify_one();
    }

    /// Writes out what has gathered, again and again, until it is told to stop: then once more.
    fn run(&self) {
        loop {
            let waits = |orders: &mut Orders| !orders.now && !orders.stop;
            let waited = self.ordered.wait_timeout_while(self.orders(), INTERVAL, waits);
            let (mut orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let stop = orders.stop;
            orders.now = false;
            drop(orders);
            let written = self.write_out().and_then(|()| match stop || self.files_are_due() {
                true => self.write_files(stop),
                false => Ok(()),
            });
            if let Err(failed) = written {
                tracing::error!(%failed, "the ledger cannot be written");
                return;
            }
            if stop {
                return;
            }
        }
    }

    /// Writes out all that was taken before the call.
    fn write_out(&self) -> Result<(), rocksdb::Error> {
        let mut in_memory = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = self.failed.get() {
            return Err(failed.clone());
        }
        let Some(sealed) = self.recent_mut().seal() else { return Ok(()) };
        let mut batch = WriteBatch::with_capacity_bytes(sealed.bytes());
        for family in Family::all() {
            let handle = self.handle(family);
            sealed.each_newest(family, |key, value| match value {
                Some(value) => batch.put_cf(handle, key, value),
                None => batch.delete_cf(handle, key),
            });
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        in_memory.bytes += batch.size_in_bytes();
        // What is sealed stays readable if it fails.
        self.last(self.database.write_opt(batch, &options))?;
        self.recent_mut().forget_sealed();
        Ok(())
    }

    /// If something failed, nothing more is taken, nor tried again.
    fn last(&self, written: Result<(), rocksdb::Error>) -> Result<(), rocksdb::Error> {
        written.inspect_err(|failed| drop(self.failed.set(failed.clone())))
    }

    fn files_are_due(&self) -> bool {
        let in_memory = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        in_memory.bytes >= FILES_BYTES || (in_memory.bytes > 0 && in_memory.since.elapsed() >= FILES_INTERVAL)
    }

    /// Has the database write what it has in memory to files, and waits for that if it shall be
    /// durable.
    fn write_files(&self, wait: bool) -> Result<(), rocksdb::Error> {
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = InMemory { bytes: 0, since: Instant::now() };
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        let families: Vec<_> = Family::all().map(|family| self.handle(family)).collect();
        self.last(self.database.flush_cfs_opt(&families, &options))
    }

    fn handle(&self, family: Family) -> &ColumnFamily {
        self.database.cf_handle(family.name()).expect("all families are opened with the database")
    }
}

#[cfg(test)]
mod tests;
