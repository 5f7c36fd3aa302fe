//! For whom a version may be wrapped when it is written.

use super::*;
use consilium_kit::identity_rules::list;

/// Writes a record of hospital a that is wrapped for a key beside the custodian's.
fn write_for(w: &mut World, record: u8, key: KeyId) -> Outcome {
    w.write(A, record, |write| {
        let wrap = pb::KeyWrapRef { recipient_key_id: key.to_bytes(), ..write.wraps[0].clone() };
        write.wraps.push(wrap);
    })
}

fn anna(w: &World) -> KeyId {
    w.key(A, "patient", ANNA)
}

fn accept(w: &mut World, change: impl FnOnce(&mut pb::AcceptPatient)) {
    assert_eq!(w.accept(A, &name(A, "patient", ANNA), change), Outcome::Applied);
}

#[test]
fn a_version_is_wrapped_for_its_author_its_custodian_and_its_patient_alone() {
    let mut w = World::new();
    accept(&mut w, |_| ());
    let (author, patient) = (w.key(A, "service", "ehr"), anna(&w));
    assert_eq!(write_for(&mut w, 1, author), Outcome::Applied);
    assert_eq!(write_for(&mut w, 2, patient), Outcome::Applied);
    // A consent opens once somebody asks, and not before.
    assert_eq!(w.consent(&name(A, "patient", ANNA), 1, share_with_b()), Outcome::Applied);
    for (member, role, who) in [
        (A, "clinician", "c1"),
        (A, "auditor", "privacy"),
        (A, "patient", GUARDIAN),
        (B, "patient", ANNA),
        (B, "clinician", "c1"),
        (B, "service", "custodian"),
        (B, "service", "ehr"),
    ] {
        let key = w.key(member, role, who);
        assert_eq!(write_for(&mut w, 3, key), Outcome::WrapNotPermitted, "{role} {who} of {member}");
    }
    assert_eq!(write_for(&mut w, 3, KeyId::from_bytes([9; 32])), Outcome::UnknownRecipient);
    assert_eq!(write_for(&mut w, 3, patient), Outcome::Applied, "nothing of what was refused is left");
}

#[test]
fn an_identity_is_the_patients_while_the_custodian_accepts_it_to_read() {
    type Change = fn(&mut pb::AcceptPatient);
    let changes: [(&str, Change); 3] = [
        ("withdrawn", |a| a.withdrawn = true),
        ("may not read", |a| a.may_read = false),
        ("a representative's", |a| a.relation = PatientRelation::Proxy.into()),
    ];
    for (what, change) in changes {
        let mut w = World::new();
        accept(&mut w, |_| ());
        accept(&mut w, change);
        let key = anna(&w);
        assert_eq!(write_for(&mut w, 1, key), Outcome::WrapNotPermitted, "{what}");
    }
    let mut w = World::new();
    let end = w.now() + DAY;
    accept(&mut w, |a| a.to_ms = end);
    let key = anna(&w);
    assert_eq!(write_for(&mut w, 1, key), Outcome::Applied);
    w.wait_until(end);
    assert_eq!(write_for(&mut w, 2, key), Outcome::WrapNotPermitted, "it has ended");
    // What another member accepts counts for that member's records.
    let mut w = World::new();
    assert_eq!(w.accept(B, &name(A, "patient", ANNA), |_| ()), Outcome::Applied);
    let key = anna(&w);
    assert_eq!(write_for(&mut w, 1, key), Outcome::WrapNotPermitted);
}

#[test]
fn nothing_is_wrapped_for_a_patients_older_key_or_a_revoked_identity() {
    let mut w = World::new();
    accept(&mut w, |_| ());
    let old = anna(&w);
    w.enroll(A, "patient", ANNA);
    let new = anna(&w);
    assert_eq!(write_for(&mut w, 1, old), Outcome::WrapNotPermitted);
    assert_eq!(write_for(&mut w, 1, new), Outcome::Applied);
    let serial = w.people[&name(A, "patient", ANNA)].serial();
    let publish = Action::PublishRevocations(pb::PublishRevocations { crl: list("ca", 1, [serial]) });
    assert_eq!(w.ledger.submit(A, publish), Outcome::Applied);
    assert_eq!(write_for(&mut w, 2, new), Outcome::WrapNotPermitted);
}

#[test]
fn of_linked_pseudonyms_the_custodian_that_links_them_wraps_for_the_one_person() {
    let mut w = World::new();
    let register = pb::RegisterPatient { patient: id(2), lookups_sha256: Vec::new() };
    assert_eq!(w.by(A, "service", "ehr", Action::RegisterPatient(register)), Outcome::Applied);
    accept(&mut w, |a| a.patient = id(2));
    let key = anna(&w);
    assert_eq!(write_for(&mut w, 1, key), Outcome::WrapNotPermitted);
    let link = pb::LinkPatients { patient: id(1), other: id(2), evidence_sha256: vec![3; 32].into() };
    assert_eq!(w.by(A, "service", "ehr", Action::LinkPatients(link)), Outcome::Applied);
    assert_eq!(write_for(&mut w, 1, key), Outcome::Applied);
}
