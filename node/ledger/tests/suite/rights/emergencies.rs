//! Emergencies: open at once, end exactly, lift consent and never role, and are reviewed.

use super::*;

const HOUR: u64 = 3_600_000;

fn declare(emergency: u8) -> Action {
    Action::DeclareEmergency(pb::DeclareEmergency {
        emergency_id: id(emergency),
        patient: id(1),
        reason: pb::EmergencyReason::Danger.into(),
        ..pb::DeclareEmergency::default()
    })
}

fn in_emergency(emergency: u8) -> pb::RequestAccess {
    pb::RequestAccess { purpose: Purpose::Btg.into(), emergency_id: id(emergency), ..read(1) }
}

fn review(emergency: u8, verdict: pb::ReviewVerdict) -> Action {
    Action::ReviewEmergency(pb::ReviewEmergency {
        emergency_id: id(emergency),
        verdict: verdict.into(),
        note_sha256: Bytes::new(),
    })
}

fn world() -> (World, String) {
    let mut w = World::with(|p| p.emergency_ms = 4 * HOUR);
    w.write(A, 1, |_| ());
    (w, name(B, "clinician", "c1"))
}

#[test]
fn it_opens_in_its_own_transaction_and_ends_exactly() {
    let (mut w, doctor) = world();
    assert_eq!(w.ground(&doctor, in_emergency(1)), Ground::NoEmergency);
    let actions = vec![declare(1), Action::RequestAccess(in_emergency(1))];
    let (id, outcome) = w.submit(&doctor, actions, vec![]);
    assert_eq!((outcome, w.event(&id).decisions[0].ground()), (Outcome::Applied, Ground::Emergency));
    let ends = w.now() + 4 * HOUR;
    w.wait_until(ends - 1);
    assert_eq!(w.ground(&doctor, in_emergency(1)), Ground::Emergency);
    w.wait_until(ends);
    assert_eq!(w.ground(&doctor, in_emergency(1)), Ground::NoEmergency, "equality denies");
    assert_eq!(w.by(B, "clinician", "c1", declare(2)), Outcome::Applied, "it may be declared again");
}

#[test]
fn it_is_for_one_reader_and_one_patient_and_by_its_name_alone() {
    let (mut w, doctor) = world();
    assert_eq!(w.by(B, "clinician", "c1", declare(1)), Outcome::Applied);
    assert_eq!(w.ground(&name(B, "clinician", "c2"), in_emergency(1)), Ground::NoEmergency);
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies, "treatment is not an emergency");
    w.write(A, 2, |write| write.patient = id(2));
    let other = pb::RequestAccess { patient: id(2), ..in_emergency(1) };
    let records = vec![pb::VersionRef { record_id: id(2), version: 0 }];
    assert_eq!(w.ground(&doctor, pb::RequestAccess { records, ..other }), Ground::NoEmergency);
    assert_eq!(w.by(A, "clinician", "c1", declare(1)), Outcome::EmergencyExists);
    for role in ["auditor", "researcher"] {
        let who = if role == "auditor" { "privacy" } else { "r1" };
        assert_eq!(w.by(B, role, who, declare(3)), Outcome::RoleNotAllowed);
    }
    let unknown = pb::DeclareEmergency {
        patient: id(9),
        ..match declare(4) {
            Action::DeclareEmergency(declare) => declare,
            _ => unreachable!(),
        }
    };
    assert_eq!(w.by(B, "clinician", "c1", Action::DeclareEmergency(unknown)), Outcome::PatientNotFound);
}

#[test]
fn a_system_says_for_whom_it_declares_one() {
    let (mut w, _) = world();
    assert_eq!(w.by(B, "service", "ehr", declare(1)), Outcome::ActingMissing);
    let Action::DeclareEmergency(declared) = declare(1) else { unreachable!() };
    let for_somebody = pb::DeclareEmergency { acting_sha256: vec![5; 32].into(), ..declared };
    assert_eq!(w.by(B, "service", "ehr", Action::DeclareEmergency(for_somebody)), Outcome::Applied);
    assert_eq!(w.by(B, "clinician", "c1", declare(2)), Outcome::Applied, "who signs is the person");
}

