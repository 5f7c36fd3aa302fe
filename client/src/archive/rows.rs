//! The state at the archive's last block: its root, and the histories and logs
//! that it commits to.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, Height, RecordId, TimeMs};
use consilium_proto::pb;
use consilium_proto::record::version_hash;
use consilium_proto::state::{StateKey, StateRow};
use consilium_proto::state_tree::{KeyHash, ValueHash, root_of_sorted};
use consilium_proto::validators::ValidatorSet;
use prost::Message;

use super::epochs::Begun;
use super::events::Requests;
use super::failure::VerifyFailure;
use super::logs::Logs;

const RECORD_ID_BYTES: usize = 16;

/// A record as the state names it.
#[derive(Debug, Clone, Copy)]
struct Committed {
    version: u32,
    version_sha256: [u8; 32],
}

/// A history that is being read.
#[derive(Debug)]
struct History {
    record: [u8; RECORD_ID_BYTES],
    version: u32,
    sha256: [u8; 32],
}

/// Tables in the order in which an archive holds them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    #[default]
    State,
    Versions,
    Logs,
}

/// Rows as far as they were read.
#[derive(Debug, Default)]
pub(super) struct Rows {
    state: Vec<(KeyHash, ValueHash)>,
    last_state_key: Option<Bytes>,
    records: BTreeMap<[u8; RECORD_ID_BYTES], Committed>,
    elections: BTreeMap<u64, Begun>,
    history: Option<History>,
    logs: Logs,
    table: Table,
    pub(super) versions: u64,
    pub(super) count: u64,
}

impl Rows {
    /// Rows of the state.
    pub(super) fn state_rows(&self) -> u64 {
        self.state.len() as u64
    }

    /// Entries of logs.
    pub(super) fn log_entries(&self) -> u64 {
        self.logs.entries
    }

    /// Takes the next row. Events are held against the requests that blocks have.
    pub(super) fn push(&mut self, row: &pb::ArchiveRow, requests: &mut Requests) -> Result<(), VerifyFailure> {
        self.count += 1;
        let table = match row.table.as_str() {
            "state" => Table::State,
            "versions" => Table::Versions,
            "logs" => Table::Logs,
            _ => return Err(VerifyFailure::Structure("has a row of an unknown table")),
        };
        if table < self.table {
            return Err(VerifyFailure::Structure("has tables out of order"));
        }
        self.table = table;
        match table {
            Table::State => self.state_row(row),
            Table::Versions => self.version_row(row),
            Table::Logs => self.logs.entry(row, requests),
        }
    }

    fn state_row(&mut self, row: &pb::ArchiveRow) -> Result<(), VerifyFailure> {
        if self.last_state_key.as_ref().is_some_and(|last| *last >= row.key) {
            return Err(VerifyFailure::Structure("has rows of the state out of order"));
        }
        self.last_state_key = Some(row.key.clone());
        self.state.push((KeyHash::of(&row.key), ValueHash::of(&row.value)));
        match (StateRow::of(&row.key), StateKey::decode(&row.key)) {
            (_, Some(StateKey::Record(id))) => self.record(id, row),
            (_, Some(StateKey::Epoch(epoch))) => self.election(epoch, row),
            (_, Some(key @ (StateKey::AccessLog(_) | StateKey::RecordList(_) | StateKey::UnmatchedLog(_)))) => {
                self.logs.log(&key, row)
            }
            (_, Some(StateKey::RecordLists(patient))) => self.logs.lists(patient, row),
            (Some(StateRow::Record), None) => Err(VerifyFailure::Structure("has a malformed record in the state")),
            (Some(StateRow::Epoch), None) => Err(VerifyFailure::Structure("has a malformed election in the state")),
            // Checked by the root of the state alone.
            (Some(_) | None, _) => Ok(()),
        }
    }

    fn record(&mut self, id: RecordId, row: &pb::ArchiveRow) -> Result<(), VerifyFailure> {
        let malformed = VerifyFailure::Structure("has a malformed record in the state");
        let state = pb::RecordState::decode(row.value.clone()).map_err(|_| malformed.clone())?;
        let version_sha256 = state.version_sha256[..].try_into().map_err(|_| malformed)?;
        self.records.insert(id.0, Committed { version: state.version, version_sha256 });
        Ok(())
    }

