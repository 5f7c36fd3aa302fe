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
