//! What is believed of a patient's rows.

use consilium_proto::state::{CareName, SaltName};

use super::*;

fn reader() -> SpiffeId {
    "spiffe://a.example/service/ehr".parse().unwrap()
}

fn salt_state() -> pb::PatientSaltState {
    let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[SALT_WRAP]));
    let keepers = vec![pb::SaltWrap { recipient_key_id: vec![3; 32].into(), wrap_sha256 }];
    pb::PatientSaltState { salts: vec![pb::PatientSalt { salt_id: vec![4; 16].into(), keepers, height: 1 }] }
}

/// The members of the roster.
const CARERS: [&str; 3] = ["a.example", "b.example", "c.example"];

fn patient_state() -> (State, pb::GetPatientResponse) {
    let entry = |id: u8| pb::ConsentListEntry { consent_id: vec![id; 16].into(), ..Default::default() };
    let link = pb::PatientLink { other: vec![8; 16].into(), member: "a.example".into(), ..Default::default() };
    let patient = pb::PatientState { member: "a.example".into(), links: vec![link], ..Default::default() };
    let state = State::default()
        .with(keys::patient(&PATIENT), &patient)
        .with(keys::consent_list(&PATIENT), &pb::ConsentListState { consents: vec![entry(1), entry(2)] })
        .with(keys::consent(&ConsentId([1; 16])), &consent_state())
        .with(keys::consent(&ConsentId([2; 16])), &consent_state())
        .with(keys::patient_salt(&SaltName::new(PATIENT, "a.example")), &salt_state())
        .with(keys::roster(), &pb::RosterState { members: CARERS.map(String::from).into(), ..Default::default() })
        .with(keys::care(&CareName::new(PATIENT, "b.example")), &pb::CareState { to_ms: 9, ..Default::default() });
    let answer = pb::GetPatientResponse {
        patient: Some(state.row(keys::patient(&PATIENT))),
        consent_list: Some(state.row(keys::consent_list(&PATIENT))),
        consents: [1, 2].map(|id| state.row(keys::consent(&ConsentId([id; 16])))).into(),
        record_lists: Some(state.row(keys::record_lists(&PATIENT))),
        header: None,
        salts: vec![state.row(keys::patient_salt(&SaltName::new(PATIENT, "a.example")))],
        salt_wraps: vec![Bytes::from_static(SALT_WRAP)],
        roster: Some(state.row(keys::roster())),
        care: CARERS.map(|member| state.row(keys::care(&CareName::new(PATIENT, member)))).into(),
    };
    (state, answer)
}

#[test]
fn no_consent_of_a_patient_can_be_hidden_or_swapped() {
    let (state, good) = patient_state();
    let rows = verify::patient_rows(PATIENT, &reader(), &good, state.header()).unwrap();
    assert_eq!((rows.consents.len(), &rows.lists), (2, &Some(Vec::new())));
    let not_shown = pb::GetPatientResponse { record_lists: None, ..good.clone() };
    assert_eq!(verify::patient_rows(PATIENT, &reader(), &not_shown, state.header()).unwrap().lists, None);
    assert_eq!(rows.links(), Ok(vec![(PatientPseudonym([8; 16]), vec!["a.example".to_owned()])]));
    let mut hidden = good.clone();
    hidden.consents.pop();
    let hidden = verify::patient_rows(PATIENT, &reader(), &hidden, state.header());
    assert_eq!(fault(hidden), LogFault::Count { count: 2, shown: 1 });
    let mut swapped = good.clone();
    swapped.consents.swap(0, 1);
    let swapped = verify::patient_rows(PATIENT, &reader(), &swapped, state.header());
    assert!(matches!(fault(swapped), LogFault::OtherRow(_)));
    let mut changed = good.clone();
    changed.consents[0].value = pb::ConsentState { version: 3, ..consent_state() }.encode_to_vec().into();
    let changed = verify::patient_rows(PATIENT, &reader(), &changed, state.header());
    assert!(matches!(fault(changed), LogFault::Row { .. }));
    let mut denied = good;
    denied.consent_list = Some(pb::ProvenRow { value: Bytes::new(), ..denied.consent_list.unwrap() });
    denied.consents.clear();
    let denied = verify::patient_rows(PATIENT, &reader(), &denied, state.header());
    assert!(matches!(fault(denied), LogFault::Row { .. }));
}

