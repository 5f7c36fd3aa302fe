//! What a hospital that has left owes to patients, its successor gives: it answers what they had
//! asked, and puts right, or takes back, what the one that left had written. Nobody else does.

use super::petitions::{granted, refused, to};
use super::rewraps::counts;
use super::salts::{label, put};
use super::successors::{C, D, E, leaves, world};
use super::*;
use consilium_ledger::lookup::prove_record;
use consilium_proto::ids::{Fingerprint, RecordId};
use consilium_proto::record::{GoodSignatures, KnownSigner, Unproven};
use pb::{PetitionKind as Kind, PetitionRefusal as Refusal, PetitionVerdict as Verdict};

fn ehr(member: &str) -> String {
    name(member, "service", "ehr")
}

fn record(w: &World) -> pb::RecordState {
    w.ledger.store.message(Table::State, &keys::record(&RecordId([1; 16]))).unwrap()
}

fn retract(version: u32, reason: pb::RetractionReason) -> Action {
    Action::RetractRecord(pb::RetractRecord { record_id: id(1), version, reason: reason.into() })
}

fn amends(version: u32) -> impl FnOnce(&mut pb::WriteRecord) {
    move |write| write.version = version
}

/// Wrapped for a key, too.
fn amends_for(version: u32, key: KeyId) -> impl FnOnce(&mut pb::WriteRecord) {
    move |write| {
        let wrap = pb::KeyWrapRef { recipient_key_id: key.to_bytes(), ..write.wraps[0].clone() };
        (write.version, write.wraps) = (version, vec![write.wraps[0].clone(), wrap]);
    }
}

#[test]
fn what_was_asked_of_who_left_is_answered_by_who_keeps_its_records() {
    let (mut w, anna) = world();
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    let entry_id = w.ask(&name(A, "clinician", "c1"), read(1)).transaction_id;
    let complaint = pb::OpenPetition { entry_id, ..to(A, 2, Kind::Complaint) };
    for petition in [to(A, 1, Kind::Correction), complaint, to(A, 3, Kind::Correction)] {
        assert_eq!(w.opens(&anna, petition), Outcome::Applied);
    }
    assert_eq!(w.answers(&ehr(C), granted(1, 2)), Outcome::PetitionNotFound, "hospital a is here still");
    leaves(&mut w, A, C, &[B, C, D]);
    w.enroll(C, "auditor", "privacy");
    assert_eq!(w.answers(&ehr(D), refused(1, Refusal::Accurate)), Outcome::PetitionNotFound);
    assert_eq!(w.answers(&ehr(C), granted(1, 2)), Outcome::NotAmended, "nothing was put right yet");
    assert_eq!(w.write(C, 1, amends(2)), Outcome::Applied);
    assert_eq!(w.answers(&ehr(C), granted(1, 2)), Outcome::Applied);
    let state = w.petition(1);
    assert_eq!((state.verdict(), &state.member[..], state.answered_by), (Verdict::Granted, A, ehr(C)));
    assert_eq!(w.answers(&ehr(C), granted(2, 0)), Outcome::RoleNotAllowed, "it concerns a person");
    assert_eq!(w.answers(&name(C, "auditor", "privacy"), granted(2, 0)), Outcome::Applied);
    assert_eq!(w.due(A).iter().map(|due| due.0).collect::<Vec<_>>(), [3]);
    assert_eq!(w.due(C), []);
    // And by who follows that one.
    w.ledger.run(2, &[2, 3, 4, 5]);
    leaves(&mut w, C, D, &[B, D, E]);
    assert_eq!(w.answers(&ehr(D), refused(3, Refusal::Accurate)), Outcome::Applied);
    assert_eq!(w.due(A), []);
}

#[test]
fn behind_a_refusal_of_either_the_patient_disagrees_at_the_successor() {
    let (mut w, anna) = world();
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    for number in [1, 2] {
        assert_eq!(w.opens(&anna, to(A, number, Kind::Correction)), Outcome::Applied);
    }
    assert_eq!(w.answers(&name(A, "clinician", "c1"), refused(1, Refusal::Accurate)), Outcome::Applied);
    leaves(&mut w, A, C, &[B, C, D]);
    let disagrees = |member, number, refused| pb::OpenPetition {
        refused_id: id(refused),
        text_sha256: Bytes::copy_from_slice(&sha256(&[b"sealed"])),
        ..to(member, number, Kind::Disagreement)
    };
    assert_eq!(w.opens(&anna, disagrees(C, 3, 2)), Outcome::PetitionNotFound, "nobody has refused it");
    assert_eq!(w.answers(&ehr(C), refused(2, Refusal::Accurate)), Outcome::Applied);
    assert_eq!(w.opens(&anna, disagrees(D, 3, 2)), Outcome::NotAccepted);
    for (number, refused) in [(3, 2), (4, 1)] {
        assert_eq!(w.opens(&anna, disagrees(C, number, refused)), Outcome::Applied);
    }
    assert_eq!(record(&w).disagreements.len(), 2);
}

