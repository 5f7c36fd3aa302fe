//! What former readers learn by: which versions were read, and what became of their records.

use super::*;
use consilium_proto::ids::{Height, RecordId};
use consilium_proto::names::SpiffeId;

const RECORD: RecordId = RecordId([1; 16]);

fn retract(version: u32, reason: pb::RetractionReason) -> Action {
    Action::RetractRecord(pb::RetractRecord { record_id: id(1), version, reason: reason.into() })
}

fn change(w: &World) -> Option<pb::RecordChangeState> {
    w.ledger.store.message(Table::State, &keys::record_change(&RECORD))
}

/// Records that have changed, by block.
fn changed(w: &World) -> Vec<(Height, RecordId)> {
    let prefix = keys::index_changes();
    let rows = w.ledger.store.0.keys().filter(|(table, key)| *table == Table::Index && key.starts_with(&prefix));
    rows.map(|(_, key)| keys::change_of_index(key).unwrap()).collect()
}

/// Versions of record 1 that an identity was permitted to read.
fn reads(w: &World, reader: &str) -> Vec<pb::VersionRead> {
    let reader: SpiffeId = reader.parse().unwrap();
    let prefix = keys::index_reads_of(&RECORD, &reader);
    let rows = w.ledger.store.0.iter().filter(|((table, key), _)| *table == Table::Index && key.starts_with(&prefix));
    let rows = rows.map(|((_, key), value)| (keys::version_of_read(key), pb::VersionRead::decode(&value[..]).unwrap()));
    rows.inspect(|(version, read)| assert_eq!(*version, Some(read.version))).map(|(_, read)| read).collect()
}

fn amend(w: &mut World, version: u32) {
    assert_eq!(w.write(A, 1, |write| write.version = version), Outcome::Applied);
}

#[test]
fn a_record_has_changed_once_there_is_a_second_version() {
    let mut w = World::new();
    amend(&mut w, 1);
    assert_eq!((change(&w), changed(&w)), (None, vec![]));
    amend(&mut w, 2);
    let second = w.ledger.tip.header.height;
    let amended = pb::RecordChangeState {
        version: 2,
        retracted: false,
        retraction_reason: 0,
        time_ms: w.now(),
        height: second.0,
    };
    assert_eq!(change(&w), Some(amended));
    assert_eq!(w.by(A, "service", "ehr", retract(2, pb::RetractionReason::Unspecified)), Outcome::Applied);
    let third = w.ledger.tip.header.height;
    let retracted = change(&w).unwrap();
    assert_eq!((retracted.version, retracted.retracted, retracted.height), (3, true, third.0));
    assert_eq!(changed(&w), [(second, RECORD), (third, RECORD)]);
    assert_eq!(w.by(A, "service", "ehr", retract(3, pb::RetractionReason::Unspecified)), Outcome::RecordRetracted);
    assert_eq!((change(&w), changed(&w).len()), (Some(retracted), 2), "what is refused changes nothing");
}

#[test]
fn of_a_record_that_was_moved_it_says_so_and_not_whose_it_is() {
    let mut w = World::new();
    amend(&mut w, 1);
    assert_eq!(w.by(A, "service", "ehr", retract(1, pb::RetractionReason::WrongPatient)), Outcome::Applied);
    let moved = change(&w).unwrap();
    assert_eq!((moved.retracted, moved.retraction_reason()), (true, pb::RetractionReason::WrongPatient));
    let row = &w.ledger.store.0[&(Table::State, keys::record_change(&RECORD))];
    assert!(!row.windows(16).any(|part| part == [1; 16]), "neither the patient nor anything of the record");
}

#[test]
fn what_was_permitted_is_noted_and_what_was_denied_or_only_queried_is_not() {
    let mut w = World::new();
    amend(&mut w, 1);
    let (ehr, doctor) = (name(A, "service", "ehr"), name(B, "clinician", "c1"));
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies);
    let query = pb::RequestAccess {
        kind: AccessKind::Query.into(),
        records: Vec::new(),
        query_sha256: vec![5; 32].into(),
        ..read(1)
    };
    assert_eq!(w.ground(&ehr, query), Ground::Each);
    assert_eq!((reads(&w, &doctor), reads(&w, &ehr)), (vec![], vec![]));

    let event = w.ask(&ehr, read(1));
    let noted = pb::VersionRead {
        version: 1,
        reader: ehr.clone(),
        patient: id(1),
        transaction_id: event.transaction_id,
        time_ms: event.time_ms,
        height: event.height,
    };
    assert_eq!(reads(&w, &ehr), std::slice::from_ref(&noted));
    amend(&mut w, 2);
    let again = w.ask(&ehr, read(1));
    let versions: Vec<_> = reads(&w, &ehr).iter().map(|read| (read.version, read.height)).collect();
    assert_eq!(versions, [(1, noted.height), (2, again.height)]);
    // The last time counts.
    let older = pb::RequestAccess { records: vec![pb::VersionRef { record_id: id(1), version: 1 }], ..read(1) };
    let last = w.ask(&ehr, older);
    assert_eq!(reads(&w, &ehr)[0].height, last.height);
    assert_eq!(reads(&w, &name(A, "service", "custodian")), []);
}
