//! Logs: whole lists are rebuilt from their entries, and one entry is proven by its path.

use super::*;
use consilium_ledger::log::{entry, prove_entry};
use consilium_proto::hash::Hash;
use consilium_proto::log::is_whole;
use consilium_proto::merkle::{leaf_hash, verify_inclusion};
use consilium_proto::state::ListName;

fn entries(w: &World, key: &[u8]) -> Vec<Bytes> {
    let count = w.log(key).unwrap_or_default().count;
    (0..count).map(|place| entry(&w.ledger.store, key, place).unwrap().unwrap()).collect()
}

#[test]
fn a_patients_log_is_whole_and_each_event_is_proven() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let reader = name(A, "clinician", "c1");
    // More than one kept node of the tree, in few blocks.
    for _ in 0..6 {
        let bodies: Vec<_> = (0..100).map(|_| w.ledger.body(vec![Action::RequestAccess(read(1))])).collect();
        let person = w.people[&reader].clone();
        let transactions: Vec<_> =
            bodies.into_iter().map(|body| w.ledger.check(&person.sign(body, Vec::new()))).collect();
        w.ledger.block(&transactions, &Observed::default());
    }
    let key = keys::access_log(&PatientPseudonym([1; 16]));
    let (row, entries) = (w.log(&key).unwrap(), entries(&w, &key));
    assert_eq!(row.count, ATTESTED + 600);
    assert!(is_whole(&row, entries.iter().map(|entry| &entry[..])));
    assert!(!is_whole(&row, entries.iter().skip(1).map(|entry| &entry[..])));
    let root = Hash::try_from(row.root.as_ref()).unwrap();
    for place in [0, 1, 255, 256, 300, 511, 512, 601] {
        let proof = prove_entry(&w.ledger.store, &key, place, row.count).unwrap();
        verify_inclusion(&leaf_hash(&entries[usize::try_from(place).unwrap()]), &proof, &root).unwrap();
        assert!(proof.path().len() * 32 <= 512, "one event is proven in half a kilobyte");
    }
    assert!(prove_entry(&w.ledger.store, &key, 602, row.count).is_err());
    let places: Vec<_> = entries.iter().map(|e| AccessEvent::decode(e.clone()).unwrap().sequence).collect();
    assert!(places.into_iter().eq(0..602));
}

#[test]
fn records_are_listed_by_kind_and_confidentiality() {
    let mut w = World::new();
    let restricted = pb::Confidentiality::Restricted;
    w.write(A, 1, |_| ());
    w.write(B, 2, |write| write.kind = "Condition".into());
    w.write(A, 3, |_| ());
    w.write(A, 3, |write| write.version = 2);
    w.write(A, 1, |write| (write.version, write.confidentiality) = (2, restricted.into()));
    let patient = PatientPseudonym([1; 16]);
    let listed = |w: &World, level, kind: &str| -> Vec<(u8, u32)> {
        let list = entries(w, &keys::record_list(&ListName::new(patient, level, kind)));
        let entry = |entry: Bytes| pb::RecordListEntry::decode(entry).unwrap();
        list.into_iter().map(entry).map(|entry| (entry.record_id[0], entry.version)).collect()
    };
    let normal = pb::Confidentiality::Normal;
    assert_eq!(listed(&w, normal, "Observation"), [(1, 1), (3, 1)]);
    assert_eq!(listed(&w, restricted, "Observation"), [(1, 2)], "when its level changed, it is listed again");
    assert_eq!(listed(&w, normal, "Condition"), [(2, 1)]);
    let lists: pb::RecordListsState = w.ledger.store.message(Table::State, &keys::record_lists(&patient)).unwrap();
    let names: Vec<_> = lists.lists.iter().map(|list| (list.kind.as_str(), list.confidentiality)).collect();
    assert_eq!(names, [("Observation", 4), ("Condition", 4), ("Observation", 5)]);
}

#[test]
fn a_writer_that_makes_up_kinds_keeps_nobody_from_writing() {
    let mut w = World::new();
    let invented = consilium_proto::limits::LISTS_OF_OTHER_KINDS_MAX;
    for number in 0..invented {
        let outcome = w.write(B, 1, |write| {
            write.record_id = vec![number as u8, (number >> 8) as u8, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7].into();
            write.kind = format!("Invented{number}");
        });
        assert_eq!(outcome, Outcome::Applied, "{number}");
    }
    assert_eq!(w.write(B, 2, |write| write.kind = "One-more".into()), Outcome::TooManyOfPatient);
    assert_eq!(w.write(B, 2, |write| write.kind = "Invented7".into()), Outcome::Applied, "there is such a list");
    assert_eq!(w.write(A, 3, |write| write.kind = "Procedure".into()), Outcome::Applied);
    let closed = Action::RetractRecord(pb::RetractRecord { record_id: id(2), version: 1, reason: 1 });
    assert_eq!(w.by(B, "service", "ehr", closed), Outcome::Applied);
}

/// What was said of a patient, as its log has it.
fn said(w: &World, patient: u8) -> Vec<(pb::PatientChangeKind, String)> {
    let key = keys::access_log(&PatientPseudonym([patient; 16]));
    let events = entries(w, &key).into_iter().map(|entry| AccessEvent::decode(entry).unwrap());
    let events = events.filter(|event| event.kind() == pb::AccessKind::Change);
    events.map(|event| (event.change.as_ref().unwrap().kind(), event.reader)).collect()
}