#[test]
fn they_are_found_by_the_blocks_in_which_something_happened_to_them() {
    let (mut w, _) = world();
    let about = |w: &World, prefix: Vec<u8>| -> Vec<_> {
        let rows = w.ledger.store.0.keys().filter(|(table, key)| *table == Table::Index && key.starts_with(&prefix));
        rows.map(|(_, key)| keys::emergency_of_index(key).unwrap()).collect()
    };
    let found = |w: &World| about(w, keys::index_emergencies());
    let of_patient = |w: &World, patient| about(w, keys::index_emergencies_about(&PatientPseudonym([patient; 16])));
    w.by(B, "clinician", "c1", declare(1));
    let declared = w.ledger.tip.header.height;
    w.by(B, "auditor", "privacy", review(1, pb::ReviewVerdict::Justified));
    let reviewed = w.ledger.tip.header.height;
    let id = EmergencyId([1; 16]);
    assert_eq!(found(&w), [(declared, id), (reviewed, id)]);
    assert_eq!((of_patient(&w, 1), of_patient(&w, 2)), (found(&w), vec![]));
    assert_eq!(w.by(B, "auditor", "privacy", review(1, pb::ReviewVerdict::Justified)), Outcome::EmergencyNotFound);
    assert_eq!(found(&w).len(), 2, "what is refused is found nowhere");
}

#[test]
fn a_denial_binds_emergencies_only_where_the_parameter_says_so() {
    for (binds, ground) in [(0, Ground::Emergency), (1, Ground::ConsentDenies)] {
        let mut w = World::with(|p| p.emergency_denial_binds = binds);
        w.write(A, 1, |_| ());
        let anna = name(A, "patient", ANNA);
        w.accept(A, &anna, |_| ());
        assert_eq!(w.consent(&anna, 1, grant(ConsentBase::Deny, vec![])), Outcome::Applied);
        w.by(B, "clinician", "c1", declare(1));
        assert_eq!(w.ground(&name(B, "clinician", "c1"), in_emergency(1)), ground);
    }
}

#[test]
fn it_is_reviewed_once_by_an_auditor_of_the_member() {
    let (mut w, doctor) = world();
    w.by(B, "clinician", "c1", declare(1));
    let due =
        |w: &World| -> pb::ReviewsDueState { w.ledger.store.message(Table::State, &keys::reviews_due(B)).unwrap() };
    assert_eq!(due(&w).reviews.len(), 1);
    let justified = || review(1, pb::ReviewVerdict::Justified);
    assert_eq!(w.by(B, "clinician", "c2", justified()), Outcome::RoleNotAllowed);
    assert_eq!(w.by(A, "auditor", "privacy", justified()), Outcome::EmergencyNotFound);
    assert_eq!(w.by(B, "auditor", "privacy", review(2, pb::ReviewVerdict::Justified)), Outcome::EmergencyNotFound);
    assert_eq!(w.by(B, "auditor", "privacy", justified()), Outcome::Applied);
    assert_eq!(w.by(B, "auditor", "privacy", justified()), Outcome::EmergencyNotFound);
    assert_eq!(due(&w).reviews.len(), 0);
    assert_eq!(w.ground(&doctor, in_emergency(1)), Ground::Emergency, "it was one");
    w.by(B, "clinician", "c1", declare(2));
    assert_eq!(w.by(B, "auditor", "privacy", review(2, pb::ReviewVerdict::NotJustified)), Outcome::Applied);
    assert_eq!(w.ground(&doctor, in_emergency(2)), Ground::NoEmergency, "it was none");
}

/// What a patient's log has of emergencies.
fn logged(w: &World, patient: u8) -> Vec<AccessEvent> {
    let key = keys::access_log(&PatientPseudonym([patient; 16]));
    let count = w.log(&key).unwrap_or_default().count;
    let entries = (0..count).map(|place| consilium_ledger::log::entry(&w.ledger.store, &key, place).unwrap().unwrap());
    let events = entries.map(|entry| AccessEvent::decode(entry).unwrap());
    events.filter(|event| !event.emergency_id.is_empty()).collect()
}

/// Which emergency, what was said of it, and by whom.
type Said = (u8, pb::PatientChangeKind, String);

fn said(events: &[AccessEvent]) -> Vec<Said> {
    let said = |event: &AccessEvent| {
        (event.emergency_id[0], event.change.as_ref().map(pb::PatientChange::kind), event.reader.clone())
    };
    events.iter().map(said).map(|(id, kind, by)| (id, kind.unwrap_or_default(), by)).collect()
}

