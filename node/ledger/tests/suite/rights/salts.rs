//! Labels: who puts the salt under which they are blinded, who may keep it, and that a consent
//! denies what it does not understand.

use super::*;
use consilium_proto::ids::{PolicyTag, SaltId};
use consilium_proto::state::SaltName;

const WRAP: &[u8] = b"wrap of a salt";

/// Puts a salt for patient 1, or hands it to more keys.
pub(super) fn put(w: &mut World, by: &str, salt: (u32, u8), keepers: &[KeyId]) -> Outcome {
    put_of(w, by, 1, salt, keepers)
}

fn put_of(w: &mut World, by: &str, patient: u8, (number, salt): (u32, u8), keepers: &[KeyId]) -> Outcome {
    let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[WRAP]));
    let keeper = |key: &KeyId| pb::SaltWrap { recipient_key_id: key.to_bytes(), wrap_sha256: wrap_sha256.clone() };
    let wraps = keepers.iter().map(keeper).collect();
    let put = pb::PutPatientSalt { patient: id(patient), salt_id: id(salt), number, wraps };
    let attachments = keepers.iter().map(|_| Bytes::from_static(WRAP)).collect();
    w.all_by(by, vec![Action::PutPatientSalt(put)], attachments)
}

/// The salts of a member, and how many keep each.
fn salts(w: &World, member: &str) -> Vec<(Bytes, usize)> {
    let place = keys::patient_salt(&SaltName::new(PatientPseudonym([1; 16]), member));
    let state: pb::PatientSaltState = w.ledger.store.message(Table::State, &place).unwrap_or_default();
    state.salts.into_iter().map(|salt| (salt.salt_id, salt.keepers.len())).collect()
}

pub(super) fn label(salt: u8, code: u8) -> Bytes {
    Bytes::copy_from_slice(&PolicyTag::new(SaltId([salt; 16]), [code; 16]).0)
}

/// Both hospitals have put a salt: 1 and 2.
fn world() -> World {
    let mut w = World::new();
    for (member, salt) in [(A, 1), (B, 2)] {
        let key = w.key(member, "service", "ehr");
        assert_eq!(put(&mut w, &name(member, "service", "ehr"), (1, salt), &[key]), Outcome::Applied);
    }
    w
}

#[test]
fn each_member_puts_its_own_and_none_takes_the_place_of_another() {
    let mut w = world();
    let (a, key) = (name(A, "service", "ehr"), w.key(A, "service", "ehr"));
    assert_eq!((salts(&w, A), salts(&w, B)), (vec![(id(1), 1)], vec![(id(2), 1)]));
    for (number, salt) in [(1, 9), (2, 1), (3, 9)] {
        assert_eq!(put(&mut w, &a, (number, salt), &[key]), Outcome::SaltConflict, "{number} {salt}");
    }
    assert_eq!(put(&mut w, &a, (2, 9), &[key]), Outcome::Applied);
    // To further keepers, and again to the same one.
    let custodian = w.key(A, "service", "custodian");
    assert_eq!(put(&mut w, &a, (1, 1), &[custodian, key]), Outcome::Applied);
    assert_eq!(salts(&w, A), [(id(1), 2), (id(9), 1)]);
    for (number, salt) in (3..=8).zip(11..) {
        assert_eq!(put(&mut w, &a, (number, salt), &[key]), Outcome::Applied);
    }
}

