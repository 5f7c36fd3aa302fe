//! Records of a member that has left: whoever keeps them is their custodian, and what patients had
//! said, and the member had accepted, counts until that one says otherwise.

use super::*;
use consilium_kit::topics::remove_after;

pub(super) const C: &str = "c.example";
pub(super) const D: &str = "d.example";
pub(super) const E: &str = "e.example";

/// Hospital a with a record of Anna's, who signs with identities that another hospital has given
/// out, and hospitals c and d, which may succeed it.
pub(super) fn world() -> (World, String) {
    let mut w = World::among(&[C, D, E], |_| ());
    for member in [C, D] {
        for (role, who) in [("service", "ehr"), ("service", "custodian"), ("patient", ANNA)] {
            w.enroll(member, role, who);
        }
        w.name_custodian(member);
    }
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    (w, name(B, "patient", ANNA))
}

/// A member leaves, and another one keeps its records.
pub(super) fn leaves(w: &mut World, member: &str, successor: &str, voters: &[&str]) {
    let accept = pb::AcceptCustody { member: member.into(), missing_max: 9, withdrawn: false };
    assert_eq!(w.ledger.submit(successor, Action::AcceptCustody(accept)), Outcome::Applied);
    w.ledger.execute(voters, remove_after(member, successor));
}

fn request(record: u8) -> pb::RequestAccess {
    pb::RequestAccess { purpose: Purpose::Patrqt.into(), ..read(record) }
}

/// Everything to those of hospital b, but for one of them.
fn share_but(reader: &str) -> pb::ConsentGrant {
    let grantee = pb::Grantee { grantee: Some(pb::grantee::Grantee::Identity(reader.into())) };
    let mut grant = share_with_b();
    grant.rules.push(pb::ConsentRule { grantees: vec![grantee], ..rule(ConsentEffect::Deny) });
    grant
}

fn doctors() -> [String; 2] {
    ["c1", "c2"].map(|who| name(B, "clinician", who))
}

#[test]
fn a_patient_whom_only_the_one_that_left_had_accepted_reads_denies_and_revokes() {
    let (mut w, anna) = world();
    let [shared, shunned] = doctors();
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 1, share_but(&shunned)), Outcome::Applied);
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(w.ground(&anna, request(1)), Ground::Patient);
    assert_eq!((w.ground(&shared, read(1)), w.ground(&shunned, read(1))), (Ground::Consent, Ground::ConsentDenies));
    assert_eq!(w.consent(&anna, 2, share_but(&shared)), Outcome::Applied);
    assert_eq!(w.ground(&shared, read(1)), Ground::ConsentDenies);
    assert_eq!((w.revoke(&anna, 2), w.ground(&shared, read(1))), (Outcome::Applied, Ground::Consent));
    assert_eq!(w.revoke(&anna, 1), Outcome::Applied);
    assert_eq!(w.ground(&shared, read(1)), Ground::ConsentDenies, "as of whom nothing was said");
}

#[test]
fn the_successor_accepts_and_withdraws_for_what_it_keeps() {
    let (mut w, anna) = world();
    let [shared, shunned] = doctors();
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 1, share_but(&shunned)), Outcome::Applied);
    // What it says before it is the successor is of its own records.
    assert_eq!(w.accept(C, &anna, |accept| accept.withdrawn = true), Outcome::Applied);
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(w.ground(&shunned, read(1)), Ground::ConsentDenies);
    let newly = name(C, "patient", ANNA);
    assert_eq!(w.revoke(&newly, 1), Outcome::ConsentNotFound);
    assert_eq!(w.accept(D, &newly, |_| ()), Outcome::Applied);
    assert_eq!(w.revoke(&newly, 1), Outcome::ConsentNotFound, "d keeps nothing");
    assert_ne!(w.ground(&newly, request(1)), Ground::Patient);
    assert_eq!(w.accept(C, &newly, |_| ()), Outcome::Applied);
    assert_eq!(w.ground(&newly, request(1)), Ground::Patient);
    assert_eq!(w.consent(&newly, 2, share_but(&shared)), Outcome::Applied);
    assert_eq!(w.ground(&shared, read(1)), Ground::ConsentDenies);
    assert_eq!((w.revoke(&newly, 2), w.ground(&shared, read(1))), (Outcome::Applied, Ground::Consent));
    // The lost key is given up: what it had signed binds nobody any more.
    assert_eq!(w.accept(C, &anna, |accept| accept.withdrawn = true), Outcome::Applied);
    assert_ne!(w.ground(&anna, request(1)), Ground::Patient);
    assert_eq!(w.ground(&shared, read(1)), Ground::ConsentDenies, "as of whom nothing was said");
    assert_eq!(w.consent(&anna, 3, share_with_b()), Outcome::NotAccepted);
}

