//! A hospital leaves by a vote, and another one keeps its records, and answers what patients had
//! asked.

use anyhow::Context;
use consilium_client::consents::{ConsentDraft, Consents};
use consilium_client::petitions::PetitionAnswer;
use consilium_client::records::{Access, Draft, LabelsBefore, RecordDraft, RecordReader, RecordWriter};
use consilium_e2e::{Network, User, short_epochs};
use consilium_proto::consent::{Grant, Grantee, Rule};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, ConsentBase, ConsentEffect, PurposeOfUse};
use consilium_proto::transaction::Answered;

use crate::rights::{accepted_at, asks_to_correct, running_with};

/// The hospital that leaves.
const LEAVES: usize = 3;
/// Its successor.
const KEEPS: usize = 1;
/// One whose doctor reads.
const READS: usize = 2;

/// What a command says that has to succeed, or has not to.
fn says(network: &Network, by: &User, arguments: &[&str], succeeds: bool) -> anyhow::Result<String> {
    let ran = network.cli(by, arguments)?;
    anyhow::ensure!((ran.code == Some(0)) == succeeds, "{arguments:?}: {}", ran.output);
    Ok(ran.output)
}

/// What a reader is shown of a record.
async fn seen(by: &User, purpose: PurposeOfUse, of: (PatientPseudonym, RecordId)) -> anyhow::Result<(u32, Vec<u8>)> {
    let opened = RecordReader::with(by.client.clone(), Access::of(purpose)).get_of(of.0, of.1, None).await?;
    Ok((opened.record.version.version, opened.plaintext.context("no content")?.to_vec()))
}

/// The successor puts right what its predecessor had been asked to.
async fn answers(
    network: &Network,
    (anna, clerk): (&User, &User),
    of: (PatientPseudonym, RecordId),
) -> anyhow::Result<()> {
    let privacy = network.enrolled(KEEPS, Role::Auditor, "privacy").await?;
    let stranger = network.enrolled(READS, Role::Service, "ehr").await?;
    let due = says(network, &privacy, &["petition", "due"], true)?;
    anyhow::ensure!(due.contains("owes 1 answer"), "{due}");
    anyhow::ensure!(stranger.client.petitions(None).await?.0.is_empty());
    let (asked, _) = clerk.client.petitions(None).await?;
    let [asked] = &asked[..] else { anyhow::bail!("{asked:?}") };
    anyhow::ensure!(asked.state.member == network.members[LEAVES].id, "{asked:?}");
    let right = || RecordDraft::document("note", of.0, "what was meant".into());
    let refused = RecordWriter::new(stranger.client.clone()).await;
    let refused = refused?.amend(of.1, right(), LabelsBefore::Kept, pb::WaitFor::Certified).await;
    anyhow::ensure!(refused.is_err(), "a stranger amends");
    let writer = RecordWriter::new(clerk.client.clone()).await?;
    let (_, amended) = writer.amend(of.1, right(), LabelsBefore::Kept, pb::WaitFor::Certified).await?;
    let verdict = Answered::Granted { amended };
    let text = Some(b"it was put right".to_vec().into());
    clerk.client.answer_petition(asked, &PetitionAnswer { verdict, text, letter: None }).await?;
    let (known, _) = anna.client.petitions(Some(of.0)).await?;
    let [known] = &known[..] else { anyhow::bail!("{known:?}") };
    anyhow::ensure!(known.open_answer(&anna.client)?[..] == b"it was put right"[..]);
    let shown = RecordReader::new(clerk.client.clone()).said(of.1, None).await?;
    let wraps = &shown.version.wraps;
    anyhow::ensure!((amended, wraps.len()) == (2, 3), "for who wrote it, the custodian and the patient: {wraps:?}");
    anyhow::ensure!(seen(anna, PurposeOfUse::Patrqt, of).await? == (2, b"what was meant".to_vec()));
    let due = says(network, &privacy, &["petition", "due"], true)?;
    anyhow::ensure!(due.contains("owes 0 answers"), "{due}");
    Ok(())
}