#[test]
fn who_keeps_a_record_amends_it_and_it_stays_the_record_of_who_left() {
    let (mut w, _) = world();
    let key = |w: &World, member| w.key(member, "service", "custodian");
    let (of_a, of_c) = (key(&w, A), key(&w, C));
    assert_eq!(w.write(C, 1, amends(2)), Outcome::RecordMismatch, "it is not its successor yet");
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(w.write(D, 1, amends(2)), Outcome::RecordMismatch);
    assert_eq!(w.write(C, 1, |write| (write.version, write.patient) = (2, id(2))), Outcome::RecordMismatch);
    assert_eq!(w.write(C, 1, |write| (write.version, write.kind) = (2, "Condition".into())), Outcome::RecordMismatch);
    assert_eq!(w.write(C, 1, |_| ()), Outcome::RecordExists);
    assert_eq!(w.write(C, 1, amends(3)), Outcome::VersionConflict);
    let for_old = |write: &mut pb::WriteRecord| {
        (write.version, write.wraps[0].recipient_key_id) = (2, of_a.to_bytes());
    };
    assert_eq!(w.write(C, 1, for_old), Outcome::CustodyWrapMissing, "nobody could open it");
    assert_eq!(w.write(C, 1, amends_for(2, of_a)), Outcome::WrapNotPermitted);
    assert_eq!((counts(&w, A, of_c), counts(&w, C, of_c)), ((1, 0), (0, 0)));
    assert_eq!(w.write(C, 1, amends(2)), Outcome::Applied);
    assert_eq!((counts(&w, A, of_c), counts(&w, C, of_c)), ((2, 1), (0, 0)), "among those of who left");
    assert_eq!((&record(&w).member[..], record(&w).version), (A, 2));
    assert_eq!(w.write(D, 1, amends(3)), Outcome::RecordMismatch);
    // Who follows keeps that version, too.
    w.ledger.run(2, &[2, 3, 4, 5]);
    leaves(&mut w, C, D, &[B, D, E]);
    assert_eq!(w.write(D, 1, amends(3)), Outcome::Applied);
    let of_d = key(&w, D);
    assert_eq!((&record(&w).member[..], counts(&w, A, of_d)), (A, (3, 1)));
}

#[test]
fn a_version_of_the_successor_is_proven_with_who_keeps_the_record_and_not_without() {
    let (mut w, _) = world();
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(w.write(C, 1, amends(2)), Outcome::Applied);
    let custody: pb::CustodyState = w.ledger.store.message(Table::State, &keys::custody(A)).unwrap();
    let id = RecordId([1; 16]);
    let version = |number| w.ledger.store.message(Table::Versions, &keys::version(&id, number)).unwrap();
    let verify = |shown: &[pb::RecordVersion], keepers: &[pb::CustodyKeeper]| {
        let header = &w.ledger.tip.header;
        let proof = prove_record(&w.ledger.store, header, &id, shown).unwrap();
        let row = |key: &Fingerprint| w.ledger.store.message(Table::State, &keys::signer(key)).unwrap();
        let signer = |key| (key, KnownSigner::try_from(&row(&key)).unwrap());
        let signers: BTreeMap<Fingerprint, KnownSigner> = proof.signers().into_iter().map(signer).collect();
        let signer = |key: &Fingerprint| signers.get(key);
        proof.verify_among(&id, shown, header, (signer, keepers, &mut GoodSignatures::default())).map(|row| row.member)
    };
    let both = [version(1), version(2)];
    assert_eq!(verify(&both, &custody.keepers).as_deref(), Ok(A));
    assert_eq!(verify(&both[..1], &[]).as_deref(), Ok(A));
    assert_eq!(verify(&both, &[]), Err(Unproven::Row));
    let late = pb::CustodyKeeper { since_height: both[1].height + 1, ..custody.keepers[0].clone() };
    assert_eq!(verify(&both, &[late]), Err(Unproven::Row), "it did not keep it yet");
}

