//! The journal of an import: what is certified, and what may be.
//!
//! A line of JSON per fact. Before a transaction is first sent, its signed
//! bytes are in a file of their own (`JOURNAL.pending/ID.tx`) and a `pending`
//! line is synced; so whatever happens, the next run can send exactly the same
//! transaction again, which executes once. Resources are named by a keyed hash
//! of their bytes: the journal tells nothing to whoever finds it.
//!
//! Equal resources are counted, not told apart: of a file that holds the same
//! bytes twice both are imported, and a second run passes over both.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use consilium_proto::envelope::{SearchKey, blind_tag};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{Height, LedgerId, RecordId, TransactionId};
use consilium_proto::pb;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::files::SECRET_MODE;

const DIRECTORY_MODE: u32 = 0o700;
const FORMAT: u32 = 1;
/// Name under which resources are blinded for the journal.
const ITEM: &str = "import-journal";

/// A journal that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The file system failed.
    #[error("{0}")]
    Io(String),
    /// Another import uses it now.
    #[error("is used by another import")]
    InUse,
    /// It is no journal, or of a format this program does not know.
    #[error("line {line} is not of a journal of an import")]
    Malformed {
        /// From 1.
        line: usize,
    },
    /// It is of an import into another ledger.
    #[error("is of an import into another ledger")]
    OtherLedger,
}

impl From<std::io::Error> for JournalError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Names a resource without telling anything about it: hexadecimal.
#[must_use]
pub(super) fn item(key: &SearchKey, raw: &[u8]) -> String {
    hex::encode(blind_tag(key, ITEM, &sha256(&[raw])))
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Journal { format: u32, ledger: String },
    Pending { transaction: String, valid_until_ms: u64, items: Vec<String>, records: Vec<String> },
    Certified { transaction: String, height: u64 },
    Refused { transaction: String, outcome: String },
    Never { transaction: String },
}

/// A transaction that was perhaps sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEntry {
    /// Its id.
    pub transaction: TransactionId,
    /// Until when it can execute.
    pub valid_until_ms: u64,
    /// Names of its resources, see [`item`].
    pub items: Vec<String>,
}

/// An open journal, locked against other imports.
#[derive(Debug)]
pub struct Journal {
    file: File,
    directory: PathBuf,
    pending: BTreeMap<TransactionId, PendingEntry>,
    /// Certified resources and how often.
    certified: BTreeMap<String, u64>,
}

