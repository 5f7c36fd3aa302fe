//! Changes of a store, as each of its readers is told of them.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use consilium_ledger::Row;

use super::*;
use crate::storage::snapshot::tests::{Chain, row};

const CLERK: &str = "spiffe://a.example/clinician/clerk";
const OTHER: &str = "spiffe://a.example/clinician/other";
const EHR: &str = "spiffe://a.example/service/ehr";
const GUEST: &str = "spiffe://b.example/clinician/guest";

fn put(table: Table, key: Vec<u8>, message: &impl Message) -> Row {
    row(table, key, Some(message.encode_to_vec().into()))
}

fn read(record: u8, by: &str, version: u32, height: u64) -> Row {
    let key = keys::index_read(&RecordId([record; 16]), &by.parse().unwrap(), version);
    put(Table::Index, key, &VersionRead { version, reader: by.into(), height, ..VersionRead::default() })
}

fn change(record: u8, version: u32, height: u64) -> [Row; 2] {
    let id = RecordId([record; 16]);
    let state = RecordChangeState { version, height, ..RecordChangeState::default() };
    let entry = row(Table::Index, keys::index_change(Height(height), &id), Some(Bytes::new()));
    [put(Table::State, keys::record_change(&id), &state), entry]
}

fn place(height: u64, record: Option<u8>) -> Place {
    Place { height: Height(height), record: record.map(|record| RecordId([record; 16])) }
}

/// Of a record, which version who has read.
type Read = (u8, Vec<(u32, String)>);

/// Of each record that a reader is told of, the versions and readers; up to where, and if more.
fn told(chain: &Chain, reader: &str, (after, last, page): (Place, u64, usize)) -> (Vec<Read>, Place, bool) {
    let ledger = chain.store.snapshot().unwrap();
    let found = changes_for(&ledger, &reader.parse().unwrap(), (after, Height(last)), page).unwrap();
    let reads = |reads: Vec<VersionRead>| reads.into_iter().map(|read| (read.version, read.reader)).collect();
    let records = found.records.into_iter().map(|(record, found)| (record.0[0], reads(found)));
    (records.collect(), found.upto, found.more)
}

/// Record 1 was read by three, amended twice; record 2 read by one and amended; 3 was read by none.
fn chain() -> Chain {
    let mut chain = Chain::start();
    chain.write(vec![read(1, CLERK, 1, 1), read(1, OTHER, 1, 1), read(1, GUEST, 1, 1), read(2, CLERK, 1, 1)]);
    chain.write(change(1, 2, 2).into());
    chain.write(vec![read(1, CLERK, 2, 3)]);
    chain.write(change(1, 3, 4).into_iter().chain(change(2, 2, 4)).chain(change(3, 2, 4)).collect());
    chain
}

#[test]
fn each_reader_is_told_once_of_what_it_has_read_itself() {
    let chain = chain();
    let all = (place(0, None), 9, 64);
    let own = |version, reader: &str| vec![(version, reader.to_owned())];
    let whole = place(9, None);
    assert_eq!(told(&chain, CLERK, all), (vec![(1, own(2, CLERK)), (2, own(1, CLERK))], whole, false));
    assert_eq!(told(&chain, OTHER, all), (vec![(1, own(1, OTHER))], whole, false));
    assert_eq!(told(&chain, GUEST, all), (vec![(1, own(1, GUEST))], whole, false));
    for nobody in ["spiffe://a.example/auditor/x", "spiffe://b.example/service/ehr", "spiffe://c.example/service/ehr"] {
        let expected = if nobody.contains("//b.") { vec![(1, own(1, GUEST))] } else { vec![] };
        assert_eq!(told(&chain, nobody, all), (expected, whole, false), "{nobody}");
    }
    // Of each reader the newest version, in the order of the index.
    let (records, _, _) = told(&chain, EHR, all);
    let mut first = records[0].1.clone();
    first.sort();
    assert_eq!((first, records.len()), (vec![(1, OTHER.to_owned()), (2, CLERK.to_owned())], 2));
}

