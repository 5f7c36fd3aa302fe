//! A record that was filed under the wrong patient: retracted there and written anew, in one
//! transaction.

use super::*;
use consilium_proto::ids::RecordId;
use consilium_proto::state::ListName;

fn retract(record: u8, reason: pb::RetractionReason) -> Action {
    Action::RetractRecord(pb::RetractRecord { record_id: id(record), version: 1, reason: reason.into() })
}

/// Record 1 of patient 1 becomes record 2 of patient 2.
fn refile(w: &mut World) -> Outcome {
    let (payload, wrap) = (Bytes::from_static(b"payload"), Bytes::from_static(b"wrap"));
    let Action::WriteRecord(mut write) = write_record([2; 16], 1, "Observation", &payload) else { unreachable!() };
    write.patient = id(2);
    let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[&wrap]));
    let recipient_key_id = w.key(A, "service", "custodian").to_bytes();
    write.wraps = vec![pb::KeyWrapRef { recipient_key_id, wrap_sha256 }];
    let actions = vec![retract(1, pb::RetractionReason::WrongPatient), Action::WriteRecord(write)];
    w.all_by(&name(A, "service", "ehr"), actions, vec![payload, wrap])
}

/// Records and versions in the list of a patient.
fn listed(w: &World, patient: u8) -> Vec<(Bytes, u32)> {
    let list = ListName::new(PatientPseudonym([patient; 16]), pb::Confidentiality::Normal, "Observation");
    let key = keys::record_list(&list);
    let count = w.log(&key).unwrap_or_default().count;
    let entry = |place| consilium_ledger::log::entry(&w.ledger.store, &key, place).unwrap().unwrap();
    let entries = (0..count).map(|place| pb::RecordListEntry::decode(entry(place)).unwrap());
    entries.map(|entry| (entry.record_id, entry.version)).collect()
}

fn both_patients() -> World {
    let mut w = World::new();
    let register = pb::RegisterPatient { patient: id(2), lookups_sha256: Vec::new() };
    assert_eq!(w.by(A, "service", "ehr", Action::RegisterPatient(register)), Outcome::Applied);
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    w
}

#[test]
fn both_patients_lists_show_it_and_nobody_reads_it_where_it_was() {
    let mut w = both_patients();
    let anna = name(A, "patient", ANNA);
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    let own = || pb::RequestAccess { purpose: Purpose::Patrqt.into(), ..read(1) };
    assert_eq!(w.ground(&anna, own()), Ground::Patient);
    assert_eq!(refile(&mut w), Outcome::Applied);
    assert_eq!(listed(&w, 1), [(id(1), 1), (id(1), 2)]);
    assert_eq!(listed(&w, 2), [(id(2), 1)]);
    let version = keys::version(&RecordId([1; 16]), 2);
    let version: pb::RecordVersion = w.ledger.store.message(Table::Versions, &version).unwrap();
    assert_eq!(version.retraction_reason(), pb::RetractionReason::WrongPatient);
    // One person alone hides it from all but the one who might know better.
    assert_eq!(w.ground(&anna, own()), Ground::Patient);
    let confirm = |version| Action::ConfirmRetraction(pb::ConfirmRetraction { record_id: id(1), version });
    assert_eq!(w.by(A, "service", "ehr", confirm(2)), Outcome::RoleNotAllowed, "who retracted it");
    assert_eq!(w.by(A, "researcher", "r1", confirm(2)), Outcome::RoleNotAllowed);
    assert_eq!(w.by(B, "auditor", "privacy", confirm(2)), Outcome::RecordMismatch);
    assert_eq!(w.by(A, "auditor", "privacy", confirm(3)), Outcome::VersionConflict);
    assert_eq!(w.ground(&anna, own()), Ground::Patient);
    assert_eq!(w.by(A, "auditor", "privacy", confirm(2)), Outcome::Applied);
    assert_eq!(w.by(A, "clinician", "c1", confirm(2)), Outcome::VersionConflict, "once");
    // Neither the wrong patient, nor those who wrote it, nor in an emergency, nor an older version.
    assert_eq!(w.ground(&anna, own()), Ground::Restricted);
    assert_eq!(w.ground(&name(A, "service", "ehr"), read(1)), Ground::Restricted);
    let older = pb::RequestAccess { records: vec![pb::VersionRef { record_id: id(1), version: 1 }], ..own() };
    assert_eq!(w.ground(&anna, older), Ground::Restricted);
    let log = keys::access_log(&PatientPseudonym([1; 16]));
    let event = |place| consilium_ledger::log::entry(&w.ledger.store, &log, place).unwrap().unwrap();
    let events = (0..w.patient_log().count).map(|place| AccessEvent::decode(event(place)).unwrap());
    let (said, reads): (Vec<_>, Vec<_>) = events.partition(|event| event.kind() == pb::AccessKind::Change);
    let said: Vec<_> = said.iter().map(|event| event.change.as_ref().unwrap()).collect();
    assert_eq!(reads.len(), 6, "who read it before stands in the list of the wrong patient");
    use pb::PatientChangeKind as Kind;
    let kinds: Vec<_> = said.iter().map(|change| change.kind()).collect();
    assert_eq!(kinds[ATTESTED as usize..], [Kind::Accepted, Kind::Misfiled, Kind::MisfiledConfirmed]);
    assert_eq!(said[ATTESTED as usize + 1].record_id, id(1));
    let right = pb::RequestAccess { patient: id(2), ..read(2) };
    assert_eq!(w.ground(&name(A, "service", "ehr"), right), Ground::Author);
}

#[test]
fn it_is_moved_whole_or_not_at_all() {
    let mut w = both_patients();
    assert_eq!(w.write(A, 2, |_| ()), Outcome::Applied);
    assert_eq!(refile(&mut w), Outcome::RecordExists, "the new id is taken");
    assert_eq!(listed(&w, 1), [(id(1), 1), (id(2), 1)]);
    assert_eq!(w.ground(&name(A, "service", "ehr"), read(1)), Ground::Author);
}

#[test]
fn what_was_entered_in_error_stays_readable() {
    let mut w = both_patients();
    let retract = retract(1, pb::RetractionReason::Unspecified);
    assert_eq!(w.by(A, "service", "ehr", retract), Outcome::Applied);
    let older = pb::RequestAccess { records: vec![pb::VersionRef { record_id: id(1), version: 1 }], ..read(1) };
    assert_eq!(w.ground(&name(A, "service", "ehr"), older), Ground::Author);
    assert_eq!(listed(&w, 1), [(id(1), 1), (id(1), 2)]);
}