impl Journal {
    /// Opens or creates a journal for a ledger.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(path: &Path, ledger: LedgerId) -> Result<Self, JournalError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(SECRET_MODE);
        let mut file = options.open(path)?;
        file.try_lock().map_err(|_| JournalError::InUse)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| match e.kind() {
            ErrorKind::InvalidData => JournalError::Malformed { line: 1 },
            _ => e.into(),
        })?;
        // A line without its end was cut off by a crash before it counted.
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        let header = Line::Journal { format: FORMAT, ledger: ledger.to_string() };
        if complete == 0 && !encode(&header)?.starts_with(&text) {
            return Err(JournalError::Malformed { line: 1 });
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".pending");
        let directory = PathBuf::from(name);
        let mut journal = Self { file, directory, pending: BTreeMap::new(), certified: BTreeMap::new() };
        journal.replay(&text[..complete], ledger)?;
        // Only now is it known to be a journal, and may be changed.
        journal.file.set_len(complete as u64)?;
        journal.file.seek(SeekFrom::End(0))?;
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&journal.directory)?;
        if complete == 0 {
            journal.append(&header)?;
        }
        journal.remove_strays()?;
        Ok(journal)
    }

    fn replay(&mut self, text: &str, ledger: LedgerId) -> Result<(), JournalError> {
        for (number, line) in (1..).zip(text.lines()) {
            let malformed = JournalError::Malformed { line: number };
            let line: Line = serde_json::from_str(line).map_err(|_| malformed.clone())?;
            let id = |text: &str| text.parse::<TransactionId>().map_err(|_| malformed.clone());
            match line {
                Line::Journal { format: FORMAT, ledger: of } if number == 1 => {
                    if of != ledger.to_string() {
                        return Err(JournalError::OtherLedger);
                    }
                }
                _ if number == 1 => return Err(malformed),
                Line::Journal { .. } => return Err(malformed),
                Line::Pending { transaction, valid_until_ms, items, records: _ } => {
                    let transaction = id(&transaction)?;
                    self.pending.insert(transaction, PendingEntry { transaction, valid_until_ms, items });
                }
                Line::Certified { transaction, .. } => self.count_certified(&id(&transaction)?),
                Line::Refused { transaction, .. } | Line::Never { transaction } => {
                    self.pending.remove(&id(&transaction)?);
                }
            }
        }
        Ok(())
    }

    fn count_certified(&mut self, transaction: &TransactionId) {
        for item in self.pending.remove(transaction).into_iter().flat_map(|p| p.items) {
            *self.certified.entry(item).or_default() += 1;
        }
    }

    /// Files of transactions that were never noted were never sent.
    fn remove_strays(&self) -> Result<(), JournalError> {
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let id = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<TransactionId>().ok());
            let is_ours = path.extension().is_some_and(|e| e == "tx");
            if is_ours && id.is_none_or(|id| !self.pending.contains_key(&id)) {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Certified resources and how often each, see [`item`].
    #[must_use]
    pub fn certified(&self) -> &BTreeMap<String, u64> {
        &self.certified
    }

    /// Transactions whose fate is open, with their bytes if they are there.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn open_transactions(&self) -> Result<Vec<(PendingEntry, Option<pb::SignedTransaction>)>, JournalError> {
        let mut out = Vec::with_capacity(self.pending.len());
        for entry in self.pending.values() {
            let signed = match std::fs::read(self.file_of(&entry.transaction)) {
                Ok(bytes) => pb::SignedTransaction::decode(&bytes[..]).ok(),
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                Err(e) => return Err(e.into()),
            };
            let is_it = |s: &pb::SignedTransaction| {
                consilium_proto::transaction::transaction_id(s).is_ok_and(|id| id == entry.transaction)
            };
            out.push((entry.clone(), signed.filter(is_it)));
        }
        Ok(out)
    }

    /// Notes a transaction that is about to be sent. Durable on return.
    ///
    /// # Errors
    /// [`JournalError::Io`]; then it must not be sent.
    pub fn note_pending(
        &mut self,
        entry: PendingEntry,
        records: &[RecordId],
        signed: &pb::SignedTransaction,
    ) -> Result<(), JournalError> {
        let path = self.file_of(&entry.transaction);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(SECRET_MODE).open(&path)?;
        file.write_all(&signed.encode_to_vec())?;
        file.sync_all()?;
        File::open(&self.directory)?.sync_all()?;
        self.append(&Line::Pending {
            transaction: entry.transaction.to_string(),
            valid_until_ms: entry.valid_until_ms,
            items: entry.items.clone(),
            records: records.iter().map(ToString::to_string).collect(),
        })?;
        self.pending.insert(entry.transaction, entry);
        Ok(())
    }

    /// Notes that a transaction is certified and applied.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn note_certified(&mut self, transaction: &TransactionId, height: Height) -> Result<(), JournalError> {
        self.append(&Line::Certified { transaction: transaction.to_string(), height: height.0 })?;
        self.count_certified(transaction);
        self.forget(transaction)
    }

    /// Notes that the rules refused a transaction.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn note_refused(&mut self, transaction: &TransactionId, outcome: pb::Outcome) -> Result<(), JournalError> {
        let outcome = outcome.as_str_name().to_owned();
        self.append(&Line::Refused { transaction: transaction.to_string(), outcome })?;
        self.pending.remove(transaction);
        self.forget(transaction)
    }

    /// Notes that a transaction can never execute any more.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn note_never(&mut self, transaction: &TransactionId) -> Result<(), JournalError> {
        self.append(&Line::Never { transaction: transaction.to_string() })?;
        self.pending.remove(transaction);
        self.forget(transaction)
    }

    fn forget(&self, transaction: &TransactionId) -> Result<(), JournalError> {
        match std::fs::remove_file(self.file_of(transaction)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn append(&mut self, line: &Line) -> Result<(), JournalError> {
        self.file.write_all(encode(line)?.as_bytes())?;
        self.file.sync_data()?;
        Ok(())
    }

    fn file_of(&self, transaction: &TransactionId) -> PathBuf {
        self.directory.join(format!("{transaction}.tx"))
    }
}

fn encode(line: &Line) -> Result<String, JournalError> {
    let mut text = serde_json::to_string(line).map_err(|e| JournalError::Io(e.to_string()))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
