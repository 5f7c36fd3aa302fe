//! Petitions: asked by who speaks for the patient, due, answered by somebody else; and statements
//! of disagreement, of which whoever reads the record learns.

use super::*;
use consilium_proto::ids::{PetitionId, RecordId};
use pb::{PetitionKind as Kind, PetitionRefusal as Refusal, PetitionVerdict as Verdict};

pub(super) fn to(member: &str, petition: u8, kind: Kind) -> pb::OpenPetition {
    let about_record = matches!(kind, Kind::Correction | Kind::Disagreement);
    pb::OpenPetition {
        petition_id: id(petition),
        patient: id(1),
        member: member.into(),
        kind: kind.into(),
        record: about_record.then(|| pb::VersionRef { record_id: id(1), version: 1 }),
        entry_id: if about_record { Bytes::new() } else { vec![6; 32].into() },
        ..pb::OpenPetition::default()
    }
}

pub(super) fn granted(petition: u8, amended_version: u32) -> pb::AnswerPetition {
    let verdict = Verdict::Granted.into();
    pb::AnswerPetition { petition_id: id(petition), verdict, amended_version, ..pb::AnswerPetition::default() }
}

pub(super) fn refused(petition: u8, refusal: Refusal) -> pb::AnswerPetition {
    let (verdict, refusal) = (Verdict::Refused.into(), refusal.into());
    pb::AnswerPetition { petition_id: id(petition), verdict, refusal, ..pb::AnswerPetition::default() }
}

/// Anna, whom hospital a has accepted and registered, and a record of each hospital.
fn world() -> (World, String) {
    let mut w = World::with(|p| p.petition_ms = 10 * DAY);
    w.write(A, 1, |_| ());
    w.write(B, 2, |_| ());
    let anna = name(A, "patient", ANNA);
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    (w, anna)
}

impl World {
    pub(super) fn opens(&mut self, by: &str, petition: pb::OpenPetition) -> Outcome {
        let attachments = if petition.text_sha256.is_empty() { vec![] } else { vec![Bytes::from_static(b"sealed")] };
        self.submit(by, vec![Action::OpenPetition(petition)], attachments).1
    }

    pub(super) fn answers(&mut self, by: &str, answer: pb::AnswerPetition) -> Outcome {
        self.submit(by, vec![Action::AnswerPetition(answer)], vec![]).1
    }

    pub(super) fn petition(&self, petition: u8) -> pb::PetitionState {
        self.ledger.store.message(Table::State, &keys::petition(&PetitionId([petition; 16]))).unwrap()
    }

    pub(super) fn due(&self, member: &str) -> Vec<(u8, u64)> {
        let row: Option<pb::PetitionsDueState> = self.ledger.store.message(Table::State, &keys::petitions_due(member));
        row.unwrap_or_default().petitions.iter().map(|due| (due.petition_id[0], due.due_ms)).collect()
    }
}

#[test]
fn a_correction_is_asked_by_whom_the_custodian_accepted_and_granted_by_a_later_version() {
    let (mut w, anna) = world();
    let stranger = name(B, "patient", ANNA);
    assert_eq!(w.opens(&stranger, to(A, 1, Kind::Correction)), Outcome::NotAccepted);
    let of_b = pb::VersionRef { record_id: id(2), version: 1 };
    let at_b = pb::OpenPetition { record: Some(of_b.clone()), ..to(B, 1, Kind::Correction) };
    assert_eq!(w.opens(&anna, at_b), Outcome::NotAccepted, "b has not accepted her");
    let not_theirs = pb::OpenPetition { record: Some(of_b), ..to(A, 1, Kind::Correction) };
    assert_eq!(w.opens(&anna, not_theirs), Outcome::RecordNotFound);
    let unwritten = pb::VersionRef { record_id: id(1), version: 2 };
    let unwritten = pb::OpenPetition { record: Some(unwritten), ..to(A, 1, Kind::Correction) };
    assert_eq!(w.opens(&anna, unwritten), Outcome::RecordNotFound);
    assert_eq!(w.opens(&anna, to(A, 1, Kind::Correction)), Outcome::Applied);
    assert_eq!(w.due(A), [(1, w.now() + 10 * DAY)]);
    assert_eq!(w.opens(&anna, to(A, 1, Kind::Correction)), Outcome::PetitionExists);

    let doctor = name(A, "clinician", "c1");
    assert_eq!(w.answers(&name(B, "clinician", "c1"), granted(1, 2)), Outcome::PetitionNotFound);
    assert_eq!(w.answers(&doctor, granted(1, 2)), Outcome::NotAmended, "nothing was put right yet");
    w.write(A, 1, |write| write.version = 2);
    for version in [0, 1, 3] {
        assert_eq!(w.answers(&doctor, granted(1, version)), Outcome::NotAmended, "{version}");
    }
    assert_eq!(w.answers(&name(A, "researcher", "r1"), granted(1, 2)), Outcome::RoleNotAllowed);
    assert_eq!(w.answers(&doctor, granted(1, 2)), Outcome::Applied);
    assert_eq!(w.answers(&doctor, granted(1, 2)), Outcome::PetitionNotFound, "once and for all");
    let state = w.petition(1);
    assert_eq!((state.verdict(), state.amended_version, state.answered_by), (Verdict::Granted, 2, doctor));
    assert_eq!(w.due(A), []);
}

