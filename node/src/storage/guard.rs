//! The guard: the last vote, and a watermark of the log, in a small file of
//! its own. It is synced before a vote leaves (invariant I9), so that no crash
//! makes this node sign two blocks at one height; and because the watermark is
//! synced with it, a log that has lost a write which a vote vouched for is
//! noticed at the next start (I11), which no recovery mode of a database does.
//!
//! Two slots are written in turn, each with a sequence number and a CRC-32C:
//! a torn write leaves the other slot.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use consilium_consensus::voting::VoteGuard;
use consilium_consensus::{LogIndex, LogPosition};
use consilium_proto::ids::{HeaderHash, Height};
use consilium_replica::ports::{self, GuardRecord, PortFault};

use super::StorageError;

const SLOT_BYTES: u64 = 512;
const MAGIC: &[u8; 8] = b"CNSLGRD4";
const RECORD_BYTES: usize = 8 + 8 + 8 + 32 + LogPosition::ENCODED_LEN + 8 + 8;

/// The open file.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    file: File,
    sequence: u64,
    state: GuardRecord,
    damaged: bool,
}

impl Guard {
    /// Creates the guard of a new node, which has never voted.
    ///
    /// # Errors
    /// If there is one already, or the disk fails.
    pub fn create(path: &Path) -> Result<Self, StorageError> {
        let fail = || StorageError::file(path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(fail())?;
        let mut guard = Self::new(path, file);
        guard.file.set_len(2 * SLOT_BYTES).map_err(fail())?;
        guard.store(GuardRecord::default())?;
        guard.file.sync_all().map_err(fail())?;
        Ok(guard)
    }

    /// Opens the guard. One that is absent is never made anew: a node without
    /// it has forgotten what it voted for.
    ///
    /// # Errors
    /// If the file is absent or cannot be read, or neither slot is intact.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => StorageError::WrongDisk(format!(
                "{} is absent: this disk does not remember what the node voted for, and must not vote again under \
                 the same raft id",
                path.display()
            )),
            _ => StorageError::File { path: path.to_owned(), source },
        })?;
        let mut guard = Self::new(path, file);
        let newest = [0, 1].into_iter().filter_map(|slot| guard.read_slot(slot)).max_by_key(|(sequence, _)| *sequence);
        let (sequence, state) =
            newest.ok_or_else(|| StorageError::corrupt("guard", "no intact slot: this disk must not vote again"))?;
        (guard.sequence, guard.state) = (sequence, state);
        guard.damaged = !guard.holds_the_one_before();
        if guard.damaged {
            tracing::warn!(
                path = %path.display(),
                "a slot of the guard cannot be read, and may have held the newest vote: the peers are asked for it"
            );
        }
        Ok(guard)
    }

    fn new(path: &Path, file: File) -> Self {
        Self { path: path.to_owned(), file, sequence: 0, state: GuardRecord::default(), damaged: false }
    }

    /// Whether the other slot holds what was written before, as it does if nothing is lost;
    /// before the second write it is empty.
    fn holds_the_one_before(&self) -> bool {
        let before = self.sequence - 1;
        match self.read_slot(before % 2) {
            Some((sequence, _)) => sequence == before,
            None => before == 0 && self.is_empty(0),
        }
    }

    fn is_empty(&self, slot: u64) -> bool {
        let mut bytes = [0; SLOT_BYTES as usize];
        self.file.read_exact_at(&mut bytes, slot * SLOT_BYTES).is_ok() && bytes.iter().all(|byte| *byte == 0)
    }

    /// What is remembered.
    #[must_use]
    pub fn state(&self) -> GuardRecord {
        self.state
    }

    fn store(&mut self, state: GuardRecord) -> Result<(), StorageError> {
        let sequence = self.sequence + 1;
        let record = encode(sequence, &state);
        let offset = (sequence % 2) * SLOT_BYTES;
        self.file.write_all_at(&record, offset).map_err(StorageError::file(&self.path))?;
        self.file.sync_data().map_err(StorageError::file(&self.path))?;
        self.sequence = sequence;
        self.state = state;
        self.damaged = false;
        Ok(())
    }

    fn read_slot(&self, slot: u64) -> Option<(u64, GuardRecord)> {
        let mut record = [0; RECORD_BYTES + 4];
        self.file.read_exact_at(&mut record, slot * SLOT_BYTES).ok()?;
        decode(&record)
    }
}

impl ports::Guard for Guard {
    fn recall(&mut self) -> Result<GuardRecord, PortFault> {
        self.file.sync_data().map_err(StorageError::file(&self.path))?;
        Ok(self.state)
    }

    fn is_damaged(&self) -> bool {
        self.damaged
    }

    fn write(&mut self, record: GuardRecord) -> Result<(), PortFault> {
        Ok(self.store(record)?)
    }
}

