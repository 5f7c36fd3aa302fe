//! What former readers learn by: which versions somebody was permitted to read, and which records
//! have changed since. Each is an entry of an index, found by the record, so that neither a log nor
//! a list of records has to be walked; and a row of the state says how a record has changed, and
//! nothing of what it says or whose it is. No rule reads any of it.

use bytes::Bytes;
use consilium_proto::access::permits;
use consilium_proto::ids::{Height, RecordId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessDecision, AccessEvent, RecordChangeState, RecordVersion, VersionRead};
use prost::Message;

use crate::keys;
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