#[test]
fn a_refusal_is_by_another_and_a_statement_behind_it_stays_with_the_record() {
    let (mut w, anna) = world();
    let disagrees = || pb::OpenPetition {
        refused_id: id(1),
        text_sha256: Bytes::copy_from_slice(&sha256(&[b"sealed"])),
        ..to(A, 2, Kind::Disagreement)
    };
    assert_eq!(w.opens(&anna, to(A, 1, Kind::Correction)), Outcome::Applied);
    assert_eq!(w.opens(&anna, disagrees()), Outcome::PetitionNotFound, "nothing was refused");
    let ehr = name(A, "service", "ehr");
    assert_eq!(w.answers(&ehr, refused(1, Refusal::Accurate)), Outcome::RoleNotAllowed, "it wrote the version");
    assert_eq!(w.answers(&name(A, "clinician", "c1"), refused(1, Refusal::Accurate)), Outcome::Applied);
    let other_version = pb::VersionRef { record_id: id(1), version: 2 };
    w.write(A, 1, |write| write.version = 2);
    let other = pb::OpenPetition { record: Some(other_version), ..disagrees() };
    assert_eq!(w.opens(&anna, other), Outcome::PetitionNotFound, "of another version nothing was refused");
    assert_eq!(w.opens(&anna, disagrees()), Outcome::Applied);
    w.write(A, 1, |write| write.version = 3);
    let record: pb::RecordState = w.ledger.store.message(Table::State, &keys::record(&RecordId([1; 16]))).unwrap();
    let statement = pb::Disagreement { petition_id: id(2), version: 1, text_sha256: disagrees().text_sha256 };
    assert_eq!((record.version, record.disagreements), (3, vec![statement]));
    assert_eq!(w.due(A), [], "no answer is due");
    assert_eq!(w.answers(&name(A, "auditor", "privacy"), granted(2, 0)), Outcome::PetitionNotFound);
}

/// Somebody reads record 1, which leaves an entry; gives its transaction.
fn entry(w: &mut World, reader: &str) -> Bytes {
    w.ask(reader, read(1)).transaction_id
}

#[test]
fn a_complaint_is_about_an_entry_that_the_member_must_answer_for() {
    let (mut w, anna) = world();
    let about = |member: &str, petition, entry_id: &Bytes| pb::OpenPetition {
        entry_id: entry_id.clone(),
        ..to(member, petition, Kind::Complaint)
    };
    assert_eq!(w.opens(&anna, to(B, 1, Kind::Complaint)), Outcome::EntryNotFound, "made up");
    let by_b = entry(&mut w, &name(B, "clinician", "c1"));
    assert_eq!(w.opens(&anna, about("c.example", 1, &by_b)), Outcome::MemberNotActive);
    assert_eq!(w.opens(&anna, about(B, 1, &by_b)), Outcome::Applied, "of one of its people");
    assert_eq!(w.opens(&anna, about(A, 2, &by_b)), Outcome::Applied, "about a record of that one");
    let by_a = entry(&mut w, &name(A, "clinician", "c1"));
    assert_eq!(w.opens(&anna, about(B, 3, &by_a)), Outcome::EntryNotFound, "that is nothing to b");
    // Of another patient's log it is none; nor what was said, which nobody asked for.
    let other = pb::RegisterPatient { patient: id(5), lookups_sha256: Vec::new() };
    assert_eq!(w.by(A, "service", "ehr", Action::RegisterPatient(other)), Outcome::Applied);
    w.accept(A, &anna, |accept| accept.patient = id(5));
    let foreign = pb::OpenPetition { patient: id(5), ..about(B, 3, &by_b) };
    assert_eq!(w.opens(&anna, foreign), Outcome::EntryNotFound);
    // On paper it is the same.
    let paper = |entry| pb::OpenPetition { document_sha256: vec![5; 32].into(), ..about(B, 3, entry) };
    assert_eq!(w.opens(&name(B, "service", "ehr"), paper(&by_a)), Outcome::EntryNotFound);
    assert_eq!(w.opens(&name(B, "service", "ehr"), paper(&by_b)), Outcome::Applied);
}