fn encode(sequence: u64, state: &GuardRecord) -> Vec<u8> {
    let GuardRecord { vote: VoteGuard { voted_height, voted_header }, last, commit, doubted } = state;
    let mut out = Vec::with_capacity(RECORD_BYTES + 4);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&voted_height.0.to_be_bytes());
    out.extend_from_slice(voted_header.as_bytes());
    out.extend_from_slice(&last.encode());
    out.extend_from_slice(&commit.0.to_be_bytes());
    out.extend_from_slice(&doubted.0.to_be_bytes());
    out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
    out
}

fn decode(record: &[u8; RECORD_BYTES + 4]) -> Option<(u64, GuardRecord)> {
    let (content, checksum) = record.split_at(RECORD_BYTES);
    if checksum != crc32c::crc32c(content).to_be_bytes() || !content.starts_with(MAGIC) {
        return None;
    }
    let number = |at: usize| Some(u64::from_be_bytes(content.get(at..at + 8)?.try_into().ok()?));
    let state = GuardRecord {
        vote: VoteGuard {
            voted_height: Height(number(16)?),
            voted_header: HeaderHash::try_from(content.get(24..56)?).ok()?,
        },
        last: LogPosition::decode(content.get(56..56 + LogPosition::ENCODED_LEN)?)?,
        commit: LogIndex(number(56 + LogPosition::ENCODED_LEN)?),
        doubted: Height(number(64 + LogPosition::ENCODED_LEN)?),
    };
    Some((number(8)?, state))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use consilium_consensus::{LogHash, Term};
    use consilium_replica::ports::Guard as _;

    fn vote(height: u64) -> GuardRecord {
        let voted_header = HeaderHash::from_bytes([height as u8; 32]);
        let vote = VoteGuard { voted_height: Height(height), voted_header };
        let hash = LogHash::from_bytes([height as u8; 32]);
        let last = LogPosition { index: LogIndex(height * 2), term: Term(height % 7), hash };
        GuardRecord { vote, last, commit: LogIndex(height), doubted: Height(height / 2) }
    }

    #[test]
    fn remembers_the_last_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("GUARD");
        assert!(matches!(Guard::open(&path), Err(StorageError::WrongDisk(_))));
        let mut guard = Guard::create(&path).unwrap();
        assert_eq!(guard.state(), GuardRecord::default());
        (1..=5).for_each(|h| guard.store(vote(h)).unwrap());
        assert_eq!(Guard::open(&path).unwrap().state(), vote(5));
    }

    #[test]
    fn a_torn_write_leaves_the_state_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("GUARD");
        assert!(matches!(Guard::open(&path), Err(StorageError::WrongDisk(_))));
        let mut guard = Guard::create(&path).unwrap();
        (1..=4).for_each(|h| guard.store(vote(h)).unwrap());
        let newest = (guard.sequence % 2) * SLOT_BYTES;
        assert!(!Guard::open(&path).unwrap().is_damaged());
        guard.file.write_all_at(&[0xff; 3], newest + 30).unwrap();
        let mut guard = Guard::open(&path).unwrap();
        assert_eq!((guard.state(), guard.is_damaged()), (vote(3), true));
        guard.store(vote(5)).unwrap();
        let guard = Guard::open(&path).unwrap();
        assert_eq!((guard.state(), guard.is_damaged()), (vote(5), false));
    }

    #[test]
    fn the_first_records_are_not_missed_in_silence_either() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("GUARD");
        let mut guard = Guard::create(&path).unwrap();
        assert!(!Guard::open(&path).unwrap().is_damaged());
        guard.store(vote(1)).unwrap();
        assert!(!Guard::open(&path).unwrap().is_damaged());
        guard.file.write_all_at(&[0xff; 3], 30).unwrap();
        assert!(Guard::open(&path).unwrap().is_damaged());
    }

    #[test]
    fn damage_to_both_slots_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("GUARD");
        assert!(matches!(Guard::open(&path), Err(StorageError::WrongDisk(_))));
        let mut guard = Guard::create(&path).unwrap();
        (1..=4).for_each(|h| guard.store(vote(h)).unwrap());
        [20, SLOT_BYTES + 20].into_iter().for_each(|at| guard.file.write_all_at(&[0xff; 3], at).unwrap());
        assert!(matches!(Guard::open(&path), Err(StorageError::Corrupt { .. })));
    }

    #[test]
    fn record_is_golden() {
        let record = encode(1, &vote(2));
        assert_eq!(&record[..8], MAGIC);
        assert_eq!(record.len(), RECORD_BYTES + 4);
        assert_eq!(decode(record.as_slice().try_into().unwrap()), Some((1, vote(2))));
    }
}
