//! Petitions over real nodes: texts that only those open whom they are for, a refusal and the
//! statement behind it, the name behind an entry of the log.

use consilium_client::documents::DocumentHash;
use consilium_client::patients::Acceptance;
use consilium_client::petitions::{KnownPetition, PetitionAnswer, PetitionDraft, named_person};
use consilium_proto::names::MemberId;
use consilium_proto::transaction::{Answered, PetitionSubject, VersionRef};

use super::*;

const ANNA: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
const PERSON: &[u8] = b"Dr. Example, ward 3";

pub(super) async fn accepted(network: &Network, of: &Hospital) -> anyhow::Result<User> {
    accepted_at(network, (&of.ehr, of.patient), 0).await
}

/// A patient with an identity of a member, whom a hospital has accepted to read and to consent.
pub(crate) async fn accepted_at(
    network: &Network,
    (ehr, patient): (&User, PatientPseudonym),
    member: usize,
) -> anyhow::Result<User> {
    let anna = network.enrolled(member, Role::Patient, ANNA).await?;
    let acceptance = Acceptance {
        identity: anna.spiffe_id.parse()?,
        relation: pb::PatientRelation::Self_,
        may_read: true,
        may_consent: true,
        to: None,
        evidence: Hash::of(&[b"salted passport"]),
        scope: None,
    };
    ehr.client.accept_patient(patient, &acceptance).await?;
    Ok(anna)
}

/// Asks a hospital to put the first version of a record right.
pub(crate) async fn asks_to_correct(
    anna: &User,
    hospital: &MemberId,
    (patient, record): (PatientPseudonym, RecordId),
) -> anyhow::Result<PetitionDraft> {
    let subject = PetitionSubject::Correction(VersionRef { record, version: 1 });
    let petition = PetitionDraft::new(patient, hospital.clone(), subject);
    anna.client.open_petition(&petition, Some(b"it was the left arm")).await?;
    Ok(petition)
}

async fn only(client: &Client, patient: Option<PatientPseudonym>) -> anyhow::Result<KnownPetition> {
    let (mut petitions, _) = client.petitions(patient).await?;
    anyhow::ensure!(petitions.len() == 1, "{petitions:?}");
    Ok(petitions.remove(0))
}

#[test]
fn a_refused_correction_leaves_a_statement_that_every_reader_gets_with_the_record() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let anna = accepted(network, &of).await?;
        let doctor = network.enrolled(0, Role::Clinician, "doctor").await?;
        let member: MemberId = network.members[0].id.parse()?;
        let correction = asks_to_correct(&anna, &member, (of.patient, of.record)).await?;

        let asked = only(&of.keeper.client, None).await?;
        assert_eq!(&asked.open_text(&of.keeper.client)?[..], b"it was the left arm");
        assert_eq!(&asked.open_text(&anna.client)?[..], b"it was the left arm", "who asked reads it again");
        assert!(asked.open_text(&doctor.client).is_err());
        let verdict = Answered::Refused(pb::PetitionRefusal::Accurate);
        let refusal =
            PetitionAnswer { verdict, text: Some(b"the picture shows the right one".to_vec().into()), letter: None };
        doctor.client.answer_petition(&asked, &refusal).await?;
        let answered = only(&anna.client, Some(of.patient)).await?;
        for client in [&anna.client, &doctor.client] {
            assert_eq!(&answered.open_answer(client)?[..], b"the picture shows the right one");
        }
        assert!(answered.open_answer(&of.ehr.client).is_err());
        let (petition, patient) = (correction.id.to_string(), of.patient.to_string());
        let shown = network.cli(&anna, &["petition", "show", &petition, "--patient", &patient])?;
        assert!(shown.output.contains("  it says:\n    it was the left arm\n  the answer:\n"), "{}", shown.output);
        let shown = network.cli(&of.ehr, &["petition", "show", &petition])?;
        assert!(
            shown.output.contains("the text does not open with this identity's key: it is for"),
            "{}",
            shown.output
        );
        assert_eq!(answered.state.refusal(), pb::PetitionRefusal::Accurate);

        let record = VersionRef { record: of.record, version: 1 };
        let subject = PetitionSubject::Disagreement { record, refused: correction.id };
        let statement = PetitionDraft::new(of.patient, member, subject);
        anna.client.open_petition(&statement, Some(b"I know my arms")).await?;
        let reader = RecordReader::new(of.ehr.client.clone());
        let opened = reader.get_of(of.patient, of.record, None).await?;
        assert_eq!(opened.record.disagreements.len(), 1);
        let text = opened.disagreements[0].text.as_ref().map(|text| text.to_vec());
        assert_eq!(text.as_deref(), Some(&b"I know my arms"[..]));
        assert_eq!(opened.plaintext.map(|plain| plain.to_vec()).as_deref(), Some(&b"what was seen"[..]));
        Ok(())
    });
}

#[test]
fn a_patient_learns_who_read_and_nobody_else_learns_that_it_asked() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let anna = accepted(network, &of).await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        let person = network.folder().join("person.txt");
        std::fs::write(&person, PERSON)?;
        let file = person.to_str().expect("a path of ours");
        let (record, patient) = (of.record.to_string(), of.patient.to_string());
        let get = ["record", "get", &record, "--pseudonym", &patient];
        let unnamed = network.cli(&of.ehr, &[&get[..], &["--emergency", &"0e".repeat(16)]].concat())?;
        assert!(unnamed.code == Some(2) && unnamed.output.contains("--acting FILE"), "{}", unnamed.output);
        let got = network.cli(&of.ehr, &[&get[..], &["--export", "--acting", file]].concat())?;
        assert!(got.code == Some(0) && got.output.contains("what was seen"), "{}", got.output);
        let made = DocumentHash::of_file(&person)?;
        let log = anna.client.access_log(of.patient, KeptLog::nothing()).await?;
        let entry = log.events.last().map(|event| event.transaction_id).unwrap_or_else(|| unreachable!("it was read"));
        assert_eq!(log.events.last().and_then(|event| event.acting), Some(made.hash()));
        assert_eq!(log.events.last().map(|event| event.kind), Some(pb::AccessKind::Export));
        let member: MemberId = network.members[0].id.parse()?;
        let name = PetitionDraft::new(of.patient, member.clone(), PetitionSubject::Name(entry));
        anna.client.open_petition(&name, None).await?;

        let nosy = network.enrolled(0, Role::Clinician, "nosy").await?;
        let stranger = network.enrolled(1, Role::Service, "ehr").await?;
        for client in [&nosy.client, &stranger.client] {
            assert_eq!(client.petitions(Some(of.patient)).await?.0, []);
            assert_eq!(client.petitions(None).await?.0, []);
        }
        let due = auditor.client.petitions_due(&member).await?.unwrap_or_default();
        assert_eq!(due.petitions.len(), 1);
        let petition = name.id.to_string();
        let answer = ["petition", "answer", &petition, "--grant", "--person", file, "--yes"];
        let told = network.cli(&auditor, &answer)?;
        assert_eq!(told.code, Some(0), "{}", told.output);
        let answered = only(&anna.client, Some(of.patient)).await?;
        let answer = answered.open_answer(&anna.client)?;
        assert_eq!(named_person(&answer, &made.hash())?, PERSON);
        Ok(())
    });
}