#[test]
fn patients_whom_a_member_makes_up_owe_another_one_nothing() {
    let (mut w, _) = world();
    let minted = name(B, "patient", GUARDIAN);
    for patient in [40, 41] {
        let register = pb::RegisterPatient { patient: id(patient), lookups_sha256: Vec::new() };
        assert_eq!(w.by(B, "service", "ehr", Action::RegisterPatient(register)), Outcome::Applied);
        w.accept(B, &minted, |accept| accept.patient = id(patient));
        let of = |request: pb::RequestAccess| pb::RequestAccess { patient: id(patient), ..request };
        let by_own = w.ask(&name(B, "clinician", "c1"), of(read(1))).transaction_id;
        for (kind, entry_id) in [(Kind::Complaint, by_own), (Kind::Correction, Bytes::new())] {
            let petition = pb::OpenPetition { patient: id(patient), entry_id, ..to(A, 1, kind) };
            assert_ne!(w.opens(&minted, petition), Outcome::Applied, "{kind:?}");
        }
    }
    assert_eq!(w.due(A), []);
}

#[test]
fn what_concerns_a_person_is_asked_through_the_registrar_and_answered_by_an_auditor() {
    let (mut w, anna) = world();
    // Hospital b has not accepted her; the log that she reads is shown by hospital a's word.
    let entry_id = entry(&mut w, &name(B, "clinician", "c1"));
    let to =
        |member: &str, petition, kind| pb::OpenPetition { entry_id: entry_id.clone(), ..to(member, petition, kind) };
    for (petition, kind) in [(1, Kind::Complaint), (2, Kind::Name)] {
        assert_eq!(w.opens(&anna, to(B, petition, kind)), Outcome::Applied);
    }
    let impostor = name(B, "patient", GUARDIAN);
    w.accept(B, &impostor, |_| ());
    assert_eq!(w.opens(&impostor, to(B, 3, Kind::Name)), Outcome::NotAccepted, "b shows nobody the log");
    assert_eq!(w.opens(&anna, to("c.example", 3, Kind::Name)), Outcome::MemberNotActive);
    let auditor = name(B, "auditor", "privacy");
    assert_eq!(w.answers(&name(B, "clinician", "c1"), granted(1, 0)), Outcome::RoleNotAllowed);
    assert_eq!(w.answers(&auditor, granted(1, 1)), Outcome::NotAmended);
    assert_eq!(w.answers(&auditor, granted(1, 0)), Outcome::Applied);
    assert_eq!(w.answers(&auditor, granted(2, 0)), Outcome::DocumentMissing, "a name that nobody is told");
    let told = pb::AnswerPetition { letter_sha256: vec![8; 32].into(), ..granted(2, 0) };
    assert_eq!(w.answers(&auditor, told), Outcome::Applied);
    let unknown = pb::OpenPetition { patient: id(9), ..to(B, 3, Kind::Name) };
    assert_eq!(w.opens(&anna, unknown), Outcome::NotAccepted, "as of whom she does not speak for");
}

#[test]
fn a_petition_on_paper_is_entered_by_the_member_that_is_asked() {
    let (mut w, _) = world();
    let clerk = name(A, "clinician", "c2");
    let paper =
        |member: &str| pb::OpenPetition { document_sha256: vec![5; 32].into(), ..to(member, 1, Kind::Correction) };
    assert_eq!(w.opens(&clerk, to(A, 1, Kind::Correction)), Outcome::DocumentMissing);
    assert_eq!(w.opens(&clerk, paper(B)), Outcome::NotAccepted);
    assert_eq!(w.opens(&name(A, "researcher", "r1"), paper(A)), Outcome::RoleNotAllowed);
    assert_eq!(w.opens(&clerk, pb::OpenPetition { patient: id(9), ..paper(A) }), Outcome::PatientNotFound);
    assert_eq!(w.opens(&clerk, paper(A)), Outcome::Applied);
    assert_eq!(w.answers(&clerk, refused(1, Refusal::Accurate)), Outcome::RoleNotAllowed, "who entered it");
    assert_eq!(w.answers(&name(A, "auditor", "privacy"), refused(1, Refusal::Accurate)), Outcome::Applied);
}

#[test]
fn one_patient_cannot_push_others_from_the_list() {
    let (mut w, anna) = world();
    for petition in 1..=16 {
        assert_eq!(w.opens(&anna, to(A, petition, Kind::Correction)), Outcome::Applied);
    }
    assert_eq!(w.opens(&anna, to(A, 17, Kind::Correction)), Outcome::TooManyOfPatient);
    assert_eq!(w.answers(&name(A, "clinician", "c1"), refused(3, Refusal::Law)), Outcome::Applied);
    assert_eq!(w.opens(&anna, to(A, 17, Kind::Correction)), Outcome::Applied);
    assert_eq!(w.due(A).len(), 16);
}
