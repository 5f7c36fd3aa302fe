//! Requests that were answered without a quorum, until they are on the ledger: one file each,
//! durable before anything is handed out for it. Nothing here is erased before its event is
//! certified; what the rules refuse is set aside for people.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use consilium_proto::ids::TransactionId;
use consilium_proto::pb::SignedTransaction;
use prost::Message;

/// Folder under `data_dir`.
const FOLDER: &str = "late";
/// Extensions of the files.
const WAITING: &str = "request";
const REFUSED: &str = "refused";
const DAMAGED: &str = "damaged";
/// Requests that may wait: each is a read of a person, and a few hundred bytes.
const WAITING_MAX: usize = 100_000;

/// See the module.
#[derive(Debug, Clone)]
pub struct LateJournal {
    folder: PathBuf,
    /// One at a time: who finds a file there must know that it is durable.
    keeping: Arc<Mutex<()>>,
}

impl LateJournal {
    /// That of a node.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER), keeping: Arc::default() }
    }

    /// Keeps a request. Once this returns it survives a loss of power.
    ///
    /// # Errors
    /// If the disk fails, or too many wait.
    pub fn keep(&self, id: &TransactionId, transaction: &SignedTransaction) -> io::Result<()> {
        let _keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.folder.is_dir() {
            fs::create_dir_all(&self.folder)?;
            sync(self.folder.parent().unwrap_or(&self.folder))?;
        }
        let path = self.path(id);
        if path.exists() {
            return sync(&self.folder);
        }
        // What a crash has left unfinished is in the way of nothing.
        if self.files(WAITING)?.len() >= WAITING_MAX {
            return Err(io::Error::other("too many requests wait to be entered into the ledger"));
        }
        let unfinished = path.with_extension("tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(&transaction.encode_to_vec())?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync(&self.folder)
    }

    /// Those that wait; a file that was not finished is none: nothing was handed out for it. One
    /// of no name that this has given is set aside for people, and keeps no other from the ledger.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn waiting(&self) -> io::Result<Vec<TransactionId>> {
        let mut waiting = Vec::new();
        for path in self.files(WAITING)? {
            match path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()) {
                Some(id) => waiting.push(id),
                None => set_damaged(&path)?,
            }
        }
        waiting.sort_unstable();
        Ok(waiting)
    }

    /// Whether one waits.
    #[must_use]
    pub fn has(&self, id: &TransactionId) -> bool {
        self.path(id).exists()
    }

    /// One that waits; `None` if it is damaged, and was set aside for people.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, id: &TransactionId) -> io::Result<Option<SignedTransaction>> {
        let path = self.path(id);
        let request = SignedTransaction::decode(&fs::read(&path)?[..]).ok();
        if request.is_none() {
            set_damaged(&path)?;
        }
        Ok(request)
    }

    /// Forgets one whose event is certified.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn forget(&self, id: &TransactionId) -> io::Result<()> {
        fs::remove_file(self.path(id))
    }

    /// Sets one aside that the ledger will never take; returns where it is.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_aside(&self, id: &TransactionId) -> io::Result<PathBuf> {
        let aside = self.path(id).with_extension(REFUSED);
        fs::rename(self.path(id), &aside)?;
        sync(&self.folder)?;
        Ok(aside)
    }

    /// How many are set aside, refused or damaged.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn aside(&self) -> io::Result<usize> {
        Ok(self.files(REFUSED)?.len() + self.files(DAMAGED)?.len())
    }

    fn files(&self, extension: &str) -> io::Result<Vec<PathBuf>> {
        if !self.folder.is_dir() {
            return Ok(Vec::new());
        }
        let all = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path()));
        let all = all.collect::<io::Result<Vec<_>>>()?;
        Ok(all.into_iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect())
    }

    fn path(&self, id: &TransactionId) -> PathBuf {
        self.folder.join(format!("{id}.{WAITING}"))
    }
}

fn set_damaged(path: &Path) -> io::Result<()> {
    let aside = path.with_extension(DAMAGED);
    fs::rename(path, &aside)?;
    tracing::error!(file = %aside.display(), "a request that was answered without a quorum is damaged");
    Ok(())
}

/// What a folder names is durable only once it is synced itself.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_kept_waits_until_it_is_forgotten_or_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let journal = LateJournal::new(folder.path());
        assert_eq!(journal.waiting().unwrap(), []);
        let request = |n: u8| {
            (
                TransactionId::from_bytes([n; 32]),
                SignedTransaction { signature: vec![n; 64].into(), ..Default::default() },
            )
        };
        let all: Vec<_> = (1..4).map(request).collect();
        for (id, transaction) in all.iter().rev().chain(&all) {
            journal.keep(id, transaction).unwrap();
        }
        // As after a crash: a new one over the same folder, and one that was not finished.
        let file = |name: &str| folder.path().join(FOLDER).join(name);
        std::fs::write(file("ab.tmp"), b"ha").unwrap();
        let journal = LateJournal::new(folder.path());
        let waiting = || journal.waiting().unwrap();
        assert_eq!(waiting(), [all[0].0, all[1].0, all[2].0]);
        assert_eq!(journal.read(&all[0].0).unwrap().as_ref(), Some(&all[0].1));
        journal.forget(&all[0].0).unwrap();
        let aside = journal.set_aside(&all[1].0).unwrap();
        assert!(aside.is_file());
        assert_eq!((waiting(), journal.aside().unwrap()), (vec![all[2].0], 1));
        // What is damaged keeps no other from the ledger.
        std::fs::write(file("xy.request"), b"").unwrap();
        let damaged = request(9).0;
        std::fs::write(file(&format!("{damaged}.request")), b"\xff").unwrap();
        assert_eq!(waiting(), [all[2].0, damaged]);
        assert_eq!(journal.read(&damaged).unwrap(), None);
        assert_eq!((waiting(), journal.aside().unwrap()), (vec![all[2].0], 3));
        // People have looked after it.
        std::fs::remove_file(aside).unwrap();
        assert_eq!(journal.aside().unwrap(), 2);
    }
}
