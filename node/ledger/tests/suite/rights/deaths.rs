//! After a death that a custodian attests: who spoke for the patient in life speaks no more, an
//! executor does, and what was signed in life stays.

use super::*;

const EXECUTOR: &str = GUARDIAN;

fn death(withdrawn: bool) -> Action {
    Action::AttestDeath(pb::AttestDeath { patient: id(1), evidence_sha256: vec![8; 32].into(), withdrawn })
}

fn request(record: u8) -> pb::RequestAccess {
    pb::RequestAccess { purpose: Purpose::Patrqt.into(), ..read(record) }
}

fn executor(accept: &mut pb::AcceptPatient) {
    accept.relation = PatientRelation::Executor.into();
}

/// Anna, accepted by both hospitals, with a record at each, which hospital a shares with b.
fn world() -> (World, String, String) {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    w.write(B, 2, |_| ());
    let (anna, heir) = (name(A, "patient", ANNA), name(A, "patient", EXECUTOR));
    for member in [A, B] {
        assert_eq!(w.accept(member, &anna, |_| ()), Outcome::Applied);
    }
    assert_eq!(w.consent(&anna, 1, share_with_b()), Outcome::Applied);
    (w, anna, heir)
}

impl World {
    fn attests(&mut self, member: &str, withdrawn: bool) -> Outcome {
        self.by(member, "service", "ehr", death(withdrawn))
    }
}

#[test]
fn the_patients_own_identity_speaks_no_more_and_an_executor_does() {
    let (mut w, anna, heir) = world();
    assert_eq!(w.accept(A, &heir, executor), Outcome::NotDeceased, "she lives");
    assert_eq!(w.ground(&anna, request(1)), Ground::Patient);
    assert_eq!(w.attests(A, true), Outcome::NotDeceased);
    assert_eq!(w.by(A, "researcher", "r1", death(false)), Outcome::RoleNotAllowed);
    assert_eq!(w.attests(A, false), Outcome::Applied);
    assert_ne!(w.ground(&anna, request(1)), Ground::Patient);
    assert_eq!(w.ground(&anna, request(2)), Ground::Patient, "hospital b has not said so");
    assert_eq!(w.accept(A, &heir, executor), Outcome::Applied);
    assert_eq!(w.ground(&heir, request(1)), Ground::Representative);
    assert_ne!(w.ground(&heir, request(2)), Ground::Representative);
    assert_eq!(
        w.consent(&heir, 2, grant(ConsentBase::Deny, vec![])),
        Outcome::Applied,
        "executors may, if accepted to"
    );
}

#[test]
fn what_was_signed_in_life_stays_and_nothing_new_is_signed() {
    let (mut w, anna, _) = world();
    let doctor = name(B, "clinician", "c1");
    for member in [A, B] {
        assert_eq!(w.attests(member, false), Outcome::Applied);
    }
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(w.consent(&anna, 2, share_with_b()), Outcome::NotAccepted);
}

#[test]
fn a_death_that_was_said_in_error_is_taken_back() {
    let (mut w, anna, heir) = world();
    assert_eq!(w.attests(A, false), Outcome::Applied);
    assert_eq!(w.accept(A, &heir, executor), Outcome::Applied);
    assert_eq!(w.attests(A, true), Outcome::Applied);
    assert_eq!(w.ground(&anna, request(1)), Ground::Patient);
    assert_ne!(w.ground(&heir, request(1)), Ground::Representative, "nobody is an executor of the living");
}

fn all(w: &World) -> Vec<Bytes> {
    let list = keys::consent_list(&PatientPseudonym([1; 16]));
    let list: pb::ConsentListState = w.ledger.store.message(Table::State, &list).unwrap_or_default();
    list.consents.into_iter().map(|entry| entry.consent_id).collect()
}

#[test]
fn a_dead_patients_key_ends_nothing() {
    let (mut w, anna, heir) = world();
    let doctor = name(B, "clinician", "c1");
    for member in [A, B] {
        assert_eq!(w.attests(member, false), Outcome::Applied);
    }
    assert_eq!(w.revoke(&anna, 1), Outcome::ConsentNotFound, "as if there were none");
    assert_eq!(w.consent_version(&anna, 1, 2, grant(ConsentBase::Deny, vec![])), Outcome::NotAccepted);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    // An executor ends it for the records of those who have accepted it.
    assert_eq!(w.revoke(&heir, 1), Outcome::ConsentNotFound);
    assert_eq!(w.accept(B, &heir, executor), Outcome::Applied);
    assert_eq!(w.revoke(&heir, 1), Outcome::Applied);
    assert_eq!((w.ground(&doctor, read(1)), all(&w)), (Ground::Consent, vec![id(1)]), "hospital a has not");
    assert_eq!(w.accept(A, &heir, executor), Outcome::Applied);
    assert_eq!(w.revoke(&heir, 1), Outcome::Applied);
    assert_eq!((w.ground(&doctor, read(1)), all(&w)), (Ground::ConsentDenies, vec![]));
}

