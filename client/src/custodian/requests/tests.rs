#![allow(clippy::unwrap_used)]

use consilium_proto::record::version_hash;
use consilium_proto::state::WrapRequestName;
use consilium_proto::state_tree::StateProof;

use super::*;
use crate::access_log::tests::{State, fault};

const OWN: &str = "a.example";
const RECORD: RecordId = RecordId([6; 16]);
const KEY: KeyId = KeyId::from_bytes([1; 32]);

fn request(number: u64) -> Vec<u8> {
    keys::wrap_request(&WrapRequestName::new(OWN, number))
}

/// Requests for record 6 with these numbers, and one of another member.
fn state(numbers: &[u64], open: u64) -> State {
    let request_of_6 = pb::WrapRequestState { record_id: vec![6; 16].into(), version: 1, ..Default::default() };
    let state = State::default()
        .with(keys::custody_work(OWN), &pb::CustodyWorkState { next: 9, open, versions: 1, patients: 0 })
        .with(keys::wrap_request(&WrapRequestName::new("b.example", 4)), &request_of_6);
    numbers.iter().fold(state, |state, number| state.with(request(*number), &request_of_6))
}

fn query(from_number: u64, as_deputy: bool) -> WrapQuery {
    WrapQuery {
        member: OWN.parse().unwrap(),
        as_deputy,
        from_number,
        own_keys: Vec::new(),
        at_least: Height(0),
        wait: Duration::ZERO,
    }
}

/// What a node shows of a state, by the keys of the rows.
fn ask(state: &State, query: &WrapQuery, rows: Vec<Vec<u8>>) -> Result<Vec<u64>, ClientError> {
    let requests: Vec<_> = rows.into_iter().map(|key| state.row(key)).collect();
    let (own_wraps, versions) = (vec![Default::default(); requests.len()], vec![Default::default(); requests.len()]);
    let work = Some(state.row(keys::custody_work(OWN)));
    let answer = pb::ListWrapRequestsResponse { requests, header: None, own_wraps, work, versions };
    let page = check(query, &answer, &state.header())?;
    Ok(page.requests.iter().map(|request| request.number).collect())
}

#[test]
fn requests_for_wraps_are_of_the_own_member_and_in_order() {
    let state = state(&[3, 5], 2);
    assert_eq!(ask(&state, &query(3, false), vec![request(3), request(5)]).unwrap(), [3, 5]);
    let theirs = keys::wrap_request(&WrapRequestName::new("b.example", 4));
    for bad in [vec![theirs], vec![request(5), request(3)], vec![request(3), request(3)]] {
        assert!(matches!(fault(ask(&state, &query(0, true), bad)), LogFault::OtherRow(_)));
    }
    assert!(ask(&state, &query(4, false), vec![request(3)]).is_err());
    assert!(ask(&state, &query(0, false), vec![request(9)]).is_err(), "there is no such request");
}

#[test]
fn whoever_may_see_all_is_shown_all() {
    let state = state(&[3, 5], 2);
    assert_eq!(ask(&state, &query(0, false), vec![request(3), request(5)]).unwrap().len(), 2);
    for hidden in [vec![], vec![request(3)], vec![request(5)]] {
        assert!(ask(&state, &query(0, false), hidden.clone()).is_err(), "some wait that are not shown");
        assert!(ask(&state, &query(0, true), hidden).is_ok(), "a deputy sees only some");
    }
    assert!(ask(&state, &query(4, false), vec![request(5)]).is_ok(), "the first one is behind");
}

fn version(wrap: &[u8]) -> pb::RecordVersion {
    let recipient_key_id = KEY.to_bytes();
    let wraps = vec![pb::KeyWrapRef { recipient_key_id, wrap_sha256: Bytes::copy_from_slice(&sha256(&[wrap])) }];
    pb::RecordVersion { record_id: vec![6; 16].into(), version: 1, wraps, ..pb::RecordVersion::default() }
}

#[test]
fn a_wrap_that_a_version_was_written_with_is_held_against_the_version() {
    let true_version = version(b"wrap");
    let hash = Bytes::copy_from_slice(&version_hash(&true_version));
    let row = pb::RecordState { member: OWN.into(), version: 1, version_sha256: hash, ..Default::default() };
    let state = State::default().with(keys::record(&RECORD), &row);
    let shown = |version: &pb::RecordVersion, wrap: &'static [u8], key: KeyId| {
        let row = state.row(keys::record(&RECORD));
        let contents = vec![consilium_proto::record::content_hash(version)];
        let state_proof = StateProof::decode(&row.proof).unwrap();
        let proof = RecordProof { state: row.value, state_proof, contents, authors: Vec::new() };
        let committed = pb::CommittedVersion { record: Some(version.clone()), proof: Some((&proof).into()) };
        let wrap =
            pb::KeyWrap { recipient_key_id: key.to_bytes(), wrap: Bytes::from_static(wrap), ..pb::KeyWrap::default() };
        check_own_wrap((&RECORD, 1), &wrap, Some(&committed), &state.header())
    };
    assert_eq!(shown(&true_version, b"wrap", KEY), Ok(()));
    assert!(shown(&true_version, b"another", KEY).is_err());
    assert!(shown(&version(b"another"), b"another", KEY).is_err(), "the state has another version");
    assert!(shown(&true_version, b"wrap", KeyId::from_bytes([2; 32])).is_err(), "it is of another key");
}

#[test]
fn a_wrap_that_was_added_is_held_against_its_row_and_none_at_all_is_believed() {
    let place = keys::wrap_state(&WrapName { record: RECORD, version: 1, recipient: KEY });
    let added = |hash: Bytes| pb::WrapState { wrap_sha256: hash, ..pb::WrapState::default() };
    let state = State::default().with(place.clone(), &added(Bytes::copy_from_slice(&sha256(&[b"wrap"]))));
    let shown = |wrap: &'static [u8], row: pb::ProvenRow| {
        let wrap = pb::KeyWrap {
            recipient_key_id: KEY.to_bytes(),
            wrap: Bytes::from_static(wrap),
            state: row.value,
            state_proof: row.proof,
        };
        check_own_wrap((&RECORD, 1), &wrap, Some(&pb::CommittedVersion::default()), &state.header())
    };
    assert_eq!(shown(b"wrap", state.row(place.clone())), Ok(()));
    assert!(shown(b"another", state.row(place.clone())).is_err());
    let made_up = State::default().with(place.clone(), &added(Bytes::copy_from_slice(&sha256(&[b"another"]))));
    assert!(shown(b"another", made_up.row(place.clone())).is_err(), "of no state that is certified");
    assert_eq!(shown(b"", pb::ProvenRow::default()), Ok(()), "the node says that it has none");
}