#[test]
fn no_salt_of_a_patient_can_be_hidden_or_put_in() {
    let (state, good) = patient_state();
    let rows = verify::patient_rows(PATIENT, &reader(), &good, state.header()).unwrap();
    assert_eq!(rows.salts, [MemberSalts { member: "a.example".into(), salts: salt_state().salts }]);
    assert_eq!(rows.salt_wraps, [SALT_WRAP]);
    let hidden = pb::GetPatientResponse { salts: Vec::new(), ..good.clone() };
    let hidden = verify::patient_rows(PATIENT, &reader(), &hidden, state.header());
    assert_eq!(fault(hidden), LogFault::Count { count: 1, shown: 0 });
    let of_other = vec![state.row(keys::patient_salt(&SaltName::new(PATIENT, "b.example")))];
    let of_other = pb::GetPatientResponse { salts: of_other, ..good.clone() };
    let of_other = verify::patient_rows(PATIENT, &reader(), &of_other, state.header());
    assert!(matches!(fault(of_other), LogFault::OtherRow(_)));
    let false_wrap = pb::GetPatientResponse { salt_wraps: vec![Bytes::from_static(b"another")], ..good };
    let false_wrap = verify::patient_rows(PATIENT, &reader(), &false_wrap, state.header());
    assert!(matches!(false_wrap, Err(ClientError::Verification(Unverified::Contradiction(_)))), "{false_wrap:?}");
}

#[test]
fn no_member_that_cares_can_be_hidden_or_put_in() {
    let (state, good) = patient_state();
    let checked = |change: &dyn Fn(&mut pb::GetPatientResponse)| {
        let mut answer = good.clone();
        change(&mut answer);
        verify::patient_rows(PATIENT, &reader(), &answer, state.header())
    };
    let cares = pb::CareState { to_ms: 9, ..Default::default() };
    let cares = vec![MemberCare { member: "b.example".into(), state: cares }];
    assert_eq!(checked(&|_| ()).unwrap().care, Some(cares));
    let not_shown = checked(&|answer| (answer.roster, answer.care) = (None, Vec::new()));
    assert_eq!(not_shown.unwrap().care, None);
    let hidden = checked(&|answer| drop(answer.care.remove(1)));
    assert_eq!(fault(hidden), LogFault::Count { count: 3, shown: 2 });
    let swapped = checked(&|answer| answer.care.swap(0, 1));
    assert!(matches!(fault(swapped), LogFault::OtherRow(_)));
    let emptied = checked(&|answer| answer.care[1].value = Bytes::new());
    assert!(matches!(fault(emptied), LogFault::Row { .. }));
    let put_in = checked(&|answer| answer.care[0].value = answer.care[1].value.clone());
    assert!(matches!(fault(put_in), LogFault::Row { .. }));
    let shorter = pb::RosterState { members: vec!["a.example".into()], ..Default::default() };
    let shorter = checked(&|answer| {
        answer.roster.as_mut().unwrap().value = shorter.encode_to_vec().into();
        answer.care.truncate(1);
    });
    assert!(matches!(fault(shorter), LogFault::Row { .. }));
}

#[test]
fn a_list_that_has_become_empty_is_a_row_all_the_same() {
    let state = State::default().with(keys::consent_list(&PATIENT), &pb::ConsentListState::default());
    let row = |key| Some(state.row(key));
    let answer = pb::GetPatientResponse {
        patient: row(keys::patient(&PATIENT)),
        consent_list: row(keys::consent_list(&PATIENT)),
        consents: Vec::new(),
        record_lists: row(keys::record_lists(&PATIENT)),
        header: None,
        salts: vec![state.row(keys::patient_salt(&SaltName::new(PATIENT, "a.example")))],
        salt_wraps: Vec::new(),
        roster: None,
        care: Vec::new(),
    };
    let rows = verify::patient_rows(PATIENT, &reader(), &answer, state.header()).unwrap();
    assert_eq!((rows.state, rows.consents.len()), (None, 0));
}