#[test]
fn it_is_for_those_who_write_for_custodians_and_for_who_reads_for_the_patient() {
    let mut w = world();
    let (ehr, anna, guardian) = (name(A, "service", "ehr"), name(A, "patient", ANNA), name(B, "patient", GUARDIAN));
    for (member, role, who, expected) in [
        (A, "clinician", "c1", Outcome::Applied),
        (A, "service", "custodian", Outcome::Applied),
        (B, "service", "custodian", Outcome::WrapNotPermitted),
        (B, "service", "ehr", Outcome::WrapNotPermitted),
        (A, "auditor", "privacy", Outcome::WrapNotPermitted),
        (A, "researcher", "r1", Outcome::WrapNotPermitted),
        (A, "patient", ANNA, Outcome::WrapNotPermitted),
    ] {
        let key = w.key(member, role, who);
        assert_eq!(put(&mut w, &ehr, (1, 1), &[key]), expected, "{role} {who} of {member}");
    }
    assert_eq!(put(&mut w, &ehr, (1, 1), &[KeyId::from_bytes([9; 32])]), Outcome::UnknownRecipient);
    let guards = |a: &mut pb::AcceptPatient| {
        (a.relation, a.to_ms) = (PatientRelation::Guardian.into(), u64::MAX);
    };
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.accept(A, &guardian, guards), Outcome::Applied);
    let (of_anna, of_guardian) = (w.key(A, "patient", ANNA), w.key(B, "patient", GUARDIAN));
    assert_eq!(put(&mut w, &ehr, (1, 1), &[of_anna, of_guardian]), Outcome::Applied);
    // Who may only sign, or is not accepted any more, reads no labels either.
    assert_eq!(w.accept(A, &guardian, |a| (guards(a), a.may_read = false).0), Outcome::Applied);
    assert_eq!(put(&mut w, &ehr, (1, 1), &[of_guardian]), Outcome::WrapNotPermitted);
    // What one member accepts opens nothing of the other's.
    assert_eq!(put(&mut w, &name(B, "service", "ehr"), (1, 2), &[of_anna]), Outcome::WrapNotPermitted);
    let key = w.key(A, "service", "ehr");
    for (role, who) in [("patient", ANNA), ("auditor", "privacy"), ("researcher", "r1")] {
        assert_eq!(put(&mut w, &name(A, role, who), (1, 1), &[key]), Outcome::RoleNotAllowed);
    }
    assert_eq!(put_of(&mut w, &ehr, 5, (1, 5), &[key]), Outcome::PatientNotFound);
}

#[test]
fn nothing_is_labelled_under_a_salt_that_the_member_has_not_put() {
    let mut w = world();
    let labelled = |tags: Vec<Bytes>| move |write: &mut pb::WriteRecord| write.policy_tags = tags;
    assert_eq!(w.write(A, 1, labelled(vec![label(1, 1), label(1, 2)])), Outcome::Applied);
    for tags in [vec![label(2, 1)], vec![label(7, 1)], vec![label(1, 1), label(2, 1)]] {
        assert_eq!(w.write(A, 2, labelled(tags)), Outcome::SaltConflict);
    }
    let other = labelled(vec![label(1, 1)]);
    assert_eq!(w.write(A, 2, |write| (other(write), write.patient = id(5)).0), Outcome::SaltConflict);
}

#[test]
fn a_denied_label_closes_what_carries_it_and_what_is_under_a_salt_that_the_consent_does_not_know() {
    let mut w = world();
    let anna = name(A, "patient", ANNA);
    for member in [A, B] {
        assert_eq!(w.accept(member, &anna, |_| ()), Outcome::Applied);
    }
    let labelled = |tags: Vec<Bytes>| move |write: &mut pb::WriteRecord| write.policy_tags = tags;
    let (psy, hiv) = (label(1, 1), label(1, 2));
    assert_eq!(w.write(A, 1, labelled(vec![])), Outcome::Applied);
    assert_eq!(w.write(A, 2, labelled(vec![psy.clone()])), Outcome::Applied);
    assert_eq!(w.write(A, 3, labelled(vec![hiv.clone()])), Outcome::Applied);
    let reader = name(B, "clinician", "c1");
    let grounds = |w: &mut World| [1, 2, 3].map(|record| w.ground(&reader, read(record)));
    let permit = pb::ConsentRule { grantees: to_member(B), ..rule(ConsentEffect::Permit) };
    let deny = |tags: Vec<Bytes>| pb::ConsentRule { tags, ..rule(ConsentEffect::Deny) };
    let put_consent = |w: &mut World, version, rules: Vec<pb::ConsentRule>| {
        let grant = grant(ConsentBase::BreakGlassOnly, rules);
        assert_eq!(w.consent_version(&anna, 1, version, grant), Outcome::Applied);
    };
    put_consent(&mut w, 1, vec![permit.clone(), deny(vec![psy.clone()])]);
    assert_eq!(grounds(&mut w), [Ground::Consent, Ground::ConsentDenies, Ground::Consent]);
    // Only what is labelled so.
    put_consent(&mut w, 2, vec![pb::ConsentRule { tags: vec![psy.clone()], ..permit.clone() }]);
    assert_eq!(grounds(&mut w), [Ground::ConsentDenies, Ground::Consent, Ground::ConsentDenies]);
    // It knows the other hospital's salt alone.
    put_consent(&mut w, 3, vec![permit.clone(), deny(vec![label(2, 1)])]);
    assert_eq!(grounds(&mut w), [Ground::Consent, Ground::ConsentDenies, Ground::ConsentDenies]);
    let any = pb::ConsentRule { labelled: true, ..rule(ConsentEffect::Deny) };
    put_consent(&mut w, 4, vec![permit.clone(), any]);
    assert_eq!(grounds(&mut w), [Ground::Consent, Ground::ConsentDenies, Ground::ConsentDenies]);
    // A newer salt makes no old denial void: what is labelled under it is denied until the consent
    // is put again.
    put_consent(&mut w, 5, vec![permit.clone(), deny(vec![psy.clone()])]);
    let key = w.key(A, "service", "ehr");
    assert_eq!(put(&mut w, &name(A, "service", "ehr"), (2, 9), &[key]), Outcome::Applied);
    assert_eq!(w.write(A, 4, labelled(vec![label(9, 1)])), Outcome::Applied);
    assert_eq!(w.write(A, 5, labelled(vec![label(9, 2)])), Outcome::Applied);
    let newer = |w: &mut World| [4, 5].map(|record| w.ground(&reader, read(record)));
    assert_eq!(newer(&mut w), [Ground::ConsentDenies, Ground::ConsentDenies]);
    put_consent(&mut w, 6, vec![permit, deny(vec![psy, label(9, 1)])]);
    assert_eq!(newer(&mut w), [Ground::ConsentDenies, Ground::Consent]);
    assert_eq!(grounds(&mut w), [Ground::Consent, Ground::ConsentDenies, Ground::Consent]);
}