#[test]
fn a_new_identity_ends_what_the_old_one_signed_for_each_custodian_that_accepts_it() {
    let (mut w, anna) = world();
    let [doctor, _] = doctors();
    for member in [A, D] {
        assert_eq!(w.accept(member, &anna, |_| ()), Outcome::Applied);
    }
    assert_eq!(w.consent(&anna, 1, share_with_b()), Outcome::Applied);
    leaves(&mut w, A, C, &[B, C, D]);
    let newly = name(C, "patient", ANNA);
    assert_eq!(w.accept(C, &newly, |_| ()), Outcome::Applied);
    assert_eq!(w.write(D, 4, |_| ()), Outcome::Applied);
    assert_eq!((w.ground(&doctor, read(1)), w.ground(&doctor, read(4))), (Ground::Consent, Ground::Consent));
    assert_eq!((w.revoke(&newly, 1), w.ground(&doctor, read(1))), (Outcome::Applied, Ground::ConsentDenies));
    assert_eq!(w.ground(&doctor, read(4)), Ground::Consent, "d has not accepted it");
    assert_eq!(w.accept(D, &newly, |_| ()), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(4)), Ground::ConsentDenies);
}

#[test]
fn paper_binds_who_keeps_the_records_and_is_ended_by_it() {
    let (mut w, _) = world();
    let [doctor, _] = doctors();
    let ehr = |member| name(member, "service", "ehr");
    assert_eq!(w.consent(&ehr(A), 1, share_with_b()), Outcome::Applied);
    assert_eq!(w.revoke(&ehr(C), 1), Outcome::ConsentNotFound, "it is not its successor yet");
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(w.revoke(&ehr(D), 1), Outcome::ConsentNotFound);
    assert_eq!(w.consent(&ehr(C), 2, share_but(&doctor)), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies);
    assert_eq!((w.revoke(&ehr(C), 2), w.ground(&doctor, read(1))), (Outcome::Applied, Ground::Consent));
    assert_eq!((w.revoke(&ehr(C), 1), w.ground(&doctor, read(1))), (Outcome::Applied, Ground::ConsentDenies));
}

#[test]
fn staff_of_the_successor_are_not_the_staff_of_who_wrote() {
    let (mut w, _) = world();
    leaves(&mut w, A, B, &[B, C, D]);
    let [doctor, _] = doctors();
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies, "no consent shares it with them");
}

#[test]
fn a_query_shows_what_the_successors_word_permits() {
    let (mut w, _) = world();
    let (newly, [doctor, _]) = (name(C, "patient", ANNA), doctors());
    assert_eq!(w.accept(C, &newly, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&newly, 1, share_with_b()), Outcome::Applied);
    let seen = |w: &World| in_sight::look(w, &doctor, 1, &[], AccessKind::Query).1;
    assert!(seen(&w).is_empty(), "hospital a has not accepted her");
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(seen(&w), [1]);
    assert_eq!(w.consent(&newly, 2, share_but(&doctor)), Outcome::Applied);
    assert!(seen(&w).is_empty());
}

#[test]
fn the_successor_of_a_successor_counts_what_both_had_accepted() {
    let (mut w, anna) = world();
    let [shared, shunned] = doctors();
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 1, share_but(&shunned)), Outcome::Applied);
    leaves(&mut w, A, C, &[B, C, D]);
    let guardian = name(B, "patient", GUARDIAN);
    assert_eq!(w.accept(C, &guardian, |_| ()), Outcome::Applied);
    w.ledger.run(2, &[2, 3, 4, 5]);
    leaves(&mut w, C, D, &[B, D, E]);
    assert_eq!((w.ground(&anna, request(1)), w.ground(&guardian, request(1))), (Ground::Patient, Ground::Patient));
    assert_eq!((w.ground(&shared, read(1)), w.ground(&shunned, read(1))), (Ground::Consent, Ground::ConsentDenies));
    assert_eq!(w.accept(D, &guardian, |accept| accept.withdrawn = true), Outcome::Applied);
    assert_ne!(w.ground(&guardian, request(1)), Ground::Patient);
    assert_eq!(w.ground(&anna, request(1)), Ground::Patient);
}

