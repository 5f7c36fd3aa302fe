//! Wraps for readers: asked for by permits, made by the custodian, and only while permitted.

use super::*;
use consilium_kit::identity_rules::list;
use consilium_proto::state::{WrapName, WrapRequestName};

fn wrap(w: &World, request: u64, record: u8, reader: &str) -> (pb::AddWraps, Vec<Bytes>) {
    let content = Bytes::from_static(b"for the reader");
    let added = pb::AddedWrap {
        request,
        record_id: id(record),
        version: 1,
        recipient_key_id: w.keys[reader].to_bytes(),
        wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
    };
    (pb::AddWraps { wraps: vec![added], ..pb::AddWraps::default() }, vec![content])
}

fn add(w: &mut World, by: &str, (add, attachments): (pb::AddWraps, Vec<Bytes>)) -> Outcome {
    w.all_by(by, vec![Action::AddWraps(add)], attachments)
}

fn open(w: &World, member: &str) -> u64 {
    let work: Option<pb::CustodyWorkState> = w.ledger.store.message(Table::State, &keys::custody_work(member));
    work.unwrap_or_default().open
}

fn state(w: &World, record: u8, reader: &str) -> Option<pb::WrapState> {
    let record = consilium_proto::ids::RecordId([record; 16]);
    let name = WrapName { record, version: 1, recipient: w.keys[reader] };
    w.ledger.store.message(Table::State, &keys::wrap_state(&name))
}

fn shared() -> (World, String, String) {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, share_with_b()), Outcome::Applied);
    (w, name(B, "clinician", "c1"), name(A, "service", "custodian"))
}

#[test]
fn a_permit_asks_once_and_the_custodian_answers_once() {
    let (mut w, doctor, custodian) = shared();
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(open(&w, A), 1, "the second request asks for the same");
    let request: pb::WrapRequestState =
        w.ledger.store.message(Table::State, &keys::wrap_request(&WrapRequestName::new(A, 0))).unwrap();
    assert_eq!((request.reader.as_str(), &request.record_id), (doctor.as_str(), &id(1)));
    let answer = wrap(&w, 0, 1, &doctor);
    assert_eq!(add(&mut w, &custodian, answer.clone()), Outcome::Applied);
    assert_eq!(open(&w, A), 0);
    assert_eq!(state(&w, 1, &doctor).unwrap().wrap_sha256, answer.0.wraps[0].wrap_sha256);
    assert_eq!(add(&mut w, &custodian, answer), Outcome::WrapNotRequested, "a second custodian comes too late");
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(open(&w, A), 0, "it is wrapped for the reader");
}

#[test]
fn denials_ask_for_nothing() {
    let (mut w, _, _) = shared();
    let reader = name(B, "clinician", "c1");
    w.revoke(&name(A, "service", "ehr"), 1);
    assert_eq!(w.ground(&reader, read(1)), Ground::ConsentDenies);
    assert_eq!((open(&w, A), state(&w, 1, &reader)), (0, None));
}

#[test]
fn what_is_not_permitted_any_more_is_dropped_and_not_wrapped() {
    let (mut w, doctor, custodian) = shared();
    w.ask(&doctor, read(1));
    let dropped = || (pb::AddWraps { dropped: vec![0], ..pb::AddWraps::default() }, vec![]);
    assert_eq!(add(&mut w, &custodian, dropped()), Outcome::AccessEnded, "it is permitted");
    w.revoke(&name(A, "service", "ehr"), 1);
    let answer = wrap(&w, 0, 1, &doctor);
    assert_eq!(add(&mut w, &custodian, answer), Outcome::AccessEnded);
    let stored = keys::wrap(&consilium_proto::ids::RecordId([1; 16]), 1, &w.keys[&doctor]);
    assert!(!w.ledger.store.0.contains_key(&(Table::Wraps, stored)), "nothing of it is stored");
    assert_eq!(add(&mut w, &custodian, dropped()), Outcome::Applied);
    assert_eq!((open(&w, A), state(&w, 1, &doctor)), (0, None));
}

#[test]
fn only_the_custodian_of_the_record_answers_and_only_what_was_asked() {
    let (mut w, doctor, custodian) = shared();
    w.ask(&doctor, read(1));
    let answer = wrap(&w, 0, 1, &doctor);
    assert_eq!(add(&mut w, &name(A, "service", "ehr"), answer.clone()), Outcome::CustodianRefused);
    assert_eq!(add(&mut w, &name(B, "service", "custodian"), answer.clone()), Outcome::WrapNotRequested);
    let for_another = wrap(&w, 0, 1, &name(B, "clinician", "c2"));
    assert_eq!(add(&mut w, &custodian, for_another), Outcome::WrapNotRequested);
    let another = wrap(&w, 0, 2, &doctor);
    assert_eq!(add(&mut w, &custodian, another), Outcome::WrapNotRequested);
    assert_eq!(add(&mut w, &custodian, answer), Outcome::Applied);
}

