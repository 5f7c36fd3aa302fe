//! Retraction: marks a record as entered in error, as a version of its own, so
//! that the history shows who did it and when, and so does the list of the patient's records.

use bytes::Bytes;
use consilium_proto::names::Role;
use consilium_proto::pb::{Outcome, RecordState, RecordVersion, RetractionReason};
use consilium_proto::record::version_hash;
use consilium_proto::transaction::RetractRecord;

use super::{Author, Context, changes, write_record};
use crate::keys;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    retract: RetractRecord,
) -> Result<(), Refusal> {
    author.ensure_writer()?;
    // That closes a record for ever, to emergencies and the patient, too.
    let closes = retract.reason == RetractionReason::WrongPatient;
    ensure(!closes || author.id.role() != Role::Device, Outcome::RoleNotAllowed)?;
    let place = keys::record(&retract.record_id);
    let mut record: RecordState =
        view.message(Table::State, &place)?.ok_or(Refusal::Rejected(Outcome::RecordNotFound))?;
    ensure(record.member == author.member(), Outcome::RecordMismatch)?;
    ensure(!record.retracted, Outcome::RecordRetracted)?;
    ensure(record.version == retract.version, Outcome::VersionConflict)?;
    let number = record.version.checked_add(1).ok_or(Refusal::Rejected(Outcome::VersionConflict))?;

    let current = keys::version(&retract.record_id, record.version);
    let missing = StoreFault::Corrupt { table: Table::Versions.name(), cause: "current version is absent".into() };
    let before: RecordVersion = view.message(Table::Versions, &current)?.ok_or(missing)?;
    let version = RecordVersion {
        version: number,
        author: author.id.to_string(),
        payload_sha256: Bytes::new(),
        payload_size: 0,
        wraps: Vec::new(),
        transaction_id: cx.transaction.id.to_bytes(),
        height: cx.height.0,
        time_ms: cx.time.0,
        retraction: true,
        retraction_reason: retract.reason.into(),
        previous_sha256: record.version_sha256.clone(),
        ..before
    };
    record.version = number;
    record.retracted = true;
    record.retraction_reason = retract.reason.into();
    record.version_sha256 = Bytes::copy_from_slice(&version_hash(&version));
    view.put_message(Table::State, place, &record);
    view.put_message(Table::Versions, keys::version(&retract.record_id, number), &version);
    changes::note_change(view, &retract.record_id, &version);
    write_record::enlist(view, &record.member, &version, record.sequence)
}
