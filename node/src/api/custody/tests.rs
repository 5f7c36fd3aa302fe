//! What a deputy is shown.
#![allow(clippy::unwrap_used)]

use consilium_ledger::Row;
use consilium_proto::pb::{CustodyState, WrapRequestState};
use prost::Message;

use super::*;
use crate::storage::snapshot::tests::{Chain, row};

fn custody(member: &str, deputy: &str) -> Row {
    let custodian = format!("spiffe://{member}/service/custodian");
    let state = CustodyState { custodian, deputy: deputy.into(), ..CustodyState::default() };
    row(Table::State, keys::custody(member), Some(state.encode_to_vec().into()))
}

/// A request for version 1 of record `record`, which there is if `written`.
fn request(number: u64, record: u8, emergency: bool, written: bool) -> Vec<Row> {
    let id = RecordId([record; 16]);
    let state = WrapRequestState {
        record_id: id.0.to_vec().into(),
        version: 1,
        emergency_id: if emergency { vec![9; 16].into() } else { Bytes::new() },
        ..WrapRequestState::default()
    };
    let place = keys::wrap_request(&WrapRequestName::new("a.example", number));
    let mut rows = vec![row(Table::State, place, Some(state.encode_to_vec().into()))];
    if emergency {
        let entry = keys::index_entry(keys::index_emergency_requests("a.example"), number);
        rows.push(row(Table::Index, entry, Some(Bytes::new())));
    }
    if written {
        let version = RecordVersion { record_id: id.0.to_vec().into(), version: 1, ..RecordVersion::default() };
        rows.push(row(Table::Versions, keys::version(&id, 1), Some(version.encode_to_vec().into())));
    }
    rows
}

/// The ordinary requests are for versions that are not there: who looks at one of them fails.
#[test]
fn a_deputy_is_shown_emergencies_and_nothing_else_is_looked_at_for_it() {
    let mut chain = Chain::start();
    let mut rows = vec![custody("a.example", "c.example"), custody("c.example", "")];
    for number in 0..40 {
        rows.extend(request(number, 1, false, false));
    }
    rows.extend((40..43).flat_map(|number| request(number, 2, true, true)));
    chain.write(rows);
    let ledger = chain.store.snapshot().unwrap();
    let shown = |by: &str, from_number, page| {
        let member = MemberId::parse("member", "a.example").unwrap();
        let asked = AskedList { member, from_number, page, own_keys: Vec::new() };
        let by: SpiffeId = by.parse().unwrap();
        let (answer, _) = asked.read(&ledger, &by)?.unwrap();
        let number = |row: &pb::ProvenRow| u64::from_be_bytes(*row.key.last_chunk().unwrap());
        Ok::<Vec<u64>, StorageError>(answer.requests.iter().map(number).collect())
    };
    let deputy = "spiffe://c.example/service/custodian";
    assert_eq!(shown(deputy, 0, 64).unwrap(), [40, 41, 42]);
    assert_eq!((shown(deputy, 0, 2).unwrap(), shown(deputy, 42, 2).unwrap()), (vec![40, 41], vec![42]));
    assert_eq!(shown(deputy, 43, 64).unwrap(), [0; 0]);
    let own = "spiffe://a.example/service/custodian";
    assert_eq!(shown(own, 41, 1).unwrap(), [41]);
    assert!(shown(own, 0, 64).is_err(), "it is shown all");
}