#[test]
fn deaths_and_links_are_the_successors_to_take_back() {
    let (mut w, anna) = world();
    let death = |withdrawn| {
        Action::AttestDeath(pb::AttestDeath { patient: id(1), evidence_sha256: vec![8; 32].into(), withdrawn })
    };
    let register = pb::RegisterPatient { patient: id(2), lookups_sha256: Vec::new() };
    assert_eq!(w.by(A, "service", "ehr", Action::RegisterPatient(register)), Outcome::Applied);
    let link = pb::LinkPatients { patient: id(1), other: id(2), evidence_sha256: vec![8; 32].into() };
    assert_eq!(w.by(A, "service", "ehr", Action::LinkPatients(link)), Outcome::Applied);
    let unlink = || Action::UnlinkPatients(pb::UnlinkPatients { patient: id(1), other: id(2) });
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.by(A, "service", "ehr", death(false)), Outcome::Applied);
    assert_eq!(w.by(C, "service", "ehr", death(true)), Outcome::NotDeceased);
    leaves(&mut w, A, C, &[B, C, D]);
    assert_ne!(w.ground(&anna, request(1)), Ground::Patient, "she has died");
    let heir = name(B, "patient", GUARDIAN);
    let executor = |accept: &mut pb::AcceptPatient| accept.relation = PatientRelation::Executor.into();
    assert_eq!(w.accept(D, &heir, executor), Outcome::NotDeceased);
    assert_eq!(w.accept(C, &heir, executor), Outcome::Applied);
    assert_eq!(w.ground(&heir, request(1)), Ground::Representative);
    assert_eq!(w.by(D, "service", "ehr", death(true)), Outcome::NotDeceased);
    assert_eq!(w.by(C, "service", "ehr", death(true)), Outcome::Applied);
    assert_eq!(w.ground(&anna, request(1)), Ground::Patient);
    assert_eq!(w.by(D, "service", "ehr", unlink()), Outcome::LinkConflict);
    assert_eq!(w.by(C, "service", "ehr", unlink()), Outcome::Applied);
    assert_eq!(w.by(C, "service", "ehr", unlink()), Outcome::LinkConflict);
}

#[test]
fn corrections_are_asked_of_who_keeps_the_record() {
    let (mut w, anna) = world();
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    let correction = |number: u8, member: &str| {
        let version = pb::VersionRef { record_id: id(1), version: 1 };
        pb::OpenPetition {
            petition_id: id(number),
            patient: id(1),
            member: member.into(),
            kind: pb::PetitionKind::Correction.into(),
            record: Some(version),
            text_sha256: Bytes::copy_from_slice(&sha256(&[b"it was the left arm"])),
            ..pb::OpenPetition::default()
        }
    };
    let asks = |w: &mut World, number, member| {
        let open = Action::OpenPetition(correction(number, member));
        w.all_by(&anna, vec![open], vec![Bytes::from_static(b"it was the left arm")])
    };
    assert_eq!(asks(&mut w, 1, C), Outcome::NotAccepted);
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!((asks(&mut w, 2, A), asks(&mut w, 3, D)), (Outcome::MemberNotActive, Outcome::NotAccepted));
    assert_eq!(asks(&mut w, 4, C), Outcome::Applied);
}

#[test]
fn what_a_successor_has_withdrawn_of_who_left_stays_withdrawn_however_much_it_says() {
    let (mut w, anna) = world();
    let [shared, _] = doctors();
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 1, share_with_b()), Outcome::Applied);
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(w.accept(C, &anna, |accept| accept.withdrawn = true), Outcome::Applied);
    let other = |n: u8| name(C, "patient", &format!("{n:02x}").repeat(16));
    assert_eq!(w.accept(C, &other(1), |accept| accept.withdrawn = true), Outcome::Applied);
    for n in 2..17 {
        assert_eq!(w.accept(C, &other(n), |_| ()), Outcome::Applied, "{n}");
    }
    assert_eq!(w.accept(C, &other(17), |_| ()), Outcome::TooManyOfPatient);
    assert_eq!(w.ground(&shared, read(1)), Ground::ConsentDenies);
}

/// Whom the registering member, or who has followed it, has accepted asks about the log.
fn complains(w: &mut World, by: &str, petition: u8) -> Outcome {
    let entry_id = w.ask(&name(B, "clinician", "c1"), read(1)).transaction_id;
    let open = pb::OpenPetition {
        petition_id: id(petition),
        patient: id(1),
        member: B.into(),
        kind: pb::PetitionKind::Complaint.into(),
        entry_id,
        ..pb::OpenPetition::default()
    };
    w.submit(by, vec![Action::OpenPetition(open)], vec![]).1
}

#[test]
fn a_member_that_has_only_registered_patients_has_a_successor_for_their_logs() {
    let mut w = World::among(&[C, D, E], |_| ());
    for (role, who) in [("service", "custodian"), ("service", "ehr"), ("patient", ANNA)] {
        w.enroll(C, role, who);
    }
    w.name_custodian(C);
    let (lost, newly) = (name(B, "patient", ANNA), name(C, "patient", ANNA));
    assert_eq!(w.accept(A, &lost, |_| ()), Outcome::Applied);
    let alone = consilium_kit::topics::remove(A);
    assert_eq!(w.ledger.propose(B, alone), Outcome::ProposalRefused, "nobody would show anybody the log");
    leaves(&mut w, A, C, &[B, C, D, E]);
    assert_eq!(complains(&mut w, &lost, 1), Outcome::Applied, "what was accepted stays");
    assert_eq!(complains(&mut w, &newly, 2), Outcome::NotAccepted);
    assert_eq!(w.accept(C, &newly, |_| ()), Outcome::Applied, "the key was lost");
    assert_eq!(complains(&mut w, &newly, 2), Outcome::Applied);
}
