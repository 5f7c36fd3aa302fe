//! A record under the wrong patient is moved, and what happened while two pseudonyms were linked
//! is listed.

use anyhow::Context;
use consilium_client::access_log::KeptLog;
use consilium_client::records::{Access, Draft, RecordDraft, RecordReader, RecordWriter};
use consilium_e2e::{Network, User};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, AccessGround, PurposeOfUse};
use serde_json::Value;

use crate::rights::accepted_at;

async fn registered(ehr: &User) -> anyhow::Result<PatientPseudonym> {
    let patient = PatientPseudonym(rand::random());
    let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
    ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
    Ok(patient)
}

async fn written(ehr: &User, patient: PatientPseudonym, text: &'static str) -> anyhow::Result<RecordId> {
    let draft = Draft::new(RecordDraft::document("note", patient, text.into()));
    let writer = RecordWriter::new(ehr.client.clone()).await?;
    Ok(writer.write(vec![draft], pb::WaitFor::Certified).await?[0].1[0])
}

async fn read(user: &User, patient: PatientPseudonym, record: RecordId) -> anyhow::Result<Option<Vec<u8>>> {
    let reader = RecordReader::with(user.client.clone(), Access::of(PurposeOfUse::Treat));
    Ok(reader.get_of(patient, record, None).await?.plaintext.map(|plain| plain.to_vec()))
}

/// The result of a command.
fn told(network: &Network, user: &User, line: &str) -> anyhow::Result<Value> {
    let words: Vec<&str> = ["--output", "json"].into_iter().chain(line.split(' ')).collect();
    let exit = network.cli(user, &words)?;
    anyhow::ensure!(exit.code == Some(0), "{}", exit.output);
    let document = exit.output.lines().find(|line| line.starts_with('{')).context("no document")?;
    Ok(serde_json::from_str::<Value>(document)?["result"].take())
}

#[test]
fn a_record_under_the_wrong_patient_is_moved_and_nothing_leads_from_one_to_the_other() {
    Network::of(3).run(async |network| {
        network.custodian(0).await?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        let (wrong, right) = (registered(&ehr).await?, registered(&ehr).await?);
        let record = written(&ehr, wrong, "of somebody else").await?;
        assert_eq!(read(&ehr, wrong, record).await?.as_deref(), Some(&b"of somebody else"[..]));
        let moved = told(network, &ehr, &format!("record move {record} --to {right}"))?;
        let filed: RecordId = moved["record_ids"][0].as_str().context("no record")?.parse()?;
        assert_eq!(read(&ehr, right, filed).await?.as_deref(), Some(&b"of somebody else"[..]));
        assert!(read(&ehr, wrong, record).await.is_err());
        assert!(read(&ehr, wrong, filed).await.is_err() && read(&ehr, right, record).await.is_err());
        // Who read it under the wrong patient is in that one's list, and not in the other's.
        let grounds = |log: &consilium_client::access_log::AccessLog| -> Vec<AccessGround> {
            log.events.iter().flat_map(|event| &event.decisions).map(|decision| decision.ground).collect()
        };
        let of_wrong = auditor.client.access_log(wrong, KeptLog::nothing()).await?;
        let expected = [AccessGround::Author, AccessGround::Author, AccessGround::Restricted, AccessGround::NotFound];
        assert_eq!(grounds(&of_wrong), expected);
        let of_right = auditor.client.access_log(right, KeptLog::nothing()).await?;
        assert_eq!(grounds(&of_right), [AccessGround::Author, AccessGround::NotFound]);
        a_second_person_closes_it_to_the_patient(network, (&ehr, &auditor), (wrong, right)).await
    });
}

/// Until then nobody has hidden anything from the patient under whose pseudonym it stood.
async fn a_second_person_closes_it_to_the_patient(
    network: &Network,
    (ehr, auditor): (&User, &User),
    (wrong, right): (PatientPseudonym, PatientPseudonym),
) -> anyhow::Result<()> {
    let anna = accepted_at(network, (ehr, wrong), 0).await?;
    let record = written(ehr, wrong, "of somebody else, too").await?;
    let reader = RecordReader::with(anna.client.clone(), Access::of(PurposeOfUse::Patrqt));
    let reads = async || reader.get_of(wrong, record, Some(1)).await;
    told(network, ehr, &format!("record move {record} --to {right}"))?;
    assert_eq!(reads().await?.plaintext.map(|plain| plain.to_vec()), Some(b"of somebody else, too".to_vec()));
    let confirm = format!("record confirm-move {record}");
    let alone = network.cli(ehr, &confirm.split(' ').collect::<Vec<_>>())?;
    assert_eq!(alone.code, Some(1), "who moved it: {}", alone.output);
    assert!(reads().await.is_ok());
    let confirmed = told(network, auditor, &confirm)?;
    assert_eq!(confirmed["record_ids"][0], record.to_string());
    assert!(reads().await.is_err());
    let log = auditor.client.access_log(wrong, KeptLog::nothing()).await?;
    let last = log.events.last().and_then(|event| event.decisions.first()).map(|decision| decision.ground);
    assert_eq!(last, Some(AccessGround::Restricted));
    let again = network.cli(auditor, &confirm.split(' ').collect::<Vec<_>>())?;
    assert_eq!(again.code, Some(1), "it is confirmed: {}", again.output);
    Ok(())
}

#[test]
fn what_was_read_and_written_while_two_pseudonyms_were_linked_is_listed() {
    Network::of(3).run(async |network| {
        network.custodian(0).await?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        let (one, other) = (registered(&ehr).await?, registered(&ehr).await?);
        let before = written(&ehr, one, "before").await?;
        read(&ehr, one, before).await?;
        ehr.client.link_patients(one, other, Hash::of(&[b"compared"])).await?;
        let during = written(&ehr, other, "meanwhile").await?;
        read(&ehr, one, before).await?;
        ehr.client.unlink_patients(one, other).await?;
        read(&ehr, other, during).await?;
        for patient in [one, other] {
            let linked = told(network, &auditor, &format!("patient linked {patient}"))?;
            let [link] = linked["links"].as_array().context("no links")?.as_slice() else { anyhow::bail!("{linked}") };
            let [read] = link["reads"].as_array().context("no reads")?.as_slice() else { anyhow::bail!("{linked}") };
            let [write] = link["writes"].as_array().context("no writes")?.as_slice() else { anyhow::bail!("{linked}") };
            assert_eq!((&read["patient"], &read["permitted"]), (&one.to_string().into(), &true.into()), "{linked}");
            assert_eq!((&write["record"], &write["patient"]), (&during.to_string().into(), &other.to_string().into()));
            assert!(link["to_height"].as_u64() > link["from_height"].as_u64(), "{linked}");
        }
        // Neither log is for whoever may not see it.
        let exit = network.cli(&ehr, &["patient", "linked", &one.to_string()])?;
        assert_eq!(exit.code, Some(1), "{}", exit.output);
        Ok(())
    });
}
