//! Whom an emergency concerns, and what a patient is told of them.
#![allow(clippy::unwrap_used)]

use consilium_ledger::Row;
use consilium_proto::pb::{Confidentiality, ReviewDue, ReviewsDueState};
use consilium_proto::state::ListName;
use prost::Message;

use super::*;
use crate::storage::snapshot::tests::{Chain, row};

const PATIENT: PatientPseudonym = PatientPseudonym([7; 16]);

fn writer(patient: PatientPseudonym, kind: &'static str, member: &str) -> Row {
    let list = ListName::new(patient, Confidentiality::Normal, kind);
    row(Table::Index, keys::index_writer(&list, member), Some(Bytes::from_static(kind.as_bytes())))
}

#[test]
fn it_concerns_who_registered_the_patient_and_who_has_written_of_it() {
    let mut chain = Chain::start();
    chain.write(vec![
        writer(PATIENT, "Observation", "b.example"),
        writer(PATIENT, "Condition", "c.example"),
        writer(PatientPseudonym([8; 16]), "Condition", "d.example"),
    ]);
    let ledger = chain.store.snapshot().unwrap();
    let patient = PatientState { member: "a.example".into(), ..PatientState::default() };
    let concerned = |member: &str| {
        let reader: SpiffeId = format!("spiffe://{member}/auditor/privacy").parse().unwrap();
        Audience { ledger: &ledger, reader: &reader, concerned: BTreeMap::new() }.is_concerned(PATIENT, &patient)
    };
    let told =
        ["a.example", "b.example", "c.example", "d.example", "c.exampl"].map(|member| concerned(member).unwrap());
    assert_eq!(told, [true, true, true, false, false]);
}

/// Emergencies of patient `patient`, each with its review due at a time, in a block of their own.
fn declare(chain: &mut Chain, patient: PatientPseudonym, emergencies: &[(u8, u64)]) {
    let height = Height(chain.next());
    let mut due = ReviewsDueState::default();
    let mut rows = Vec::new();
    for (number, due_ms) in emergencies {
        let id = EmergencyId([*number; 16]);
        let state = EmergencyState {
            patient: patient.0.to_vec().into(),
            reader: "spiffe://b.example/clinician/c1".into(),
            review_due_ms: *due_ms,
            ..EmergencyState::default()
        };
        rows.push(row(Table::State, keys::emergency(&id), Some(state.encode_to_vec().into())));
        rows.push(row(Table::Index, keys::index_emergency(height, &id), Some(Bytes::new())));
        rows.push(row(Table::Index, keys::index_emergency_about(&patient, height, &id), Some(Bytes::new())));
        due.reviews.push(ReviewDue { emergency_id: id.0.to_vec().into(), due_ms: *due_ms });
    }
    let member = format!("{}.example", patient.0[0]);
    rows.push(row(Table::State, keys::reviews_due(&member), Some(due.encode_to_vec().into())));
    chain.write(rows);
}

#[test]
fn of_a_patients_emergencies_and_reviews_no_others_are_walked() {
    let other = PatientPseudonym([8; 16]);
    let mut chain = Chain::start();
    declare(&mut chain, PATIENT, &[(1, 50), (2, 60)]);
    declare(&mut chain, other, &[(3, 50), (4, 70)]);
    declare(&mut chain, PATIENT, &[(1, 50), (2, 60), (5, 80)]);
    // What is not the patient's cannot even be read.
    let broken = |id: u8| row(Table::Index, [&keys::index_emergencies()[..], &[id; 3]].concat(), Some(Bytes::new()));
    chain.write(vec![broken(1)]);
    let (ledger, reviews) = (chain.store.snapshot().unwrap(), OpenReviews::default());
    let of = |prefix: &[u8], after| {
        let (found, upto) = happened(&ledger, prefix, (Height(after), Height(3))).unwrap();
        (found.into_iter().map(|id| id.0[0]).collect::<Vec<_>>(), upto)
    };
    let own = keys::index_emergencies_about(&PATIENT);
    assert_eq!((of(&own, 0), of(&own, 2)), ((vec![1, 2, 5], Height(3)), (vec![1, 2, 5], Height(3))));
    assert_eq!(of(&keys::index_emergencies_about(&other), 0), (vec![3, 4], Height(3)));
    assert!(happened(&ledger, &keys::index_emergencies(), (Height(0), Height(u64::MAX))).is_err());
    let overdue = |patient, from, to| -> Vec<u8> {
        let found = reviews.overdue(&ledger, patient, (TimeMs(from), TimeMs(to))).unwrap();
        found.into_iter().map(|id| id.0[0]).collect()
    };
    assert_eq!(overdue(None, 0, 70), [1, 3, 2, 4]);
    assert_eq!((overdue(Some(PATIENT), 0, 70), overdue(Some(other), 0, 70)), (vec![1, 2], vec![3, 4]));
    assert_eq!(overdue(Some(PATIENT), 50, 80), [2, 5]);
}
