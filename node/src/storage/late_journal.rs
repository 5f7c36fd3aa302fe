//! Requests that were answered without a quorum, until they are on the ledger: one file each,
//! durable before anything is handed out for it. Nothing here is erased before its event is
//! certified; what the rules refuse is set aside for people.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use consilium_proto::ids::TransactionId;
use consilium_proto::pb::SignedTransaction;
use prost::Message;

/// Folder under `data_dir`.
const FOLDER: &str = "late";
/// Requests that may wait: each is a read of a person, and a few hundred bytes.
const WAITING_MAX: usize = 100_000;

/// See the module.
#[derive(Debug, Clone)]
pub struct LateJournal {
    folder: PathBuf,
}

impl LateJournal {
    /// That of a node.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER) }
    }

    /// Keeps a request. Once this returns it survives a loss of power.
    ///
    /// # Errors
    /// If the disk fails, or too many wait.
    pub fn keep(&self, id: &TransactionId, transaction: &SignedTransaction) -> io::Result<()> {
        if !self.folder.is_dir() {
            fs::create_dir_all(&self.folder)?;
            sync(self.folder.parent().unwrap_or(&self.folder))?;
        }
        let path = self.path(id);
        if path.exists() {
            return Ok(());
        }
        if fs::read_dir(&self.folder)?.count() >= WAITING_MAX {
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
    /// that is damaged is set aside for people, and keeps no other from the ledger.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn waiting(&self) -> io::Result<Vec<(TransactionId, SignedTransaction)>> {
        if !self.folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut waiting = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "request") {
                continue;
            }
            let id: Option<TransactionId> =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let request = SignedTransaction::decode(&fs::read(&path)?[..]).ok();
            match id.zip(request) {
                Some(request) => waiting.push(request),
                None => {
                    let aside = path.with_extension("damaged");
                    fs::rename(&path, &aside)?;
                    tracing::error!(file = %aside.display(), "a request that was answered without a quorum is damaged");
                }
            }
        }
        waiting.sort_by_key(|(id, _)| *id.as_bytes());
        Ok(waiting)
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
        let aside = self.path(id).with_extension("refused");
        fs::rename(self.path(id), &aside)?;
        sync(&self.folder)?;
        Ok(aside)
    }

    fn path(&self, id: &TransactionId) -> PathBuf {
        self.folder.join(format!("{id}.request"))
    }
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
        assert_eq!(journal.waiting().unwrap(), Vec::new());
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
        std::fs::write(folder.path().join(FOLDER).join("ab.tmp"), b"ha").unwrap();
        let journal = LateJournal::new(folder.path());
        assert_eq!(journal.waiting().unwrap(), all);
        journal.forget(&all[0].0).unwrap();
        let aside = journal.set_aside(&all[1].0).unwrap();
        assert!(aside.is_file());
        assert_eq!(journal.waiting().unwrap(), all[2..]);
        std::fs::write(folder.path().join(FOLDER).join("xy.request"), b"").unwrap();
        assert_eq!(journal.waiting().unwrap(), all[2..], "what is damaged keeps no other from the ledger");
        assert!(folder.path().join(FOLDER).join("xy.damaged").is_file());
    }
}