#[test]
fn a_hospital_leaves_once_another_keeps_its_records_and_those_are_read_there() {
    Network::of(4).parameters(short_epochs(2_000)).run(async |network| {
        let admins = network.admins().await?;
        let member = |index: usize| network.members[index].id.clone();
        let [left, successor, reads] = [LEAVES, KEEPS, READS].map(member);
        let mut keepers = Vec::new();
        for index in [LEAVES, KEEPS] {
            let keeper = network.enrolled(index, Role::Service, "custodian").await?;
            says(network, &admins[index], &["custodian", "set-key", &keeper.spiffe_id], true)?;
            keepers.push(keeper);
        }
        let ehr = network.enrolled(LEAVES, Role::Service, "ehr").await?;
        let patient = PatientPseudonym(rand::random());
        let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
        ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
        let draft = RecordDraft::document("note", patient, "what was seen".into());
        let writer = RecordWriter::new(ehr.client.clone()).await?;
        let record = writer.write(vec![Draft::new(draft)], pb::WaitFor::Certified).await?[0].1[0];
        let permit = Rule { grantees: vec![Grantee::Member(reads.parse()?)], ..Rule::of_effect(ConsentEffect::Permit) };
        let grant = Grant { rules: vec![permit], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
        let mut paper = ConsentDraft::new(patient, grant, Some(Hash::of(&[b"salted scan"])));
        Consents::new(ehr.client.clone()).put(&mut paper).await?;
        let anna = accepted_at(network, (&ehr, patient), READS).await?;
        asks_to_correct(&anna, &left.parse()?, (patient, record)).await?;

        // Not before another one has accepted, and can open what there is.
        let propose = ["governance", "propose", "remove", &left, "--reason", "it closes", "--yes"];
        let refused = says(network, &admins[0], &propose, false)?;
        anyhow::ensure!(refused.contains("no member has accepted"), "{refused}");
        says(network, &admins[KEEPS], &["custodian", "accept", &left], true)?;
        let refused = says(network, &admins[0], &propose, false)?;
        anyhow::ensure!(refused.contains("1 of 1 versions"), "{refused}");
        says(network, &admins[LEAVES], &["custodian", "name-deputy", &successor], true)?;
        says(network, &keepers[0], &["custodian", "run", "--once"], true)?;
        let planned = says(network, &admins[0], &propose, true)?;
        anyhow::ensure!(planned.contains(&format!("{successor} keeps them from then on")), "{planned}");

        // The members vote on the successor, too, and that stands meanwhile.
        let open = admins[0].client.list_proposals(true, 0, None).await?.into_claimed();
        let newest = open.proposals.first().and_then(|newest| newest.proposal.as_ref());
        let number = newest.context("no proposal")?.number;
        let shown = says(network, &admins[READS], &["governance", "show", &number.to_string()], true)?;
        anyhow::ensure!(shown.contains(&format!("whose records {successor} keeps")), "{shown}");
        let back = ["custodian", "accept", &left, "--withdraw"];
        let refused = says(network, &admins[KEEPS], &back, false)?;
        anyhow::ensure!(refused.contains("CUSTODIAN_REFUSED"), "{refused}");
        for admin in [&admins[KEEPS], &admins[READS]] {
            admin.client.cast_ballot(number, pb::BallotChoice::Approve).await?;
        }
        network.settled(&[0, 1, 2]).await?;
        network.nodes[LEAVES].kill9()?;
        let shown = says(network, &admins[0], &["custodian", "show", &left], true)?;
        anyhow::ensure!(shown.contains(&format!("keeper: {successor}")), "{shown}");

        // It is told of requests: it would not look for them in time.
        let _custodian = running_with(&keepers[1], network, &["--every", "600000"])?;
        let doctor = network.enrolled(READS, Role::Clinician, "doctor").await?;
        let of = (patient, record);
        anyhow::ensure!(seen(&doctor, PurposeOfUse::Treat, of).await? == (1, b"what was seen".to_vec()));
        let clerk = network.enrolled(KEEPS, Role::Service, "ehr").await?;
        answers(network, (&anna, &clerk), of).await?;
        anyhow::ensure!(seen(&doctor, PurposeOfUse::Treat, of).await? == (2, b"what was meant".to_vec()));
        // Paper of the hospital that left is the successor's to end.
        Consents::new(clerk.client.clone()).revoke(paper.id).await?;
        let other = network.enrolled(READS, Role::Clinician, "other").await?;
        let denied = RecordReader::with(other.client.clone(), Access::of(PurposeOfUse::Treat));
        anyhow::ensure!(denied.get_of(patient, record, None).await.is_err(), "nobody shares it any more");
        says(network, &clerk, &["record", "retract", &record.to_string()], true)?;
        Ok(())
    });
}
