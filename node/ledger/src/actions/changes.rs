//! What former readers learn by: which versions somebody was permitted to read, and which records
//! have changed since. Each is an entry of an index, found by the record, so that neither a log nor
//! a list of records has to be walked; and a row of the state says how a record has changed, and
//! nothing of what it says or whose it is. No rule reads any of it.
//!
//! And what patients learn by: what was said of them, and their emergencies, in their logs.

use bytes::Bytes;
use consilium_proto::access::permits;
use consilium_proto::ids::{Height, PatientPseudonym, RecordId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{
    AccessDecision, AccessEvent, AccessKind, PatientChange, PurposeOfUse, RecordChangeState, RecordVersion, VersionRead,
};
use prost::Message;

use super::{Author, Context, units};
use crate::keys;
use crate::log;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// Notes a version that is not the first of its record.
pub(super) fn note_change<R: StateReader>(view: &mut View<'_, R>, record: &RecordId, version: &RecordVersion) {
    let state = RecordChangeState {
        version: version.version,
        retracted: version.retraction,
        retraction_reason: version.retraction_reason,
        time_ms: version.time_ms,
        height: version.height,
    };
    view.put_message(Table::State, keys::record_change(record), &state);
    view.put(Table::Index, keys::index_change(Height(version.height), record), Bytes::new());
}

/// Notes what an entry of a log permits to read. A disclosure of all that a member has names
/// nothing: what that member changes, it knows.
pub(super) fn note_reads<R: StateReader>(view: &mut View<'_, R>, event: &AccessEvent) -> Result<(), StoreFault> {
    let reader: SpiffeId = event.reader.parse().map_err(|e| corrupt(format!("reader: {e}")))?;
    let permitted = |decision: &&AccessDecision| permits(decision.ground());
    for version in event.decisions.iter().filter(permitted).flat_map(|decision| &decision.records) {
        let record = RecordId::parse("record_id", &version.record_id).map_err(|e| corrupt(format!("event: {e}")))?;
        let read = VersionRead {
            version: version.version,
            reader: event.reader.clone(),
            patient: event.patient.clone(),
            transaction_id: event.transaction_id.clone(),
            time_ms: event.time_ms,
            height: event.height,
        };
        let place = keys::index_read(&record, &reader, version.version);
        view.put(Table::Index, place, read.encode_to_vec());
    }
    Ok(())
}

/// Notes what was said of a patient in its own log, as every reading is: its rights depend on it.
pub(super) fn note_said<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    patient: &PatientPseudonym,
    change: PatientChange,
) -> Result<(), StoreFault> {
    note_entry(view, cx, author, patient, AccessEvent { change: Some(change), ..AccessEvent::default() })
}

/// The same of an emergency: with its id, and for whom a system declares it.
pub(super) fn note_entry<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    patient: &PatientPseudonym,
    said: AccessEvent,
) -> Result<(), StoreFault> {
    let log = keys::access_log(patient);
    let event = AccessEvent {
        sequence: log::length(view, &log)?,
        transaction_id: cx.transaction.id.to_bytes(),
        reader: author.id.to_string(),
        patient: Bytes::copy_from_slice(&patient.0),
        purpose: PurposeOfUse::Patadmin.into(),
        kind: AccessKind::Change.into(),
        policy_version: view.roster()?.last_policy,
        time_ms: cx.time.0,
        height: cx.height.0,
        unit: units::of(view, &author.id.to_string())?,
        ..said
    };
    // Not the transaction's own entry: that is the one of a request which it makes.
    log::append(view, &log, event.encode_to_vec().into()).map(drop)
}
