//! `AccessService.ListChanges`: what has changed since it was read, for who has read it. Changes
//! are walked in the order of the ledger, a bounded number of them for an answer; whether one of
//! them is for the caller is looked up by its record. No log and no list of records is walked.

use consilium_ledger::{Table, keys};
use consilium_proto::error::FieldError;
use consilium_proto::ids::{Height, PatientPseudonym, RecordId};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{
    self, ChangedRecord, Confidentiality, PatientAcceptance, PatientState, RecordChangeState, RecordState,
    RecordVersion, VersionRead,
};
use prost::Message;
use tonic::{Request, Response};

use super::Api;
use super::access_log::{Answer, page_size, prove, speaks_to};
use super::errors::Reason;
use super::pages::Filled;
use crate::access::{self, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

const PAGE_DEFAULT: u32 = 64;
const PAGE_MAX: u32 = 256;
/// Changes that are looked at for an answer, whether they are for the caller or not.
const EXAMINED_MAX: usize = 4_096;
/// What the row of a change and its proof take, and more.
const PROOF_BYTES: usize = 4_096;
/// Readers that are told of one record.
const READERS_MAX: usize = 4_096;

/// All changes up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    height: Height,
    /// Of that block up to this record; `None`: the whole block.
    record: Option<RecordId>,
}

/// Changes that are for a reader.
pub(super) struct Found {
    records: Vec<(RecordId, Vec<VersionRead>)>,
    upto: Place,
    /// There may be more behind it.
    more: bool,
}

impl Api {
    pub(super) async fn changes(&self, request: Request<pb::ListChangesRequest>) -> Answer<pb::ListChangesResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let after = Place::parse(request.after.as_ref()).map_err(|e| Reason::InvalidArgument.field(&e))?;
        let page = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let found = changes_for(ledger, &caller.id, (after, ledger.height()), page)?;
            let records = found.records.into_iter().map(|(record, reads)| {
                Ok(ChangedRecord { change: Some(prove(ledger, keys::record_change(&record))?), reads })
            });
            let records = records.collect::<Result<Vec<_>, StorageError>>()?;
            let upto = Some((&found.upto).into());
            let answer = pb::ListChangesResponse { records, upto, more: found.more, header: None };
            Ok((answer, ledger.tip_header().clone()))
        };
        let (answer, header) = self.read(read).await?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::ListChangesResponse { header, ..answer }))
    }
}

/// Whether there may be something for a reader behind a block, up to another one.
pub(super) fn any_for(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    (told, last): (Height, Height),
) -> Result<bool, StorageError> {
    let found = changes_for(ledger, reader, (Place::after(told), last), 1)?;
    Ok(found.more || !found.records.is_empty())
}

/// What is for a reader of the changes behind a place, up to a block.
fn changes_for(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    (after, last): (Place, Height),
    page: usize,
) -> Result<Found, StorageError> {
    let (mut records, mut filled) = (Vec::new(), Filled::default());
    let mut upto = after;
    let entries = ledger.scan(Table::Index, &keys::index_changes(), &after.next_key());
    for (examined, row) in entries.enumerate() {
        let entry = keys::change_of_index(&row?.0);
        let (height, record) = entry.ok_or_else(|| StorageError::corrupt("index", "has no record that changed"))?;
        if height > last {
            break;
        }
        if examined >= EXAMINED_MAX || records.len() >= page {
            return Ok(Found { records, upto, more: true });
        }
        let reads = outdated(ledger, reader, &record, height)?;
        if !reads.is_empty() && !filled.takes(PROOF_BYTES + reads.iter().map(Message::encoded_len).sum::<usize>()) {
            return Ok(Found { records, upto, more: true });
        }
        upto = Place { height, record: Some(record) };
        records.extend((!reads.is_empty()).then_some((record, reads)));
    }
    Ok(Found { records, upto: Place::after(last.max(after.height)), more: false })
}

/// Of each reader of whom this one may be told, the newest version that it has read and that does not
/// count any more since a block; none if the record has changed again, and is told of there.
fn outdated(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    record: &RecordId,
    height: Height,
) -> Result<Vec<VersionRead>, StorageError> {
    let prefix = match reader.role() {
        Role::Service => keys::index_reads_at(record, reader.member().as_str()),
        _ => keys::index_reads_of(record, reader),
    };
    let mut rows = ledger.scan(Table::Index, &prefix, &prefix).peekable();
    if rows.peek().is_none() {
        return Ok(Vec::new());
    }
    let change: Option<RecordChangeState> = ledger.state(&keys::record_change(record))?;
    let change = change.ok_or_else(|| StorageError::corrupt("index", "names a change that is absent"))?;
    let mut newest: Vec<VersionRead> = Vec::new();
    for row in rows.take_while(|_| change.height == height.0) {
        let read = VersionRead::decode(row?.1.as_ref()).map_err(|e| StorageError::corrupt("index", e))?;
        if read.version >= change.version || !may_know(ledger, reader, record, &read)? {
            continue;
        }
        // Those of one reader follow one another, the newest last.
        match newest.pop_if(|last| last.reader == read.reader) {
            None if newest.len() >= READERS_MAX => break,
            Some(_) | None => newest.push(read),
        }
    }
    Ok(newest)
}

/// A patient's identity must speak for the patient to the custodian still: one that was accepted in
/// error, or whose patient has died, is told nothing more.
fn may_know(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    record_id: &RecordId,
    read: &VersionRead,
) -> Result<bool, StorageError> {
    let corrupt = |e: &dyn std::fmt::Display| StorageError::corrupt("index", e.to_string());
    let by: SpiffeId = read.reader.parse().map_err(|e| corrupt(&e))?;
    if reader.role() == Role::Patient {
        let patient = PatientPseudonym::parse("patient", &read.patient).map_err(|e| corrupt(&e))?;
        let patient: PatientState = ledger.state(&keys::patient(&patient))?.unwrap_or_default();
        let record: RecordState = ledger.state(&keys::record(record_id))?.unwrap_or_default();
        // Of its newest version, which may be more confidential than the one that was read.
        let newest = keys::version(record_id, record.version);
        let newest: Option<RecordVersion> = ledger.message(Table::Versions, &newest)?;
        let level = newest.map_or(Confidentiality::VeryRestricted, |newest| newest.confidentiality());
        let reads = |a: &PatientAcceptance| a.reads(&record.kind, level);
        if !speaks_to(ledger, &record.member, (&patient, reader), &reads)? {
            return Ok(false);
        }
    }
    Ok(decide(&access::Request { reader, what: What::Read { by: &by } }).allows())
}

impl Place {
    /// All of a block, and of those before it.
    const fn after(height: Height) -> Self {
        Self { height, record: None }
    }

    fn parse(place: Option<&pb::ChangePlace>) -> Result<Self, FieldError> {
        let place = place.ok_or_else(|| FieldError::missing("after"))?;
        let record = (!place.record_id.is_empty()).then(|| RecordId::parse("after.record_id", &place.record_id));
        Ok(Self { height: Height(place.height), record: record.transpose()? })
    }

    /// From where on nothing is known.
    fn next_key(&self) -> Vec<u8> {
        match &self.record {
            Some(record) => [&keys::index_change(self.height, record)[..], &[0]].concat(),
            None => keys::index_change(self.height.next(), &RecordId([0; 16])),
        }
    }
}

impl From<&Place> for pb::ChangePlace {
    fn from(place: &Place) -> Self {
        let record_id = place.record.map(|id| bytes::Bytes::copy_from_slice(&id.0)).unwrap_or_default();
        Self { height: place.height.0, record_id }
    }
}

#[cfg(test)]
mod tests;