#[test]
fn a_list_goes_on_where_it_ended_also_within_a_block() {
    let chain = chain();
    let (first, upto, more) = told(&chain, CLERK, (place(0, None), 9, 1));
    assert_eq!((first.len(), upto, more), (1, place(4, Some(1)), true));
    let (second, upto, more) = told(&chain, CLERK, (upto, 9, 1));
    assert_eq!((second[0].0, upto, more), (2, place(4, Some(2)), true));
    assert_eq!(told(&chain, CLERK, (upto, 9, 1)), (vec![], place(9, None), false));
    // What happens later is not told of before.
    assert_eq!(told(&chain, CLERK, (place(0, None), 3, 64)), (vec![], place(3, None), false));
    assert_eq!(told(&chain, CLERK, (place(4, None), 9, 64)), (vec![], place(9, None), false));
}

#[test]
fn who_reads_an_old_version_again_is_told_nevertheless() {
    let mut chain = chain();
    chain.write(vec![read(2, CLERK, 1, 5), read(2, OTHER, 1, 5)]);
    for reader in [CLERK, OTHER] {
        let (records, _, _) = told(&chain, reader, (place(3, None), 9, 64));
        assert!(records.iter().any(|(record, _)| *record == 2), "{reader}: {records:?}");
    }
    assert!(told(&chain, OTHER, (place(4, None), 9, 64)).0.is_empty(), "but not of what it knows");
}

#[test]
fn a_patients_identity_is_told_as_long_as_it_speaks_for_the_patient() {
    let anna = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    let mut chain = Chain::start();
    let read = |version| {
        let (reader, patient) = (anna.clone(), Bytes::from_static(&[1; 16]));
        let key = keys::index_read(&RecordId([1; 16]), &anna.parse().unwrap(), version);
        put(Table::Index, key, &VersionRead { version, reader, patient, height: 1, ..VersionRead::default() })
    };
    let record = RecordState { member: "a.example".into(), ..RecordState::default() };
    chain.write(vec![read(1), put(Table::State, keys::record(&RecordId([1; 16])), &record)]);
    chain.write(change(1, 2, 2).into());
    let known = |chain: &Chain| told(chain, &anna, (place(0, None), 9, 64)).0.len();
    assert_eq!(known(&chain), 0);
    let acceptance = pb::PatientAcceptance {
        member: "a.example".into(),
        identity: anna.clone(),
        relation: pb::PatientRelation::Self_.into(),
        may_read: true,
        ..pb::PatientAcceptance::default()
    };
    let state = PatientState { acceptances: vec![acceptance], ..PatientState::default() };
    let patient = keys::patient(&PatientPseudonym([1; 16]));
    chain.write(vec![put(Table::State, patient.clone(), &state)]);
    assert_eq!(known(&chain), 1);
    let death = |member: &str| pb::PatientDeath { member: member.into(), ..pb::PatientDeath::default() };
    for (member, expected) in [("b.example", 1), ("a.example", 0)] {
        let died = PatientState { deaths: vec![death(member)], ..state.clone() };
        chain.write(vec![put(Table::State, patient.clone(), &died)]);
        assert_eq!(known(&chain), expected, "{member} says that she has died");
    }
}

#[test]
fn a_stream_is_told_that_there_is_something_and_looks_at_a_bounded_number() {
    let mut chain = chain();
    let any = |chain: &Chain, reader: &str, told, last| {
        any_for(&chain.store.snapshot().unwrap(), &reader.parse().unwrap(), (Height(told), Height(last))).unwrap()
    };
    assert!(any(&chain, CLERK, 3, 4) && !any(&chain, CLERK, 4, 9) && !any(&chain, CLERK, 0, 3));
    assert!(!any(&chain, "spiffe://a.example/auditor/x", 0, 9));
    let entry = |n: usize| {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        row(Table::Index, keys::index_change(Height(5), &RecordId(id)), Some(Bytes::new()))
    };
    chain.write((0..=EXAMINED_MAX).map(entry).collect());
    assert!(any(&chain, "spiffe://a.example/auditor/x", 4, 5), "more than it looks at: the list tells");
    assert!(told(&chain, CLERK, (place(4, None), 9, 64)).2);
}
