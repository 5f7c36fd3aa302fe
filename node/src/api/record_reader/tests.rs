//! What is said of records to whoever names them.
#![allow(clippy::unwrap_used)]

use consilium_ledger::Row;
use consilium_proto::pb::{CustodyKeeper, CustodyState, RosterState};
use prost::Message;

use super::*;
use crate::storage::snapshot::tests::{Chain, row};

const RECORD: RecordId = RecordId([1; 16]);

fn put(table: Table, key: Vec<u8>, message: &impl Message) -> Row {
    row(table, key, Some(message.encode_to_vec().into()))
}

/// How many versions are shown to somebody who names the record, and whether a list shows it.
fn shown(chain: &Chain, reader: &str) -> (Option<u32>, usize, bool) {
    let ledger = chain.store.snapshot().unwrap();
    let reader = reader.parse().unwrap();
    let mut records = RecordReader::new(&ledger, &reader);
    let newest = records.get(&RECORD, 0).unwrap().map(|said| said.record.version);
    let history = records.history(&RECORD, (1, 9)).unwrap().0.len();
    (newest, history, records.newest(&RECORD, |_, _| true).unwrap().is_some())
}

#[test]
fn who_keeps_a_record_is_told_of_it_where_it_names_it() {
    let state = RecordState { member: "a.example".into(), version: 1, ..RecordState::default() };
    let version = RecordVersion { version: 1, ..RecordVersion::default() };
    let mut chain = Chain::start();
    chain.write(vec![
        put(Table::State, keys::record(&RECORD), &state),
        put(Table::Versions, keys::version(&RECORD, 1), &version),
        put(Table::State, keys::roster(), &RosterState::default()),
    ]);
    let (wrote, keeps) = ("spiffe://a.example/service/ehr", "spiffe://c.example/service/ehr");
    assert_eq!((shown(&chain, wrote), shown(&chain, keeps)), ((Some(1), 1, true), (None, 0, false)));
    let keepers = vec![CustodyKeeper { member: "c.example".into(), since_height: 1 }];
    let kept_members = vec!["a.example".to_owned()];
    chain.write(vec![
        put(Table::State, keys::custody("a.example"), &CustodyState { keepers, ..CustodyState::default() }),
        put(Table::State, keys::roster(), &RosterState { kept_members, ..RosterState::default() }),
    ]);
    // Lists are for those who wrote.
    assert_eq!(shown(&chain, keeps), (Some(1), 1, false));
    for other in ["spiffe://d.example/service/ehr", "spiffe://c.example/researcher/r", "spiffe://c.example/admin/a"] {
        assert_eq!(shown(&chain, other), (None, 0, false), "{other}");
    }
}