#[test]
fn what_the_successor_has_written_is_read_as_the_other_versions_are() {
    let (mut w, anna) = world();
    let doctor = name(B, "clinician", "c1");
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 1, share_with_b()), Outcome::Applied);
    leaves(&mut w, A, C, &[B, C, D]);
    w.enroll(C, "clinician", "other");
    let mine = |w: &World, who: &str| in_sight::look(w, who, 1, &[], AccessKind::Query).1;
    assert!(mine(&w, &ehr(C)).is_empty());
    assert_eq!(w.write(C, 1, amends(2)), Outcome::Applied);
    assert_eq!((w.ground(&ehr(C), read(1)), mine(&w, &ehr(C))), (Ground::Author, vec![1]), "what it wrote itself");
    let before = pb::RequestAccess { records: vec![pb::VersionRef { record_id: id(1), version: 1 }], ..read(1) };
    assert_eq!(w.ground(&ehr(C), before), Ground::ConsentDenies, "and nothing else");
    let other = name(C, "clinician", "other");
    assert_eq!((w.ground(&other, read(1)), mine(&w, &other)), (Ground::ConsentDenies, vec![]));
    // Its custodian is asked for the key where it is asked for those of who left.
    assert_eq!((w.ground(&doctor, read(1)), mine(&w, &doctor)), (Ground::Consent, vec![1]));
    let work = |member: &str| -> pb::CustodyWorkState {
        w.ledger.store.message(Table::State, &keys::custody_work(member)).unwrap_or_default()
    };
    assert_eq!((work(A).open, work(C).open), (2, 0));
}

#[test]
fn a_version_of_the_successor_is_for_the_patient_as_its_custodians_have_accepted_it() {
    let (mut w, anna) = world();
    let [newly, strange] = [C, D].map(|member| name(member, "patient", ANNA));
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.accept(C, &newly, |_| ()), Outcome::Applied);
    assert_eq!(w.accept(D, &strange, |_| ()), Outcome::Applied);
    leaves(&mut w, A, C, &[B, C, D]);
    let key = w.key(D, "patient", ANNA);
    assert_eq!(w.write(C, 1, amends_for(2, key)), Outcome::WrapNotPermitted, "d keeps nothing");
    for (version, member) in [(2, B), (3, C)] {
        let key = w.key(member, "patient", ANNA);
        assert_eq!(w.write(C, 1, amends_for(version, key)), Outcome::Applied);
    }
    assert_eq!(w.accept(C, &anna, |accept| accept.withdrawn = true), Outcome::Applied);
    let key = w.key(B, "patient", ANNA);
    assert_eq!(w.write(C, 1, amends_for(4, key)), Outcome::WrapNotPermitted);
}

#[test]
fn an_amendment_may_carry_the_labels_that_the_record_has() {
    let (mut w, _) = world();
    for (member, salt) in [(A, 1), (C, 3), (D, 4)] {
        let key = w.key(member, "service", "ehr");
        assert_eq!(put(&mut w, &ehr(member), (1, salt), &[key]), Outcome::Applied);
    }
    let labelled = |version, tags: &[Bytes]| {
        let tags = tags.to_vec();
        move |write: &mut pb::WriteRecord| (write.version, write.policy_tags) = (version, tags)
    };
    let (of_a, of_c, of_d) = (label(1, 1), label(3, 1), label(4, 1));
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(w.write(C, 1, labelled(2, &[of_a.clone(), of_d])), Outcome::SaltConflict);
    assert_eq!(w.write(C, 1, labelled(2, &[of_a.clone(), of_c])), Outcome::Applied);
    assert_eq!(w.write(C, 2, labelled(1, &[of_a])), Outcome::SaltConflict, "of a record of its own");
}

#[test]
fn who_keeps_a_record_retracts_it_and_a_second_person_of_it_confirms() {
    for reason in [pb::RetractionReason::Unspecified, pb::RetractionReason::WrongPatient] {
        let (mut w, _) = world();
        assert_eq!(w.by(C, "service", "ehr", retract(1, reason)), Outcome::RecordMismatch);
        leaves(&mut w, A, C, &[B, C, D]);
        assert_eq!(w.by(D, "service", "ehr", retract(1, reason)), Outcome::RecordMismatch);
        assert_eq!(w.by(C, "service", "ehr", retract(1, reason)), Outcome::Applied);
        assert_eq!((&record(&w).member[..], record(&w).retracted), (A, true));
        assert_eq!(w.write(C, 1, amends(3)), Outcome::RecordRetracted);
    }
    let (mut w, _) = world();
    leaves(&mut w, A, C, &[B, C, D]);
    assert_eq!(w.by(C, "service", "ehr", retract(1, pb::RetractionReason::WrongPatient)), Outcome::Applied);
    let confirm = || Action::ConfirmRetraction(pb::ConfirmRetraction { record_id: id(1), version: 2 });
    assert_eq!(w.by(C, "service", "ehr", confirm()), Outcome::RoleNotAllowed, "that is the same person");
    assert_eq!(w.by(C, "service", "custodian", confirm()), Outcome::Applied);
}
