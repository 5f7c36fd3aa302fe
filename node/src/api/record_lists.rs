//! A patient's lists of records, with what proves that nothing is left out. What an answer costs
//! depends on what is in it, and not on what else the ledger holds.

use bytes::Bytes;
use consilium_ledger::{Table, keys};
use consilium_proto::error::{FieldError, length_in};
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::limits::{RECORD_LIST_ENTRIES_SHOWN_MAX, RECORD_LISTS_SHOWN_MAX};
use consilium_proto::pb::{self, Confidentiality, LogState, RecordListsState, ShownRecordList};
use consilium_proto::state::ListName;
use consilium_proto::transaction::check_kind;

use super::access_log::{growth, prove};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// What is asked for.
#[derive(Debug)]
pub struct Wanted {
    /// None: the first that there are.
    lists: Vec<Part>,
    entries: usize,
}

/// A list from an entry on.
#[derive(Debug)]
struct Part {
    name: ListName,
    from: u64,
}

/// Parses what is asked for.
///
/// # Errors
/// The first field that is wrong.
pub fn parse(patient: PatientPseudonym, request: &pb::ListPatientRecordsRequest) -> Result<Wanted, FieldError> {
    length_in("lists", request.lists.len(), 0, RECORD_LISTS_SHOWN_MAX)?;
    let lists = request.lists.iter().map(|wanted| part(patient, wanted).map_err(|e| e.within("lists")));
    let entries = match request.page_size as usize {
        0 => RECORD_LIST_ENTRIES_SHOWN_MAX,
        asked if asked <= RECORD_LIST_ENTRIES_SHOWN_MAX => asked,
        asked => {
            return Err(FieldError::range("page_size", 0, RECORD_LIST_ENTRIES_SHOWN_MAX as u64, asked as u64));
        }
    };
    Ok(Wanted { lists: lists.collect::<Result<_, _>>()?, entries })
}

fn part(patient: PatientPseudonym, wanted: &pb::WantedRecordList) -> Result<Part, FieldError> {
    check_kind(&wanted.kind)?;
    let name = list_name(patient, &wanted.kind, wanted.confidentiality);
    let name = name.ok_or_else(|| FieldError::malformed("confidentiality", "is not a known level"))?;
    Ok(Part { name, from: wanted.from_entry })
}

fn list_name(patient: PatientPseudonym, kind: &str, confidentiality: u32) -> Option<ListName> {
    let level = Confidentiality::try_from(i32::try_from(confidentiality).ok()?).ok()?;
    (level != Confidentiality::Unspecified).then(|| ListName::new(patient, level, kind))
}

/// The lists of a patient with their proofs, as of the snapshot, without its header.
///
/// # Errors
/// If the disk fails, or holds what cannot be.
pub fn read(
    ledger: &LedgerSnapshot<'_>,
    patient: &PatientPseudonym,
    wanted: &Wanted,
) -> Result<pb::ListPatientRecordsResponse, StorageError> {
    let names = keys::record_lists(patient);
    let found: Vec<Part>;
    let parts = match wanted.lists.is_empty() {
        false => &wanted.lists,
        true => {
            found = first_lists(ledger, patient, &names)?;
            &found
        }
    };
    let mut room = wanted.entries;
    let mut lists = Vec::with_capacity(parts.len());
    for part in parts {
        let list = show(ledger, part, room)?;
        room -= list.entries.len();
        lists.push(list);
    }
    Ok(pb::ListPatientRecordsResponse { record_lists: Some(prove(ledger, names)?), lists, header: None })
}

fn first_lists(
    ledger: &LedgerSnapshot<'_>,
    patient: &PatientPseudonym,
    names: &[u8],
) -> Result<Vec<Part>, StorageError> {
    let row: Option<RecordListsState> = ledger.state(names)?;
    let named = row.unwrap_or_default().lists.into_iter().take(RECORD_LISTS_SHOWN_MAX);
    let named = named.map(|list| list_name(*patient, &list.kind, list.confidentiality));
    let parts: Option<Vec<Part>> = named.map(|name| Some(Part { name: name?, from: 0 })).collect();
    parts.ok_or_else(|| StorageError::corrupt("state", "names a list of an unknown level"))
}

/// A list, with at most so many entries.
fn show(ledger: &LedgerSnapshot<'_>, part: &Part, room: usize) -> Result<ShownRecordList, StorageError> {
    let key = keys::record_list(&part.name);
    let row: Option<LogState> = ledger.state(&key)?;
    let count = row.map_or(0, |row| row.count);
    let due = usize::try_from(count.saturating_sub(part.from)).map_or(room, |due| due.min(room));
    let (all, first) = (keys::log_entries(&key), keys::log_entry(&key, part.from));
    let entries = ledger.scan(Table::Logs, &all, &first).take(due).map(|row| row.map(|(_, entry)| entry));
    let entries: Vec<Bytes> = entries.collect::<Result<_, _>>()?;
    if entries.len() < due {
        return Err(StorageError::corrupt("log", "lacks an entry"));
    }
    let consistency_path = growth(ledger, &key, part.from, count)?;
    Ok(ShownRecordList { list: Some(prove(ledger, key)?), entries, consistency_path })
}