#[test]
fn what_a_patients_rights_depend_on_stands_in_its_log() {
    use pb::PatientChangeKind as Kind;
    let mut w = World::new();
    let register = pb::RegisterPatient { patient: id(3), lookups_sha256: Vec::new() };
    w.by(A, "service", "ehr", Action::RegisterPatient(register));
    let care = [A, B].map(|member| (Kind::CareAttested, name(member, "service", "ehr")));
    assert_eq!(said(&w, 1), care, "registration gives nobody a right");
    let (anna, guardian) = (name(A, "patient", ANNA), name(A, "patient", GUARDIAN));
    w.accept(A, &anna, |_| ());
    let until = w.now() + DAY;
    w.accept(B, &guardian, |accept| {
        (accept.relation, accept.to_ms, accept.may_consent) = (PatientRelation::Guardian.into(), until, false);
    });
    w.accept(B, &guardian, |accept| accept.withdrawn = true);
    let (patient, other) = (id(1), id(3));
    let link = pb::LinkPatients { patient: patient.clone(), other: other.clone(), evidence_sha256: vec![3; 32].into() };
    let unlink = pb::UnlinkPatients { patient, other };
    assert_eq!(w.by(B, "clinician", "c1", Action::LinkPatients(link.clone())), Outcome::Applied);
    assert_eq!(w.by(B, "clinician", "c1", Action::LinkPatients(link)), Outcome::LinkConflict);
    assert_eq!(w.by(B, "service", "ehr", Action::UnlinkPatients(unlink)), Outcome::Applied);
    for withdrawn in [false, true] {
        let death = pb::AttestDeath { patient: id(1), evidence_sha256: vec![4; 32].into(), withdrawn };
        assert_eq!(w.by(A, "service", "ehr", Action::AttestDeath(death)), Outcome::Applied);
    }
    let [a, b, doctor] = [name(A, "service", "ehr"), name(B, "service", "ehr"), name(B, "clinician", "c1")];
    let linked = [(Kind::Linked, doctor), (Kind::Unlinked, b.clone())];
    let [before, after] = [
        [(Kind::Accepted, a.clone()), (Kind::Accepted, b.clone()), (Kind::AcceptanceEnded, b)],
        [linked[0].clone(), linked[1].clone(), (Kind::Died, a.clone())],
    ];
    assert_eq!(said(&w, 1), [&care[..], &before, &after, &[(Kind::DeathTakenBack, a)]].concat());
    assert_eq!(said(&w, 3), linked, "both logs have a link, and what was refused none");

    let key = keys::access_log(&PatientPseudonym([1; 16]));
    let (row, entries) = (w.log(&key).unwrap(), entries(&w, &key));
    assert!(is_whole(&row, entries.iter().map(|entry| &entry[..])));
    let event = AccessEvent::decode(entries[3].clone()).unwrap();
    assert_eq!((event.decisions.len(), event.purpose()), (0, Purpose::Patadmin));
    let change = event.change.unwrap();
    assert_eq!((change.identity, change.may_read, change.may_consent, change.to_ms), (guardian, true, false, until));
}

#[test]
fn consents_stand_in_the_log_with_who_put_and_who_ended_them() {
    use pb::PatientChangeKind as Kind;
    let mut w = World::new();
    let (anna, clerk) = (name(A, "patient", ANNA), name(B, "service", "ehr"));
    w.accept(A, &anna, |_| ());
    assert_eq!(w.consent(&clerk, 1, share_with(A)), Outcome::Applied);
    assert_eq!(w.consent(&anna, 2, share_with_b()), Outcome::Applied);
    assert_eq!(w.consent_version(&anna, 2, 2, share_with_b()), Outcome::Applied);
    assert_eq!(w.consent_version(&anna, 2, 2, share_with_b()), Outcome::ConsentConflict);
    for (by, consent) in [(&clerk, 1), (&anna, 2)] {
        let revoke = Action::RevokeConsent(pb::RevokeConsent { consent_id: id(consent) });
        assert_eq!(w.submit(by, vec![revoke], Vec::new()).1, Outcome::Applied);
    }
    let put = |by: &str| (Kind::ConsentPut, by.to_owned());
    let ended = |by: &str| (Kind::ConsentEnded, by.to_owned());
    let expected = [put(&clerk), put(&anna), put(&anna), ended(&clerk), ended(&anna)];
    assert_eq!(said(&w, 1)[ATTESTED as usize + 1..], expected, "also those that are over; nothing of what was refused");
    let log = entries(&w, &keys::access_log(&PatientPseudonym([1; 16])));
    let changes: Vec<_> = log.into_iter().filter_map(|entry| AccessEvent::decode(entry).unwrap().change).collect();
    let told: Vec<_> = changes.iter().map(|said| (said.consent_id.clone(), said.consent_version)).collect();
    assert_eq!(told[ATTESTED as usize + 1..], [(id(1), 1), (id(2), 1), (id(2), 2), (id(1), 0), (id(2), 0)]);
}
