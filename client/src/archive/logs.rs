//! Logs of access and lists of records: entries beside the state, to which rows of the state
//! commit. An entry that was changed, left out, added or moved is found; where it is an event,
//! its place is named, since it must be that of a request in a block.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::log::tree_of;
use consilium_proto::merkle::{Frontier, leaf_hash};
use consilium_proto::pb;
use consilium_proto::state::{ListName, StateKey};
use prost::Message;

use super::events::Requests;
use super::failure::VerifyFailure;

/// First byte of the key of an entry (docs/formats.md).
const ENTRY: u8 = b'e';
/// By what entries name their log: the beginning of the SHA-256 of its row's key.
type Name = [u8; 16];

/// A log as the state has it.
#[derive(Debug)]
struct Log {
    key: StateKey,
    tree: Frontier,
}

/// A log whose entries are being read.
#[derive(Debug)]
struct Reading {
    name: Name,
    log: Log,
    tree: Frontier,
}

/// Logs as far as they were read.
#[derive(Debug, Default)]
pub(super) struct Logs {
    rows: BTreeMap<Name, Log>,
    /// Lists of records that no patient's row has named yet.
    unnamed: BTreeSet<ListName>,
    reading: Option<Reading>,
    pub(super) entries: u64,
}

impl Logs {
    /// Takes a log's row of the state. What a patient has is named behind its lists.
    pub(super) fn log(&mut self, key: &StateKey, row: &pb::ArchiveRow) -> Result<(), VerifyFailure> {
        let malformed = || VerifyFailure::Structure("has a malformed log in the state");
        let state = pb::LogState::decode(row.value.clone()).map_err(|_| malformed())?;
        let tree = tree_of(Some(&state)).map_err(|_| malformed())?;
        if state.count == 0 || state.root[..] != tree.root().as_bytes()[..] {
            return Err(malformed());
        }
        if let StateKey::RecordList(name) = key {
            self.unnamed.insert(*name);
        }
        self.rows.insert(name_of(&row.key), Log { key: key.clone(), tree });
        Ok(())
    }

    /// Takes a row that names a patient's lists of records.
    pub(super) fn lists(&mut self, patient: PatientPseudonym, row: &pb::ArchiveRow) -> Result<(), VerifyFailure> {
        let malformed = || VerifyFailure::Structure("has a malformed row of lists of records in the state");
        let lists = pb::RecordListsState::decode(row.value.clone()).map_err(|_| malformed())?.lists;
        for list in lists {
            let level = i32::try_from(list.confidentiality).ok();
            let level = level.and_then(|level| pb::Confidentiality::try_from(level).ok()).ok_or_else(malformed)?;
            let name = ListName::new(patient, level, &list.kind);
            if !self.unnamed.remove(&name) {
                let what = "is missing, though the row of the patient's lists names the list";
                return Err(of_log(&StateKey::RecordList(name), 0, what));
            }
        }
        Ok(())
    }

    /// Takes the next entry.
    pub(super) fn entry(&mut self, row: &pb::ArchiveRow, requests: &mut Requests) -> Result<(), VerifyFailure> {
        let (name, place) = parse_key(&row.key).ok_or(VerifyFailure::Structure("has a malformed entry of a log"))?;
        let mut reading = match self.reading.take() {
            Some(reading) if reading.name == name => reading,
            Some(other) => {
                if other.name > name {
                    return Err(VerifyFailure::Structure("has entries of logs out of order"));
                }
                other.finish()?;
                self.begin(name)?
            }
            None => self.begin(name)?,
        };
        let (key, next) = (&reading.log.key, reading.tree.size());
        if place > next {
            return Err(of_log(key, next, "is missing"));
        }
        if place < next || place >= reading.log.tree.size() {
            return Err(of_log(key, place, "is one more than the state names"));
        }
        if !matches!(key, StateKey::RecordList(_)) {
            requests.answer(key, place, &row.value).map_err(|what| of_log(key, place, what))?;
        }
        reading.tree.append(leaf_hash(&row.value)).map_err(|_| VerifyFailure::Structure("has too many entries"))?;
        self.entries += 1;
        self.reading = Some(reading);
        Ok(())
    }

    fn begin(&mut self, name: Name) -> Result<Reading, VerifyFailure> {
        let log = self.rows.remove(&name);
        let log = log.ok_or(VerifyFailure::Structure("has entries of a log that is not in the state"))?;
        Ok(Reading { name, log, tree: Frontier::new() })
    }

    /// Once all entries are there.
    pub(super) fn finish(&mut self) -> Result<(), VerifyFailure> {
        if let Some(last) = self.reading.take() {
            last.finish()?;
        }
        if let Some((_, log)) = self.rows.first_key_value() {
            return Err(of_log(&log.key, 0, "is missing, though the state names it"));
        }
        match self.unnamed.first() {
            Some(name) => {
                let what = "is in a list that the row of the patient's lists does not name";
                Err(of_log(&StateKey::RecordList(*name), 0, what))
            }
            None => Ok(()),
        }
    }
}

impl Reading {
    /// The log must be the one that the state commits to.
    fn finish(self) -> Result<(), VerifyFailure> {
        let (found, expected) = (self.tree.size(), self.log.tree.size());
        if found < expected {
            return Err(of_log(&self.log.key, found, "is missing, though the state names it"));
        }
        // Both have as many entries, so the subtrees pair up, and the first that differs says where.
        let differs = |(one, other): (&Hash, &Hash)| one != other;
        let at = self.tree.subtrees().iter().zip(self.log.tree.subtrees()).position(differs);
        let Some(at) = at else { return Ok(()) };
        let (first, last) = subtree(expected, at);
        Err(VerifyFailure::LogRoot { log: self.log.key.to_string(), first, last })
    }
}

/// Which entries the subtree at a position of a frontier holds: the largest stands first.
fn subtree(size: u64, position: usize) -> (u64, u64) {
    let sizes = (0..u64::BITS).rev().map(|bit| size & (1 << bit)).filter(|size| *size > 0);
    let mut first = 0;
    let mut last = 0;
    for size in sizes.take(position + 1) {
        (first, last) = (last, last + size);
    }
    (first, last.saturating_sub(1))
}

fn of_log(key: &StateKey, place: u64, what: &'static str) -> VerifyFailure {
    VerifyFailure::Log { log: key.to_string(), place, what }
}

fn name_of(state_key: &[u8]) -> Name {
    let hash = sha256(&[state_key]);
    *hash.first_chunk().expect("a SHA-256 has more than 16 bytes")
}

fn parse_key(key: &Bytes) -> Option<(Name, u64)> {
    let (tag, rest) = key.split_first()?;
    let (name, place) = rest.split_first_chunk()?;
    let place = u64::from_be_bytes(place.try_into().ok()?);
    (*tag == ENTRY).then_some((*name, place))
}