#[test]
fn a_death_that_one_hospital_attests_takes_no_right_at_another() {
    let (mut w, anna, heir) = world();
    let (at_a, at_b) = (name(A, "clinician", "c1"), name(B, "clinician", "c1"));
    assert_eq!(w.consent(&anna, 2, share_with(A)), Outcome::Applied);
    assert_eq!((w.ground(&at_b, read(1)), w.ground(&at_a, read(2))), (Ground::Consent, Ground::Consent));

    // Hospital a says that she has died. What she ends then, ends for the records of b.
    assert_eq!(w.attests(A, false), Outcome::Applied);
    for consent in [1, 2] {
        assert_eq!(w.revoke(&anna, consent), Outcome::Applied);
        assert_eq!(w.revoke(&anna, consent), Outcome::ConsentNotFound, "for the others it is ended");
    }
    assert_eq!(w.ground(&at_b, read(1)), Ground::Consent, "a has not heard it");
    assert_eq!(w.ground(&at_a, read(2)), Ground::ConsentDenies, "b has");
    assert_eq!(all(&w), [id(1), id(2)], "for the records of a they are in force");
    // What she signs then, binds b and not a; a new version would end what binds a.
    let denies = || grant(ConsentBase::Deny, vec![]);
    assert_eq!(w.consent(&anna, 3, denies()), Outcome::Applied);
    assert_eq!(w.ground(&at_b, read(1)), Ground::Consent);
    let event = w.ask(&at_a, read(2));
    assert_eq!((event.decisions[0].ground(), &event.decisions[0].consent_id), (Ground::ConsentDenies, &id(3)));
    assert_eq!(w.consent_version(&anna, 1, 2, denies()), Outcome::NotAccepted);

    // The executor ends them for the records of a, and nothing at b.
    assert_eq!(w.accept(A, &heir, executor), Outcome::Applied);
    assert_eq!(w.revoke(&heir, 1), Outcome::Applied);
    assert_eq!((w.ground(&at_b, read(1)), all(&w)), (Ground::ConsentDenies, vec![id(2), id(3)]));
    assert_eq!(w.revoke(&heir, 3), Outcome::Applied);
    let event = w.ask(&at_a, read(2));
    assert_eq!((&event.decisions[0].consent_id, all(&w)), (&id(3), vec![id(2), id(3)]));
}

#[test]
fn what_was_signed_while_a_death_was_said_in_error_counts_once_that_is_taken_back() {
    let (mut w, anna, heir) = world();
    let doctor = name(B, "clinician", "c1");
    assert_eq!(w.attests(A, false), Outcome::Applied);
    assert_eq!(w.attests(A, false), Outcome::Applied, "said again");
    let denies = || grant(ConsentBase::BreakGlassOnly, vec![rule(ConsentEffect::Deny)]);
    assert_eq!(w.consent(&anna, 2, denies()), Outcome::Applied);
    assert_eq!(w.attests(A, false), Outcome::Applied, "and again");
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(w.accept(A, &heir, executor), Outcome::Applied);
    assert_eq!(w.consent(&heir, 3, denies()), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies, "the executor's");

    assert_eq!(w.attests(A, true), Outcome::Applied);
    let event = w.ask(&doctor, read(1));
    assert_eq!((event.decisions[0].ground(), &event.decisions[0].consent_id), (Ground::ConsentDenies, &id(2)));
    assert_eq!(w.revoke(&anna, 2), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent, "nobody is an executor of the living");
    assert_eq!(w.revoke(&anna, 1), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies);
}

/// What a guardian signed in its ward's life is not undone by its becoming the executor.
#[test]
fn who_becomes_the_executor_does_not_lose_what_it_signed_before() {
    let (mut w, _, guardian) = world();
    let until = w.now() + DAY;
    let relation = |accept: &mut pb::AcceptPatient| {
        accept.relation = PatientRelation::Guardian.into();
        accept.to_ms = until;
    };
    assert_eq!(w.accept(A, &guardian, relation), Outcome::Applied);
    let denies = grant(ConsentBase::BreakGlassOnly, vec![rule(ConsentEffect::Deny)]);
    assert_eq!(w.consent(&guardian, 2, denies), Outcome::Applied);
    let doctor = name(B, "clinician", "c1");
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies);
    assert_eq!(w.attests(A, false), Outcome::Applied);
    assert_eq!(w.accept(A, &guardian, executor), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies);
    assert_eq!(w.attests(A, true), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies);
}