    fn election(&mut self, Epoch(epoch): Epoch, row: &pb::ArchiveRow) -> Result<(), VerifyFailure> {
        let malformed = VerifyFailure::Structure("has a malformed election in the state");
        let state = pb::EpochState::decode(row.value.clone()).map_err(|_| malformed.clone())?;
        let set = state.validators.as_ref().and_then(|set| ValidatorSet::try_from(set).ok()).ok_or(malformed)?;
        if state.epoch != epoch {
            return Err(VerifyFailure::Election { epoch, what: "is of another epoch" });
        }
        let (first_height, start) = (Height(state.first_height), TimeMs(state.start_ms));
        self.elections.insert(epoch, Begun { first_height, start, validators_hash: set.hash() });
        Ok(())
    }

    /// The outcomes of elections, by epoch.
    pub(super) fn elections(&self) -> &BTreeMap<u64, Begun> {
        &self.elections
    }

    fn version_row(&mut self, row: &pb::ArchiveRow) -> Result<(), VerifyFailure> {
        let malformed = || VerifyFailure::Structure("has a malformed record version");
        let (id, number) = row.key.split_at_checked(RECORD_ID_BYTES).ok_or_else(malformed)?;
        let record: [u8; RECORD_ID_BYTES] = id.try_into().map_err(|_| malformed())?;
        let number = u32::from_be_bytes(number.try_into().map_err(|_| malformed())?);
        let value = pb::RecordVersion::decode(row.value.clone()).map_err(|_| malformed())?;
        if value.encode_to_vec() != row.value {
            return Err(malformed());
        }
        let differs = |what| VerifyFailure::Version { record: hex::encode(record), version: number, what };
        if value.record_id != record[..] || value.version != number {
            return Err(differs("is stored under another record or number"));
        }
        let before = match self.history.take() {
            Some(history) if history.record == record => Some(history),
            Some(finished) => {
                if finished.record > record {
                    return Err(VerifyFailure::Structure("has record versions out of order"));
                }
                self.finish_history(&finished)?;
                None
            }
            None => None,
        };
        let (expected, previous) =
            before.as_ref().map_or((1, &[][..]), |h| (h.version.saturating_add(1), &h.sha256[..]));
        if number != expected {
            return Err(differs("does not follow the version before it"));
        }
        if value.previous_sha256 != previous {
            return Err(differs("names another hash for the version before it"));
        }
        self.versions += 1;
        self.history = Some(History { record, version: number, sha256: version_hash(&value) });
        Ok(())
    }

    /// The newest version must be the one that the state commits to. Removes
    /// the record, so that one without a history is found at the end.
    fn finish_history(&mut self, history: &History) -> Result<(), VerifyFailure> {
        let differs =
            |what| VerifyFailure::Version { record: hex::encode(history.record), version: history.version, what };
        let committed =
            self.records.remove(&history.record).ok_or_else(|| differs("is of a record that is not in the state"))?;
        if committed.version != history.version {
            return Err(differs("is not the newest one that the state names"));
        }
        if committed.version_sha256 != history.sha256 {
            return Err(differs("does not have the hash that the state names"));
        }
        Ok(())
    }

    /// Compares with the last header once all rows are there.
    pub(super) fn finish(&mut self, header: &Header) -> Result<(), VerifyFailure> {
        let computed = self.root();
        if computed != header.state_root {
            return Err(VerifyFailure::StateRoot { height: header.height, expected: header.state_root, computed });
        }
        if let Some(last) = self.history.take() {
            self.finish_history(&last)?;
        }
        match self.records.first_key_value() {
            Some((id, committed)) => Err(VerifyFailure::Version {
                record: hex::encode(id),
                version: committed.version,
                what: "is missing, though the state names it",
            }),
            None => self.logs.finish(),
        }
    }

    fn root(&mut self) -> Hash {
        self.state.sort_unstable();
        // Distinct keys have distinct hashes, so the order is strict.
        root_of_sorted(self.state.iter().copied()).unwrap_or(Hash::from_bytes([0xff; 32]))
    }
}
