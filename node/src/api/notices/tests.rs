//! Whom an emergency concerns.
#![allow(clippy::unwrap_used)]

use consilium_ledger::Row;
use consilium_proto::pb::Confidentiality;
use consilium_proto::state::ListName;

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
