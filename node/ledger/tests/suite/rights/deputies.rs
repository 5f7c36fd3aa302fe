//! Who acts in a custodian's place: deputies in emergencies, and who has accepted the custody of
//! a member that leaves.

use super::*;
use consilium_kit::topics::{cancel, remove, remove_after};
use consilium_proto::state::{CustodyName, WrapRequestName};

const C: &str = "c.example";
const D: &str = "d.example";

fn custodian(member: &str) -> String {
    name(member, "service", "custodian")
}

fn deputy(w: &mut World, of: &str, deputy: &str) -> Outcome {
    w.ledger.submit(of, Action::NameDeputy(pb::NameDeputy { deputy: deputy.into() }))
}

fn accept(w: &mut World, by: &str, member: &str, missing_max: u64) -> Outcome {
    let accept = pb::AcceptCustody { member: member.into(), missing_max, withdrawn: false };
    w.ledger.submit(by, Action::AcceptCustody(accept))
}

/// Record 1 of hospital a, and a doctor of hospital b with whom it is shared.
fn shared() -> (World, String) {
    let mut w = World::among(&[C, D], |_| ());
    for member in [C, D] {
        w.enroll(member, "service", "custodian");
        w.name_custodian(member);
    }
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, share_with_b()), Outcome::Applied);
    (w, name(B, "clinician", "c1"))
}

/// The doctor declares an emergency and reads record 1 by it.
fn emergency(w: &mut World, doctor: &str, number: u8) {
    let declare = pb::DeclareEmergency {
        emergency_id: id(number),
        patient: id(1),
        reason: pb::EmergencyReason::Danger.into(),
        ..pb::DeclareEmergency::default()
    };
    let request = pb::RequestAccess { purpose: Purpose::Btg.into(), emergency_id: id(number), ..read(1) };
    let actions = vec![Action::DeclareEmergency(declare), Action::RequestAccess(request)];
    assert_eq!(w.all_by(doctor, actions, vec![]), Outcome::Applied);
}

fn answer(w: &mut World, by: &str, member: &str, request: u64, reader: &str) -> Outcome {
    let content = Bytes::from_static(b"for the reader");
    let added = pb::AddedWrap {
        request,
        record_id: id(1),
        version: 1,
        recipient_key_id: w.keys[reader].to_bytes(),
        wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
    };
    let add = pb::AddWraps { wraps: vec![added], member: member.into(), ..pb::AddWraps::default() };
    w.all_by(by, vec![Action::AddWraps(add)], vec![content])
}

fn dropped(w: &mut World, by: &str, member: &str, request: u64) -> Outcome {
    let add = pb::AddWraps { dropped: vec![request], member: member.into(), ..pb::AddWraps::default() };
    w.all_by(by, vec![Action::AddWraps(add)], vec![])
}

/// A version of a member's records for a key.
fn rewrap(w: &mut World, by: &str, member: &str, record: u8, key: KeyId) -> Outcome {
    let content = Bytes::from_static(b"for another custodian");
    let rewrap = pb::Rewrap {
        record_id: id(record),
        version: 1,
        recipient_key_id: key.to_bytes(),
        wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
    };
    let add = pb::AddWraps { rewraps: vec![rewrap], member: member.into(), ..pb::AddWraps::default() };
    w.all_by(by, vec![Action::AddWraps(add)], vec![content])
}

fn wrapped(w: &World, member: &str, key: KeyId) -> u64 {
    let place = keys::custody_count(&CustodyName::new(member, key));
    let count: Option<pb::CustodyCountState> = w.ledger.store.message(Table::State, &place);
    count.unwrap_or_default().versions
}

fn custody(w: &World, member: &str) -> pb::CustodyState {
    w.ledger.store.message(Table::State, &keys::custody(member)).unwrap()
}

fn duties(w: &World, member: &str) -> pb::CustodyDutiesState {
    w.ledger.store.message(Table::State, &keys::custody_duties(member)).unwrap_or_default()
}

/// Numbers of the requests of emergencies, as who may see no others finds them.
fn of_emergencies(w: &World, member: &str) -> Vec<u64> {
    let prefix = keys::index_emergency_requests(member);
    let rows = w.ledger.store.0.keys().filter(|(table, key)| *table == Table::Index && key.starts_with(&prefix));
    rows.map(|(_, key)| u64::from_be_bytes(*key.last_chunk().unwrap())).collect()
}