#[test]
fn a_consent_denies_the_labels_of_a_linked_pseudonym_that_it_does_not_know() {
    let mut w = world();
    let anna = name(A, "patient", ANNA);
    let register = pb::RegisterPatient { patient: id(5), lookups_sha256: Vec::new() };
    assert_eq!(w.by(A, "service", "ehr", Action::RegisterPatient(register)), Outcome::Applied);
    let key = w.key(A, "service", "ehr");
    assert_eq!(put_of(&mut w, &name(A, "service", "ehr"), 5, (1, 5), &[key]), Outcome::Applied);
    for (record, tags) in [(1, vec![]), (2, vec![label(5, 2)])] {
        let of_other = |write: &mut pb::WriteRecord| (write.patient, write.policy_tags) = (id(5), tags);
        assert_eq!(w.write(A, record, of_other), Outcome::Applied);
    }
    let link = pb::LinkPatients { patient: id(1), other: id(5), evidence_sha256: vec![3; 32].into() };
    assert_eq!(w.by(A, "service", "ehr", Action::LinkPatients(link)), Outcome::Applied);
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    // Of patient 1, and of what its salt says.
    let permit = pb::ConsentRule { grantees: to_member(B), ..rule(ConsentEffect::Permit) };
    let deny = pb::ConsentRule { tags: vec![label(1, 1)], ..rule(ConsentEffect::Deny) };
    assert_eq!(w.consent(&anna, 1, grant(ConsentBase::BreakGlassOnly, vec![permit, deny])), Outcome::Applied);
    let reader = name(B, "clinician", "c1");
    let of_other = |record| pb::RequestAccess { patient: id(5), ..read(record) };
    assert_eq!(w.ground(&reader, of_other(1)), Ground::Consent);
    assert_eq!(w.ground(&reader, of_other(2)), Ground::ConsentDenies);
}

#[test]
fn a_label_that_an_amendment_adds_protects_the_older_versions() {
    let mut w = world();
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    let all = pb::ConsentRule { grantees: to_member(B), ..rule(ConsentEffect::Permit) };
    let labelled = pb::ConsentRule { tags: vec![label(1, 9)], ..rule(ConsentEffect::Deny) };
    let said = grant(ConsentBase::BreakGlassOnly, vec![all, labelled]);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, said), Outcome::Applied);
    let doctor = name(B, "clinician", "c1");
    assert_eq!(w.ground(&doctor, consents::first_version()), Ground::Consent);
    let amend = |write: &mut pb::WriteRecord| (write.version, write.policy_tags) = (2, vec![label(1, 9)]);
    assert_eq!(w.write(A, 1, amend), Outcome::Applied);
    assert_eq!(w.ground(&doctor, consents::first_version()), Ground::ConsentDenies, "it was filed without a label");
    assert_eq!(w.write(A, 1, |write| write.version = 3), Outcome::Applied);
    assert_eq!(w.ground(&doctor, consents::first_version()), Ground::Consent, "which was a mistake");
}
