//! Petitions that members were asked, as those see them who answer.
#![allow(clippy::unwrap_used)]

use consilium_ledger::Row;
use consilium_proto::pb::{CustodyKeeper, CustodyState, PatientDeath, PetitionKind, RosterState};
use prost::Message;

use super::*;
use crate::storage::snapshot::tests::{Chain, row};

const KEEPS: &str = "spiffe://c.example/service/ehr";
const OTHER: &str = "spiffe://d.example/service/ehr";
const PATIENT: PatientPseudonym = PatientPseudonym([1; 16]);

fn put(table: Table, key: Vec<u8>, message: &impl Message) -> Row {
    row(table, key, Some(message.encode_to_vec().into()))
}

fn anna() -> String {
    format!("spiffe://b.example/patient/{}", "0a".repeat(16))
}

/// A petition, the so many-th of the ledger, and the entry of the list of the member that is asked.
fn asked(petition: u8, member: &str, kind: PetitionKind) -> [Row; 2] {
    let id = PetitionId([petition; 16]);
    let patient = Bytes::copy_from_slice(&PATIENT.0);
    let state =
        PetitionState { patient, member: member.into(), kind: kind.into(), author: anna(), ..PetitionState::default() };
    let entry = keys::index_entry(keys::index_petitions_to(member), petition.into());
    let listed = row(Table::Index, entry, Some(Bytes::copy_from_slice(&id.0)));
    [put(Table::State, keys::petition(&id), &state), listed]
}

/// Members that have left, each with who has kept its records since, in order.
fn left(members: &[(&str, &[&str])]) -> Vec<Row> {
    let keeper = |member: &&str| CustodyKeeper { member: (*member).to_owned(), since_height: 1 };
    let custody =
        |keepers: &[&str]| CustodyState { keepers: keepers.iter().map(keeper).collect(), ..CustodyState::default() };
    let mut rows: Vec<_> =
        members.iter().map(|(member, keepers)| put(Table::State, keys::custody(member), &custody(keepers))).collect();
    let kept_members = members.iter().map(|(member, _)| (*member).to_owned()).collect();
    rows.push(put(Table::State, keys::roster(), &RosterState { kept_members, ..RosterState::default() }));
    rows
}

/// Petitions of three members, one after the other.
fn chain() -> Chain {
    let mut chain = Chain::start();
    let asked = ["a.example", "c.example", "b.example", "a.example", "c.example"].into_iter().zip(1..);
    chain.write(asked.flat_map(|(member, n)| asked_of(member, n)).chain(left(&[])).collect());
    chain
}

fn asked_of(member: &str, petition: u8) -> [Row; 2] {
    asked(petition, member, PetitionKind::Correction)
}

/// What a reader is shown of what members were asked that it answers for: from a place on, so many.
fn shown(chain: &Chain, reader: &str, (from, page): (u64, usize)) -> (Vec<u8>, Option<u64>) {
    let ledger = chain.store.snapshot().unwrap();
    let (reader, kept): (SpiffeId, _) = (reader.parse().unwrap(), kept(&ledger).unwrap());
    let prefixes: Vec<_> = kept.of(reader.member().as_str()).map(keys::index_petitions_to).collect();
    let answer = list(&ledger, (&reader, &kept), (&prefixes, from), page).unwrap();
    let next = answer.next_page_token.last_chunk().copied().map(u64::from_be_bytes);
    (answer.petitions.iter().map(|row| row.key[1]).collect(), next)
}

#[test]
fn the_successor_is_shown_what_was_asked_of_those_whose_records_it_keeps_in_one_order() {
    let mut chain = chain();
    assert_eq!(shown(&chain, KEEPS, (0, 64)), (vec![2, 5], None));
    chain.write(left(&[("a.example", &["c.example"])]));
    assert_eq!(shown(&chain, KEEPS, (0, 64)), (vec![1, 2, 4, 5], None));
    assert_eq!(shown(&chain, KEEPS, (0, 2)), (vec![1, 2], Some(4)));
    assert_eq!(shown(&chain, KEEPS, (4, 2)), (vec![4, 5], None));
    assert_eq!(shown(&chain, OTHER, (0, 64)), (vec![], None));
    // And so is who follows that one; who was there between is it no more.
    chain.write(left(&[("a.example", &["c.example", "d.example"]), ("b.example", &["d.example"])]));
    assert_eq!(shown(&chain, OTHER, (0, 64)), (vec![1, 3, 4], None));
    assert_eq!(shown(&chain, KEEPS, (0, 64)), (vec![2, 5], None));
}

#[test]
fn what_concerns_people_of_who_left_is_for_who_may_see_it_at_the_successor() {
    let mut chain = chain();
    chain.write(asked(6, "a.example", PetitionKind::Complaint).into());
    chain.write(left(&[("a.example", &["c.example"])]));
    assert_eq!(shown(&chain, KEEPS, (6, 64)), (vec![6], None));
    assert_eq!(shown(&chain, "spiffe://c.example/clinician/doctor", (0, 64)), (vec![1, 2, 4, 5], None));
    assert_eq!(shown(&chain, "spiffe://c.example/admin/root", (0, 64)), (vec![], None));
}

#[test]
fn a_key_loses_its_petitions_by_a_death_that_whoever_answers_now_attests() {
    let mut chain = chain();
    let sees = |chain: &Chain| {
        let ledger = chain.store.snapshot().unwrap();
        let state: PetitionState = ledger.state(&keys::petition(&PetitionId([1; 16]))).unwrap().unwrap();
        may_see(&ledger, (&anna().parse().unwrap(), &kept(&ledger).unwrap()), &state).unwrap()
    };
    let death = PatientDeath { member: "c.example".into(), ..PatientDeath::default() };
    chain.write(vec![put(
        Table::State,
        keys::patient(&PATIENT),
        &PatientState { deaths: vec![death], ..PatientState::default() },
    )]);
    assert!(sees(&chain), "it is not hospital c's to say");
    chain.write(left(&[("a.example", &["c.example"])]));
    assert!(!sees(&chain));
}