#[test]
fn they_stand_in_the_patients_log_from_their_declaration_on_though_nothing_is_read() {
    use pb::PatientChangeKind::{EmergencyDeclared, EmergencyReviewed};
    let (mut w, doctor) = world();
    let officer = name(B, "auditor", "privacy");
    let now = |w: &World| w.ledger.tip.header.time.0;
    assert_eq!(w.by(B, "clinician", "c1", declare(1)), Outcome::Applied);
    let declared_at = now(&w);
    assert_eq!(w.by(B, "clinician", "c1", declare(2)), Outcome::Applied, "a second one, while the first is open");
    assert_eq!(w.by(B, "auditor", "privacy", review(1, pb::ReviewVerdict::NotJustified)), Outcome::Applied);
    assert_eq!(w.by(B, "auditor", "privacy", review(2, pb::ReviewVerdict::Justified)), Outcome::Applied);
    let events = logged(&w, 1);
    assert_eq!(
        said(&events),
        [
            (1, EmergencyDeclared, doctor.clone()),
            (2, EmergencyDeclared, doctor),
            (1, EmergencyReviewed, officer.clone()),
            (2, EmergencyReviewed, officer)
        ]
    );
    let change = |place: usize| events[place].change.clone().unwrap();
    let declared = pb::PatientChange {
        kind: EmergencyDeclared.into(),
        reason: pb::EmergencyReason::Danger as u32,
        to_ms: declared_at + 4 * HOUR,
        ..pb::PatientChange::default()
    };
    assert_eq!(change(0), declared);
    let row: pb::EmergencyState =
        w.ledger.store.message(Table::State, &keys::emergency(&EmergencyId([1; 16]))).unwrap();
    assert_eq!((row.to_ms, row.from_ms), (declared.to_ms, events[0].time_ms), "it is as long as it is open");
    let verdicts = [2, 3].map(|place| (change(place).verdict, change(place).reason, change(place).to_ms));
    let found = |verdict: pb::ReviewVerdict| (verdict as u32, 0, 0);
    assert_eq!(verdicts, [found(pb::ReviewVerdict::NotJustified), found(pb::ReviewVerdict::Justified)]);
    for event in &events {
        assert_eq!((event.kind(), event.purpose()), (AccessKind::Change, Purpose::Patadmin));
        assert!(event.decisions.is_empty(), "nothing was asked for");
    }
    assert!(logged(&w, 2).is_empty());
}

#[test]
fn a_reading_of_the_same_transaction_stands_behind_its_declaration_and_is_its_entry() {
    let (mut w, doctor) = world();
    let actions = vec![declare(1), Action::RequestAccess(in_emergency(1))];
    let (id, outcome) = w.submit(&doctor, actions, vec![]);
    assert_eq!(outcome, Outcome::Applied);
    let events = logged(&w, 1);
    let kinds: Vec<_> = events.iter().map(|event| event.kind()).collect();
    assert_eq!(kinds, [AccessKind::Change, AccessKind::Read]);
    assert!(events.iter().all(|event| event.transaction_id == id.to_bytes()));
    assert_eq!(w.event(&id), events[1], "a decision is shown, and not what was said");
}

#[test]
fn what_is_refused_leaves_nothing_in_the_log_and_a_system_says_for_whom() {
    let (mut w, doctor) = world();
    w.by(B, "service", "ehr", declare(1));
    w.by(B, "auditor", "privacy", declare(1));
    w.by(B, "auditor", "privacy", review(1, pb::ReviewVerdict::Justified));
    assert_eq!(said(&logged(&w, 1)), []);
    let actions = vec![declare(1), declare(1)];
    assert_eq!(w.submit(&doctor, actions, vec![]).1, Outcome::EmergencyExists);
    assert_eq!(said(&logged(&w, 1)), [], "nor half of what is refused");
    let Action::DeclareEmergency(declared) = declare(1) else { unreachable!() };
    let acting = Bytes::from(vec![5; 32]);
    let for_somebody = pb::DeclareEmergency { acting_sha256: acting.clone(), ..declared };
    assert_eq!(w.by(B, "service", "ehr", Action::DeclareEmergency(for_somebody)), Outcome::Applied);
    w.by(A, "clinician", "c1", declare(1));
    w.by(A, "auditor", "privacy", review(1, pb::ReviewVerdict::NotJustified));
    w.by(B, "auditor", "privacy", review(1, pb::ReviewVerdict::Justified));
    w.by(B, "auditor", "privacy", review(1, pb::ReviewVerdict::NotJustified));
    let events = logged(&w, 1);
    assert_eq!(events.iter().map(|event| &event.acting_sha256[..]).collect::<Vec<_>>(), [&acting[..], &[]]);
    assert_eq!(
        events[1].change.as_ref().unwrap().verdict,
        pb::ReviewVerdict::Justified as u32,
        "the first review is it"
    );
}