#[test]
fn an_emergency_that_is_over_wraps_nothing() {
    let (mut w, _, custodian) = shared();
    w.revoke(&name(A, "service", "ehr"), 1);
    let doctor = name(B, "clinician", "c1");
    let declare = pb::DeclareEmergency {
        emergency_id: id(1),
        patient: id(1),
        reason: pb::EmergencyReason::Danger.into(),
        ..pb::DeclareEmergency::default()
    };
    let request = pb::RequestAccess { purpose: Purpose::Btg.into(), emergency_id: id(1), ..read(1) };
    let actions = vec![Action::DeclareEmergency(declare), Action::RequestAccess(request)];
    assert_eq!(w.all_by(&doctor, actions, vec![]), Outcome::Applied);
    assert_eq!(open(&w, A), 1);
    let later = w.now() + DAY;
    w.wait_until(later);
    let answer = wrap(&w, 0, 1, &doctor);
    assert_eq!(add(&mut w, &custodian, answer), Outcome::AccessEnded);
}

#[test]
fn what_claims_to_answer_emergencies_answers_nothing_else() {
    let (mut w, doctor, custodian) = shared();
    w.ask(&doctor, read(1));
    let other = name(B, "clinician", "c2");
    let declare = pb::DeclareEmergency {
        emergency_id: id(1),
        patient: id(1),
        reason: pb::EmergencyReason::Danger.into(),
        ..pb::DeclareEmergency::default()
    };
    let request = pb::RequestAccess { purpose: Purpose::Btg.into(), emergency_id: id(1), ..read(1) };
    let actions = vec![Action::DeclareEmergency(declare), Action::RequestAccess(request)];
    assert_eq!(w.all_by(&other, actions, vec![]), Outcome::Applied);

    let urgent = |(add, contents): (pb::AddWraps, _)| (pb::AddWraps { emergency: true, ..add }, contents);
    let (ordinary, emergency) = (wrap(&w, 0, 1, &doctor), wrap(&w, 1, 1, &other));
    let both = pb::AddWraps {
        wraps: [&emergency, &ordinary].map(|(add, _)| add.wraps[0].clone()).into(),
        ..ordinary.0.clone()
    };
    let contents = [&emergency.1[..], &ordinary.1[..]].concat();
    assert_eq!(add(&mut w, &custodian, urgent(ordinary.clone())), Outcome::CustodianRefused);
    assert_eq!(add(&mut w, &custodian, urgent((both, contents))), Outcome::CustodianRefused);
    assert_eq!(open(&w, A), 2, "nothing of it was done");
    assert_eq!(add(&mut w, &custodian, urgent(emergency)), Outcome::Applied);
    assert_eq!(add(&mut w, &custodian, ordinary), Outcome::Applied);
}

#[test]
fn a_request_that_is_permitted_takes_the_place_of_one_that_is_not_any_more() {
    let (mut w, doctor, custodian) = shared();
    w.ask(&doctor, read(1));
    w.revoke(&name(A, "service", "ehr"), 1);
    let answer = wrap(&w, 0, 1, &doctor);
    assert_eq!(add(&mut w, &custodian, answer.clone()), Outcome::AccessEnded);
    let purposes = vec![Purpose::Hpaymt.into()];
    let payment = pb::ConsentRule { grantees: to_member(B), purposes, ..rule(ConsentEffect::Permit) };
    let other = grant(ConsentBase::BreakGlassOnly, vec![payment]);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 2, other), Outcome::Applied);
    let request = pb::RequestAccess { purpose: Purpose::Hpaymt.into(), ..read(1) };
    assert_eq!(w.ground(&doctor, request), Ground::Consent);
    assert_eq!(open(&w, A), 1);
    assert_eq!(add(&mut w, &custodian, answer), Outcome::Applied);
}

#[test]
fn nothing_is_wrapped_for_a_key_that_was_replaced_or_a_reader_that_was_revoked() {
    let (mut w, doctor, custodian) = shared();
    w.ask(&doctor, read(1));
    let for_the_old_key = wrap(&w, 0, 1, &doctor);
    w.enroll(B, "clinician", "c1");
    assert_eq!(add(&mut w, &custodian, for_the_old_key), Outcome::AccessEnded);
    let dropped = |request| (pb::AddWraps { dropped: vec![request], ..pb::AddWraps::default() }, vec![]);
    assert_eq!(add(&mut w, &custodian, dropped(0)), Outcome::Applied);
    w.ask(&doctor, read(1));
    let answer = wrap(&w, 1, 1, &doctor);
    let serial = w.people[&doctor].serial();
    let publish = Action::PublishRevocations(pb::PublishRevocations { crl: list("ca", 1, [serial]) });
    assert_eq!(w.ledger.submit(B, publish), Outcome::Applied);
    assert_eq!(add(&mut w, &custodian, answer), Outcome::AccessEnded);
    assert_eq!(add(&mut w, &custodian, dropped(1)), Outcome::Applied);
    assert_eq!(open(&w, A), 0);
}