#[test]
fn a_deputy_answers_emergencies_and_nothing_else() {
    let (mut w, doctor) = shared();
    assert_eq!(deputy(&mut w, A, C), Outcome::Applied);
    assert_eq!(duties(&w, C).deputy_of, [A]);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(answer(&mut w, &custodian(C), A, 0, &doctor), Outcome::CustodianRefused, "it is no emergency");
    let other = name(B, "clinician", "c2");
    assert_eq!(of_emergencies(&w, A), [0; 0]);
    emergency(&mut w, &other, 7);
    assert_eq!((of_emergencies(&w, A), of_emergencies(&w, C)), (vec![1], vec![]));
    for stranger in [custodian(D), custodian(B), name(A, "service", "ehr")] {
        assert_eq!(answer(&mut w, &stranger, A, 1, &other), Outcome::CustodianRefused, "{stranger}");
    }
    assert_eq!(answer(&mut w, &custodian(C), A, 1, &other), Outcome::Applied);
    assert_eq!(of_emergencies(&w, A), [0; 0]);
    // The member's own custodian is too late for that, and answers the rest.
    assert_eq!(answer(&mut w, &custodian(A), "", 1, &other), Outcome::WrapNotRequested);
    assert_eq!(answer(&mut w, &custodian(A), A, 0, &doctor), Outcome::Applied);
    assert_eq!(answer(&mut w, &custodian(C), A, 1, &other), Outcome::WrapNotRequested, "only once");
}

#[test]
fn a_deputy_drops_what_is_over_of_emergencies_alone() {
    let (mut w, doctor) = shared();
    assert_eq!(deputy(&mut w, A, C), Outcome::Applied);
    w.ask(&doctor, read(1));
    emergency(&mut w, &name(B, "clinician", "c2"), 7);
    w.revoke(&name(A, "service", "ehr"), 1);
    assert_eq!(dropped(&mut w, &custodian(C), A, 1), Outcome::AccessEnded, "it is in force");
    let later = w.now() + DAY;
    w.wait_until(later);
    assert_eq!(dropped(&mut w, &custodian(C), A, 0), Outcome::CustodianRefused);
    assert_eq!(of_emergencies(&w, A), [1]);
    assert_eq!(dropped(&mut w, &custodian(C), A, 1), Outcome::Applied);
    assert_eq!(of_emergencies(&w, A), [0; 0]);
    let open: Option<pb::WrapRequestState> =
        w.ledger.store.message(Table::State, &keys::wrap_request(&WrapRequestName::new(A, 1)));
    assert_eq!(open, None);
}

