//! Retraction: marks a record as entered in error, as a version of its own, so
//! that the history shows who did it and when, and so does the list of the patient's records.
//! Who keeps the records of a member that has left retracts them as its own.
//! One that is said to be somebody else's is closed to all but the patient under whose pseudonym it
//! stands, and to that one, too, once a second person has confirmed it; both stand in the patient's
//! log.

use bytes::Bytes;
use consilium_proto::access::discloses;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::names::Role;
use consilium_proto::pb::{Outcome, RecordState, RecordVersion, RetractionReason};
use consilium_proto::record::version_hash;
use consilium_proto::transaction::{ConfirmRetraction, RetractRecord};

use super::{Author, Context, changes, write_record};
use crate::custody::Kept;
use crate::keys;
use crate::roster::corrupt;
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
    // That closes a record, in emergencies, too.
    let closes = retract.reason == RetractionReason::WrongPatient;
    ensure(!closes || author.id.role() != Role::Device, Outcome::RoleNotAllowed)?;
    let place = keys::record(&retract.record_id);
    let mut record: RecordState =
        view.message(Table::State, &place)?.ok_or(Refusal::Rejected(Outcome::RecordNotFound))?;
    ensure(Kept::over(view)?.keeps(author.member(), &record.member), Outcome::RecordMismatch)?;
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
    if let Some(change) = retract.change() {
        changes::note_said(view, cx, author, &patient_of(&record)?, change)?;
    }
    write_record::enlist(view, &record.member, &version, record.sequence)
}

/// By another person than who retracted it, of the member that keeps the record now.
pub(super) fn confirm<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    confirm: ConfirmRetraction,
) -> Result<(), Refusal> {
    let place = keys::record(&confirm.record_id);
    let mut record: RecordState =
        view.message(Table::State, &place)?.ok_or(Refusal::Rejected(Outcome::RecordNotFound))?;
    ensure(Kept::over(view)?.keeps(author.member(), &record.member), Outcome::RecordMismatch)?;
    let open =
        record.retraction_reason() == RetractionReason::WrongPatient && record.retraction_confirmed_by.is_empty();
    ensure(open && record.version == confirm.version, Outcome::VersionConflict)?;
    let newest: Option<RecordVersion> =
        view.message(Table::Versions, &keys::version(&confirm.record_id, record.version))?;
    let retracted_by = newest.ok_or_else(|| corrupt("current version is absent"))?.author;
    let another = discloses(author.id.role()) && retracted_by != author.id.to_string();
    ensure(another, Outcome::RoleNotAllowed)?;
    record.retraction_confirmed_by = author.id.to_string();
    view.put_message(Table::State, place, &record);
    Ok(changes::note_said(view, cx, author, &patient_of(&record)?, confirm.change())?)
}

fn patient_of(record: &RecordState) -> Result<PatientPseudonym, StoreFault> {
    PatientPseudonym::parse("patient", &record.patient).map_err(|e| corrupt(format!("record: {e}")))
}
