//! Which rows of a patient are shown to whom.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use consilium_ledger::{Row, Table};
use consilium_proto::pb::{CareState, PatientAcceptance, RecordListName, RecordListsState};
use consilium_proto::state_tree::{StateProof, verify_state_proof};

use super::*;
use crate::storage::snapshot::tests::{Chain, row};

const PATIENT: PatientPseudonym = PatientPseudonym([7; 16]);
const SELF: &str = "spiffe://a.example/patient/0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
const AUDITOR: &str = "spiffe://c.example/auditor/privacy";

fn put(key: Vec<u8>, message: &impl Message) -> Row {
    row(Table::State, key, Some(message.encode_to_vec().into()))
}

fn lists() -> Row {
    let name = RecordListName { kind: "Observation".into(), confidentiality: 6 };
    put(keys::record_lists(&PATIENT), &RecordListsState { lists: vec![name] })
}

fn registered() -> Row {
    registered_for(None)
}

fn registered_for(scope: Option<pb::RepresentativeScope>) -> Row {
    let acceptance = PatientAcceptance {
        identity: SELF.into(),
        member: "a.example".into(),
        relation: pb::PatientRelation::Self_.into(),
        may_read: true,
        to_ms: u64::MAX,
        scope,
        ..PatientAcceptance::default()
    };
    let state = PatientState { member: "a.example".into(), acceptances: vec![acceptance], ..PatientState::default() };
    put(keys::patient(&PATIENT), &state)
}

/// What a reader gets: nothing, or the rows, and whether the names of the lists are among them.
fn shown(chain: &Chain, reader: &str) -> Option<bool> {
    let ledger = chain.store.snapshot().unwrap();
    let answer = read_patient(&ledger, &reader.parse().unwrap(), &PATIENT).unwrap()?;
    assert!(answer.patient.is_some() && answer.consent_list.is_some());
    let names = answer.record_lists?;
    let proof = StateProof::decode(&names.proof).unwrap();
    let value = Some(&*names.value).filter(|value| !value.is_empty());
    verify_state_proof(&ledger.tip_header().state_root, &names.key, value, &proof).unwrap();
    Some(!names.value.is_empty())
}

#[test]
fn of_what_kinds_records_are_is_told_to_the_patient_and_auditors_alone() {
    let mut chain = Chain::start();
    chain.write(vec![registered(), lists()]);
    for reader in ["spiffe://a.example/service/ehr", "spiffe://b.example/service/ehr", "spiffe://b.example/clinician/c"]
    {
        let ledger = chain.store.snapshot().unwrap();
        let answer = read_patient(&ledger, &reader.parse().unwrap(), &PATIENT).unwrap().unwrap();
        assert_eq!(answer.record_lists, None, "{reader}");
        let told = answer.encode_to_vec();
        assert!(!told.windows(11).any(|part| part == b"Observation"), "{reader}");
        // Nor, by its bytes, whether there are any.
        let mut none = Chain::start();
        none.write(vec![registered()]);
        let without = read_patient(&none.store.snapshot().unwrap(), &reader.parse().unwrap(), &PATIENT).unwrap();
        let without = without.unwrap();
        let values = |answer: &pb::GetPatientResponse| {
            [&answer.patient, &answer.consent_list].map(|row| row.as_ref().map(|row| row.value.clone()))
        };
        assert_eq!(values(&answer), values(&without), "{reader}");
    }
    assert_eq!([SELF, AUDITOR].map(|reader| shown(&chain, reader)), [Some(true); 2]);
}

#[test]
fn who_speaks_for_some_records_is_not_shown_what_tells_of_all() {
    let conditions = pb::RepresentativeScope { kinds: vec!["Condition".into()], ..Default::default() };
    let purposes = vec![pb::PurposeOfUse::Treat.into()];
    let treatment = pb::RepresentativeScope { purposes, ..Default::default() };
    for (scope, all) in [(conditions, false), (treatment, true)] {
        let mut chain = Chain::start();
        chain.write(vec![registered_for(Some(scope)), lists()]);
        let (ledger, reader) = (chain.store.snapshot().unwrap(), SELF.parse().unwrap());
        let shown = |what| may(&ledger, &reader, &PATIENT, what).unwrap();
        assert_eq!([What::Patient, What::AccessLog, What::RecordLists].map(shown), [true, all, all]);
        let answer = read_patient(&ledger, &reader, &PATIENT).unwrap().unwrap();
        assert!(answer.patient.is_some() && answer.record_lists.is_some() == all);
    }
}

#[test]
fn who_cares_is_told_of_every_member_to_the_patient_and_auditors_alone() {
    let scope = pb::RepresentativeScope { kinds: vec!["Condition".into()], ..Default::default() };
    let roster = RosterState { members: vec!["a.example".into(), "b.example".into()], ..Default::default() };
    let care = CareState { to_ms: 9, author: "spiffe://b.example/service/ehr".into(), ..Default::default() };
    let care = put(keys::care(&CareName::new(PATIENT, "b.example")), &care);
    let rows = |scope| vec![registered_for(scope), put(keys::roster(), &roster), care.clone()];
    let [mut whole, mut part] = [0, 1].map(|_| Chain::start());
    whole.write(rows(None));
    part.write(rows(Some(scope)));
    let asked = |chain: &Chain, reader: &str| {
        let ledger = chain.store.snapshot().unwrap();
        let answer = read_patient(&ledger, &reader.parse().unwrap(), &PATIENT).unwrap().unwrap();
        let told = answer.encode_to_vec();
        let named = told.windows(10).any(|part| part == b"b.example/");
        (answer.roster.is_some(), answer.care.iter().map(|row| row.value.is_empty()).collect::<Vec<_>>(), named)
    };
    for reader in [SELF, AUDITOR] {
        assert_eq!(asked(&whole, reader), (true, vec![true, false], true), "{reader}");
    }
    for reader in ["spiffe://a.example/service/ehr", "spiffe://b.example/clinician/c"] {
        assert_eq!(asked(&whole, reader), (false, Vec::new(), false), "{reader}");
    }
    assert_eq!(asked(&part, SELF), (false, Vec::new(), false), "who speaks for some records");
}

#[test]
fn that_there_are_records_of_somebody_unknown_is_not_told() {
    let mut chain = Chain::start();
    chain.write(vec![lists()]);
    let readers = ["spiffe://a.example/service/ehr", "spiffe://b.example/clinician/c", SELF];
    assert_eq!(readers.map(|reader| shown(&chain, reader)), [None; 3]);
    assert_eq!(shown(&chain, AUDITOR), Some(true));
    let nothing: Option<Bytes> = None;
    chain.write(vec![row(Table::State, keys::record_lists(&PATIENT), nothing)]);
    assert_eq!(shown(&chain, AUDITOR), None);
}