#[test]
fn an_emergency_takes_the_place_of_the_same_readers_ordinary_request() {
    let (mut w, doctor) = shared();
    assert_eq!(deputy(&mut w, A, C), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    emergency(&mut w, &doctor, 7);
    assert_eq!(of_emergencies(&w, A), [0]);
    // The consent may even be withdrawn: the emergency is what the wrap is for.
    w.revoke(&name(A, "service", "ehr"), 1);
    assert_eq!(answer(&mut w, &custodian(C), A, 0, &doctor), Outcome::Applied);
    assert_eq!(answer(&mut w, &custodian(A), A, 0, &doctor), Outcome::WrapNotRequested, "only once");
    // An ordinary request does not take the place of an emergency.
    let (mut w, doctor) = shared();
    assert_eq!(deputy(&mut w, A, C), Outcome::Applied);
    emergency(&mut w, &doctor, 7);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(answer(&mut w, &custodian(C), A, 0, &doctor), Outcome::Applied);
}

#[test]
fn an_ordinary_request_that_takes_the_place_of_a_past_emergency_is_not_the_deputys() {
    let (mut w, doctor) = shared();
    assert_eq!(deputy(&mut w, A, C), Outcome::Applied);
    emergency(&mut w, &doctor, 7);
    assert_eq!(of_emergencies(&w, A), [0]);
    let later = w.now() + DAY;
    w.wait_until(later);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(of_emergencies(&w, A), [0; 0]);
    assert_eq!(answer(&mut w, &custodian(C), A, 0, &doctor), Outcome::CustodianRefused);
    assert_eq!(answer(&mut w, &custodian(A), "", 0, &doctor), Outcome::Applied);
}

#[test]
fn a_deputy_that_was_withdrawn_answers_no_more() {
    let (mut w, doctor) = shared();
    assert_eq!(deputy(&mut w, A, C), Outcome::Applied);
    emergency(&mut w, &doctor, 7);
    assert_eq!(deputy(&mut w, A, D), Outcome::Applied);
    assert_eq!((duties(&w, C).deputy_of, duties(&w, D).deputy_of), (vec![], vec![A.to_owned()]));
    assert_eq!(answer(&mut w, &custodian(C), A, 0, &doctor), Outcome::CustodianRefused);
    assert_eq!(deputy(&mut w, A, ""), Outcome::Applied);
    assert_eq!(answer(&mut w, &custodian(D), A, 0, &doctor), Outcome::CustodianRefused);
    assert_eq!(duties(&w, D), pb::CustodyDutiesState::default());
    assert_eq!(answer(&mut w, &custodian(A), "", 0, &doctor), Outcome::Applied);
}

#[test]
fn deputies_are_other_active_members_with_a_custodian_and_named_by_administrators() {
    let (mut w, _) = shared();
    assert_eq!(deputy(&mut w, A, A), Outcome::CustodianRefused);
    assert_eq!(deputy(&mut w, A, "nobody.example"), Outcome::MemberNotActive);
    let name_deputy = || Action::NameDeputy(pb::NameDeputy { deputy: C.into() });
    assert_eq!(w.by(A, "service", "custodian", name_deputy()), Outcome::RoleNotAllowed);
    let accept = pb::AcceptCustody { member: A.into(), ..pb::AcceptCustody::default() };
    assert_eq!(w.by(C, "service", "custodian", Action::AcceptCustody(accept)), Outcome::RoleNotAllowed);
    assert_eq!(custody(&w, A).deputy, "");
}

#[test]
fn the_custodian_wraps_for_the_deputys_newest_key() {
    let (mut w, _) = shared();
    let key = w.key(C, "service", "custodian");
    assert_eq!(rewrap(&mut w, &custodian(A), A, 1, key), Outcome::WrapNotRequested, "it is no deputy");
    assert_eq!(deputy(&mut w, A, C), Outcome::Applied);
    assert_eq!(rewrap(&mut w, &custodian(C), A, 1, key), Outcome::CustodianRefused, "the deputy itself may not");
    assert_eq!(rewrap(&mut w, &custodian(A), A, 1, key), Outcome::Applied);
    let both = |write: &mut pb::WriteRecord| {
        let wrap_sha256 = write.wraps[0].wrap_sha256.clone();
        write.wraps.push(pb::KeyWrapRef { recipient_key_id: key.to_bytes(), wrap_sha256 });
    };
    assert_eq!((w.write(A, 2, both), w.write(A, 3, |_| ())), (Outcome::Applied, Outcome::Applied));
    assert_eq!(wrapped(&w, A, key), 2);
    // The deputy changes its key.
    w.enroll(C, "service", "custodian");
    w.name_custodian(C);
    let next = w.key(C, "service", "custodian");
    assert_eq!(rewrap(&mut w, &custodian(A), A, 3, key), Outcome::WrapNotRequested);
    assert_eq!(rewrap(&mut w, &custodian(A), A, 3, next), Outcome::Applied);
    assert_eq!((wrapped(&w, A, key), wrapped(&w, A, next)), (2, 1));
    assert_eq!(deputy(&mut w, A, ""), Outcome::Applied);
    assert_eq!(rewrap(&mut w, &custodian(A), A, 1, next), Outcome::WrapNotRequested, "not any more");
}

#[test]
fn nobody_leaves_before_another_has_accepted_what_it_keeps_and_can_open_it() {
    let (mut w, doctor) = shared();
    assert_eq!(w.write(A, 2, |_| ()), Outcome::Applied);
    let why = |w: &World| w.ledger.preview(remove_after(A, C)).refusal.map(|refusal| refusal.fact).unwrap_or_default();
    assert!(why(&w).contains("no member has accepted"), "{}", why(&w));
    w.ledger.proposal_refused(B, remove(A), Outcome::ProposalRefused);
    // Whom it has named its deputy it wraps for.
    assert_eq!((deputy(&mut w, A, C), accept(&mut w, C, A, 0)), (Outcome::Applied, Outcome::Applied));
    assert_eq!(duties(&w, C).successor_of, [A]);
    assert!(why(&w).starts_with("2 of 2 versions"), "{}", why(&w));
    let key = w.key(C, "service", "custodian");
    assert_eq!(rewrap(&mut w, &custodian(A), A, 1, key), Outcome::Applied);
    w.ledger.proposal_refused(B, remove(A), Outcome::ProposalRefused);
    assert_eq!(rewrap(&mut w, &custodian(A), A, 2, key), Outcome::Applied);
    w.ask(&doctor, read(1));
    assert!(w.ledger.preview(remove(A)).refusal.is_some_and(|no| no.fact.ends_with("names nobody")));
    assert!(w.ledger.preview(remove_after(A, D)).refusal.is_some_and(|no| no.fact.ends_with("names d.example")));
    w.ledger.execute(&[B, C, D], remove_after(A, C));

    let keepers = custody(&w, A).keepers;
    assert_eq!((keepers.len(), keepers[0].member.as_str(), duties(&w, C).keeper_of), (1, C, vec![A.to_owned()]));
    assert_eq!((duties(&w, C).deputy_of, duties(&w, C).successor_of), (vec![], vec![]));
    // What had been asked for, and what is asked for now.
    assert_eq!(answer(&mut w, &custodian(A), "", 0, &doctor), Outcome::MemberNotActive);
    assert_eq!(answer(&mut w, &custodian(D), A, 0, &doctor), Outcome::CustodianRefused);
    assert_eq!(answer(&mut w, &custodian(C), A, 0, &doctor), Outcome::Applied);
    let other = name(B, "clinician", "c2");
    assert_eq!(w.ground(&other, read(1)), Ground::Consent);
    assert_eq!(answer(&mut w, &custodian(C), A, 1, &other), Outcome::Applied);
    // Its deputy stands in for that, too, and its next key is wrapped for.
    assert_eq!(deputy(&mut w, C, D), Outcome::Applied);
    let [deputys, own] = [D, C].map(|member| w.key(member, "service", "custodian"));
    assert_eq!(rewrap(&mut w, &custodian(C), A, 1, deputys), Outcome::Applied);
    assert_eq!(rewrap(&mut w, &custodian(C), A, 1, own), Outcome::WrapNotRequested, "it has been");
    w.enroll(C, "service", "custodian");
    w.name_custodian(C);
    let next = w.key(C, "service", "custodian");
    assert_eq!(rewrap(&mut w, &custodian(C), A, 1, next), Outcome::Applied);
    assert_eq!((wrapped(&w, A, next), wrapped(&w, A, deputys)), (1, 1));
    // And it does not leave with that either.
    let why = w.ledger.preview(remove(C)).refusal.unwrap().fact;
    assert!(why.contains("c.example keeps 2 versions"), "{why}");
}

#[test]
fn a_successor_may_accept_that_some_is_lost_and_take_it_back() {
    let (mut w, _) = shared();
    assert_eq!(accept(&mut w, C, C, 0), Outcome::CustodianRefused);
    assert_eq!(accept(&mut w, C, A, 1), Outcome::Applied);
    assert_eq!(w.ledger.preview(remove_after(A, C)).refusal, None);
    assert_eq!(accept(&mut w, D, A, 9), Outcome::CustodianRefused, "another has accepted");
    let back = || Action::AcceptCustody(pb::AcceptCustody { member: A.into(), withdrawn: true, ..Default::default() });
    assert_eq!(w.ledger.submit(D, back()), Outcome::CustodianRefused);
    assert_eq!(deputy(&mut w, A, D), Outcome::Applied);
    assert_eq!(accept(&mut w, D, A, 1), Outcome::Applied, "whom the member trusts");
    assert_eq!((duties(&w, C).successor_of, custody(&w, A).successor.as_str()), (vec![], D));
    assert_eq!(w.ledger.submit(D, back()), Outcome::Applied);
    assert_eq!((custody(&w, A).successor.as_str(), custody(&w, A).missing_max), ("", 0));
    assert!(w.ledger.preview(remove(A)).refusal.is_some());
    // Who keeps nothing may go.
    assert_eq!(w.ledger.preview(remove(D)).refusal, None);
    w.ledger.execute(&[B, C, A], remove(D));
    assert_eq!(custody(&w, A).deputy, "");
}

#[test]
fn what_was_accepted_stands_while_the_members_vote_on_it() {
    let (mut w, _) = shared();
    assert_eq!(w.write(A, 2, |_| ()), Outcome::Applied);
    assert_eq!(accept(&mut w, C, A, 2), Outcome::Applied);
    let back = || Action::AcceptCustody(pb::AcceptCustody { member: A.into(), withdrawn: true, ..Default::default() });
    let voted_on = w.ledger.open(B, remove_after(A, C));
    assert_eq!(w.ledger.submit(C, back()), Outcome::CustodianRefused);
    assert_eq!(accept(&mut w, C, A, 1), Outcome::CustodianRefused, "it asks for more");
    assert_eq!(accept(&mut w, C, A, 3), Outcome::Applied, "it asks for less");
    assert_eq!((deputy(&mut w, A, D), accept(&mut w, D, A, 9)), (Outcome::Applied, Outcome::CustodianRefused));
    assert_eq!(w.ledger.submit(B, cancel(voted_on)), Outcome::Applied);
    assert_eq!(accept(&mut w, D, A, 9), Outcome::Applied);
    // Of what was not decided in time nothing holds.
    w.ledger.open(B, remove_after(A, D));
    assert_eq!(w.ledger.submit(D, back()), Outcome::CustodianRefused);
    let later = w.now() + DAY;
    w.wait_until(later);
    assert_eq!(w.ledger.submit(D, back()), Outcome::Applied);
}
