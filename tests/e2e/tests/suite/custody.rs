//! A custodian can open whatever its member's people write from then on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use consilium_certs::{RevocationReason, RevokeTarget};
use consilium_client::emergencies::Declaration;
use consilium_client::files::{SECRET_MODE, write_new};
use consilium_client::records::{
    Access, Draft, RecipientRefusal, RecordDraft, RecordReader, RecordWriter, custodian, new_pseudonym,
};
use consilium_client::{Client, ClientError, Profile};
use consilium_e2e::{Exit, Network, User, cli_binary, record};
use consilium_proto::keys::{EncryptionPrivateKey, KemId};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, EmergencyReason, PurposeOfUse};
use time::OffsetDateTime;

use crate::rights::{accepted_at, running};
use crate::whom::publish_revocations;

#[test]
fn the_custodian_opens_what_its_member_writes() {
    Network::of(3).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "registrar").await?;
        let keeper = network.enrolled(0, Role::Service, "custodian").await?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let other = network.enrolled(1, Role::Service, "ehr").await?;
        let text = "what was seen";
        let write = async |client: &consilium_client::Client| -> anyhow::Result<_> {
            let draft = RecordDraft::document("note", new_pseudonym(), text.into());
            let writer = RecordWriter::new(client.clone()).await?;
            let written = writer.write(vec![Draft::new(draft)], pb::WaitFor::Certified).await?;
            Ok(written[0].1[0])
        };
        let reader = RecordReader::new(keeper.client.clone());
        let before = write(&ehr.client).await?;
        assert!(reader.get(before, None).await.is_err(), "sealed before there was a custodian");

        let named = network.cli(&admin, &["custodian", "set-key", &keeper.spiffe_id])?;
        assert_eq!(named.code, Some(0), "{}", named.output);
        let shown = network.cli(&ehr, &["custodian", "show"])?;
        assert!(shown.output.contains(&keeper.spiffe_id), "{}", shown.output);
        let member = network.members[0].id.parse()?;
        let found = custodian(&other.client, &member).await?.expect("proven to another member");
        assert_eq!(found.name, keeper.spiffe_id);

        let record_id = write(&ehr.client).await?;
        let opened = reader.get(record_id, None).await?;
        assert_eq!(opened.plaintext.as_deref().map(Vec::as_slice), Some(text.as_bytes()));
        // Whoever leaves the custodian out, writes nothing.
        let forgotten = record(&ehr.client, "patient", b"{}")?.sign(&ehr.client)?;
        let refused = ehr.client.submit(forgotten, pb::WaitFor::Certified).await?;
        assert_eq!(refused.outcome, pb::Outcome::CustodyWrapMissing);
        // It is nothing to other members.
        let theirs = record(&other.client, "patient", b"{}")?.sign(&other.client)?;
        other.client.submit(theirs, pb::WaitFor::Certified).await?.into_applied()?;
        let not_admin = network.cli(&ehr, &["custodian", "set-key", &keeper.spiffe_id])?;
        assert_eq!(not_admin.code, Some(1), "{}", not_admin.output);
        let foreign = network.cli(&admin, &["custodian", "set-key", &other.spiffe_id])?;
        assert!(foreign.output.contains("CUSTODIAN_REFUSED"), "{}", foreign.output);
        // Nothing more is sealed for a custodian that was revoked.
        let target = RevokeTarget::Serial(keeper.serial.clone());
        let now = OffsetDateTime::now_utc();
        network.members[0].ca.revoke(&target, RevocationReason::KeyCompromise, now)?;
        publish_revocations(network, &admin).await?;
        let refused = RecordWriter::new(ehr.client.clone()).await.unwrap_err();
        let reason = RecipientRefusal::Revoked;
        assert_eq!(refused, ClientError::RecipientRefused { recipient: keeper.spiffe_id.clone(), reason });
        Ok(())
    });
}

/// The same identity with another encryption key, enrolled.
async fn rotated(user: &User) -> anyhow::Result<User> {
    let key = EncryptionPrivateKey::generate(KemId::XWing)?;
    let file = user.profile.encryption_key.as_ref().context("no encryption key")?.with_extension("next");
    write_new(&file, key.to_pem()?.as_bytes(), SECRET_MODE)?;
    let profile = Profile { encryption_key: Some(file), ..user.profile.clone() };
    let client = Client::connect(profile.clone()).await?;
    client.enroll().await?.into_applied()?;
    Ok(User { profile, client, spiffe_id: user.spiffe_id.clone(), serial: user.serial.clone(), member: user.member })
}

/// A custodian that does what is to be done, with a folder of its own.
fn run_once(keeper: &User, folder: &Path, old_key: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    std::fs::create_dir(folder)?;
    let mut command = Command::new(cli_binary()?);
    command.arg("--config").arg(keeper.config_file(folder)?);
    let ran = command.args(["--output", "json", "custodian", "run", "--once", "--old-key", old_key]).output()?;
    results(&Exit { code: ran.status.code(), output: String::from_utf8(ran.stdout)? })
}

/// Results of a command, one of each line.
fn results(exit: &Exit) -> anyhow::Result<Vec<serde_json::Value>> {
    anyhow::ensure!(exit.code == Some(0), "{}", exit.output);
    let lines = exit.output.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| Ok(serde_json::from_str::<serde_json::Value>(line)?["result"].clone())).collect()
}

#[test]
fn a_new_custody_key_opens_what_was_written_before_and_the_old_one_can_go() {
    Network::of(3).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "registrar").await?;
        let old = network.enrolled(0, Role::Service, "custodian").await?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let lab = network.enrolled(0, Role::Service, "lab").await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        results(&network.cli(&admin, &["--output", "json", "custodian", "set-key", &old.spiffe_id])?)?;
        let patient = new_pseudonym();
        let draft = |text: &'static str| Draft::new(RecordDraft::document("note", patient, text.into()));
        let writer = RecordWriter::new(ehr.client.clone()).await?;
        let drafts = vec![draft("one"), draft("two"), draft("three")];
        let written = writer.write(drafts, pb::WaitFor::Certified).await?;
        let first = written[0].1[0];

        let new = rotated(&old).await?;
        let old_id = old.client.identity().encryption_key_id().context("no key")?.to_string();
        results(&network.cli(&admin, &["--output", "json", "custodian", "set-key", &new.spiffe_id])?)?;
        let status = |user: &User| -> anyhow::Result<_> {
            Ok(results(&network.cli(user, &["--output", "json", "custodian", "status"])?)?.remove(0))
        };
        let before = status(&auditor)?;
        assert_eq!((&before["versions"], &before["wrapped"], &before["left"]), (&3.into(), &0.into(), &3.into()));
        // Without the old key nothing opens, and the command says so.
        let run = |arguments: &[&str]| {
            let all = [&["--output", "json", "custodian", "run", "--once"], arguments].concat();
            results(&network.cli(&new, &all)?)
        };
        let last = |results: Vec<serde_json::Value>| results.last().cloned().context("nothing was told");
        let without = last(run(&[])?)?;
        assert_eq!((&without["unopened"], &without["older_keys_needed"]), (&3.into(), &true.into()));
        // Two at once repeat nothing.
        let key = old.profile.encryption_key.as_ref().context("no key")?.display().to_string();
        let both = std::thread::scope(|scope| {
            let runs = ["one", "two"].map(|name| {
                let folder = network.folder().join(name);
                let (new, key) = (&new, &key);
                scope.spawn(move || run_once(new, &folder, key))
            });
            runs.map(|run| run.join().expect("it does not panic"))
        });
        for one in both {
            let end = last(one?)?;
            assert_eq!((&end["finished"], &end["left"]), (&true.into(), &0.into()), "{end}");
            assert_eq!(end["older_keys_needed"], false);
        }
        let after = status(&auditor)?;
        assert_eq!((&after["wrapped"], &after["left"]), (&3.into(), &0.into()));

        // What was wrapped for the old key, to whom it concerns.
        let affected = network.cli(&auditor, &["--output", "json", "custodian", "affected", &old_id])?;
        let affected = results(&affected)?;
        assert_eq!(affected.len(), 4, "three versions and their sum: {affected:?}");
        assert!(affected[..3].iter().all(|one| one["patient"] == patient.to_string() && one["version"] == 1));
        assert_eq!(affected[3]["versions"], 3);
        let patients = network.cli(&auditor, &["--output", "json", "custodian", "affected", &old_id, "--patients"])?;
        let patients = results(&patients)?;
        assert_eq!((patients.len(), &patients[0]["patient"]), (2, &patient.to_string().into()), "{patients:?}");
        assert_eq!((&patients[1]["patients"], &patients[1]["versions"]), (&1.into(), &3.into()));
        let refused = network.cli(&ehr, &["custodian", "affected", &old_id])?;
        assert!(refused.output.contains("what is in custody is for the custodian"), "{}", refused.output);

        // A custodian that has the new key alone serves readers, also one that changes its own key.
        let _custodian = running(&new, network)?;
        let treat = |client: &Client| RecordReader::with(client.clone(), Access::of(PurposeOfUse::Treat));
        let reads = async |reader: &User| -> anyhow::Result<()> {
            let opened = treat(&reader.client).get_of(patient, first, None).await?;
            assert_eq!(opened.plaintext.as_deref().map(Vec::as_slice), Some(&b"one"[..]));
            Ok(())
        };
        reads(&lab).await?;
        reads(&rotated(&lab).await?).await?;
        Ok(())
    });
}

/// What a patient is owed: a wrap of what was written before it had the key that it has now. No
/// custodian runs while it reads.
#[test]
fn a_patient_opens_what_was_written_before_it_had_its_key() {
    Network::of(3).run(async |network| {
        let keeper = network.custodian(0).await?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let patients = [(); 2].map(|()| new_pseudonym());
        for patient in patients {
            let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
            ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?.into_applied()?;
        }
        let writer = RecordWriter::new(ehr.client.clone()).await?;
        let [first, second] = patients;
        let drafts = [first, first, second].map(|of| Draft::new(RecordDraft::document("note", of, "seen".into())));
        let written = writer.write(drafts.into(), pb::WaitFor::Certified).await?;
        let records: Vec<_> = written.into_iter().flat_map(|(_, records)| records).collect();
        let run = |patients_per_hour: &str| {
            let run = ["--output", "json", "custodian", "run", "--once", "--patients-per-hour", patients_per_hour];
            results(&network.cli(&keeper, &run)?)
        };
        let owed = |told: Vec<serde_json::Value>| told.into_iter().find(|one| one["asked"].is_number());
        assert_eq!(owed(run("1")?), None, "nobody speaks for them");

        let anna = accepted_at(network, (&ehr, first), 0).await?;
        let reads = async |reader: &User, (patient, record)| {
            let access = Access::of(PurposeOfUse::Patrqt);
            let reader = RecordReader::with(reader.client.clone(), access).waiting(Duration::ZERO);
            reader.get_of(patient, record, None).await.map(|opened| opened.plaintext.map(|plain| plain.to_vec()))
        };
        // Two custodians at once ask for it once, and nothing that is refused.
        let key = keeper.profile.encryption_key.as_ref().context("no encryption key")?.display().to_string();
        let told = std::thread::scope(|scope| {
            let runs = ["one", "two"].map(|name| {
                let (folder, keeper, key) = (network.folder().join(name), &keeper, &key);
                scope.spawn(move || run_once(keeper, &folder, key))
            });
            runs.map(|run| run.join().expect("it does not panic"))
        });
        let told = told.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
        let sum = |of: &str| told.iter().filter_map(|one| one[of].as_u64()).sum::<u64>();
        let asked: Vec<_> = told.iter().filter(|one| one["asked"].is_number()).collect();
        let refused: u64 = asked.iter().filter_map(|one| one["refused"].as_u64()).sum();
        assert_eq!((sum("asked"), refused, sum("answered")), (2, 0, 2), "{told:?}");
        for record in &records[..2] {
            assert_eq!(reads(&anna, (first, *record)).await?, Some(b"seen".to_vec()));
        }
        assert_eq!(owed(run("1")?), None, "it is done");

        // With another key, and for another patient too: more than one within an hour are not usual.
        let anna = rotated(&anna).await?;
        let acceptance = pb::AcceptPatient {
            patient: second.0.to_vec().into(),
            identity: anna.spiffe_id.clone(),
            relation: pb::PatientRelation::Self_.into(),
            may_read: true,
            evidence_sha256: vec![7; 32].into(),
            ..pb::AcceptPatient::default()
        };
        ehr.client.perform(pb::action::Action::AcceptPatient(acceptance)).await?.into_applied()?;
        let told = owed(run("1")?).context("three wraps are owed")?;
        assert_eq!((&told["asked"], &told["paused"]), (&2.into(), &true.into()), "{told}");
        assert!(reads(&anna, (second, records[2])).await.is_err(), "there is no key yet");
        let told = owed(run("2")?);
        // It has asked for the last one itself meanwhile.
        assert_eq!(told, None);
        for (patient, record) in [(first, records[0]), (first, records[1]), (second, records[2])] {
            assert_eq!(reads(&anna, (patient, record)).await?, Some(b"seen".to_vec()));
        }
        Ok(())
    });
}

#[test]
fn a_deputy_opens_in_an_emergency_while_no_own_custodian_runs() {
    Network::of(3).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "registrar").await?;
        let own = network.enrolled(0, Role::Service, "custodian").await?;
        let deputys_admin = network.enrolled(1, Role::Admin, "registrar").await?;
        let deputy = network.enrolled(1, Role::Service, "custodian").await?;
        for (admin, keeper) in [(&admin, &own), (&deputys_admin, &deputy)] {
            results(&network.cli(admin, &["--output", "json", "custodian", "set-key", &keeper.spiffe_id])?)?;
        }
        let member = &network.members[1].id;
        results(&network.cli(&admin, &["--output", "json", "custodian", "name-deputy", member])?)?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let writer = RecordWriter::new(ehr.client.clone()).await?;
        let sealed_for: Vec<_> = writer.recipients().iter().map(|to| to.name.clone()).collect();
        assert_eq!(sealed_for, [ehr.spiffe_id.clone(), own.spiffe_id.clone(), deputy.spiffe_id.clone()]);
        let patient = new_pseudonym();
        let draft = RecordDraft::document("note", patient, "what was seen".into());
        let written = writer.write(vec![Draft::new(draft)], pb::WaitFor::Certified).await?;
        let record_id = written[0].1[0];

        let _deputy = running(&deputy, network)?;
        let lab = network.enrolled(0, Role::Service, "lab").await?;
        let ordinary = RecordReader::with(lab.client.clone(), Access::of(PurposeOfUse::Treat)).waiting(Duration::ZERO);
        assert!(ordinary.get_of(patient, record_id, None).await.is_err(), "that waits for the own custodian");
        let doctor = network.enrolled(2, Role::Clinician, "doctor").await?;
        let emergency = Declaration::new(patient, EmergencyReason::Danger);
        let access =
            Access { emergency: Some(emergency.id()), before: emergency.actions(), ..Access::of(PurposeOfUse::Btg) };
        let opened = RecordReader::with(doctor.client.clone(), access).get_of(patient, record_id, None).await?;
        assert_eq!(opened.plaintext.as_deref().map(Vec::as_slice), Some(&b"what was seen"[..]));
        assert!(ordinary.get_of(patient, record_id, None).await.is_err(), "it still does");
        Ok(())
    });
}

#[test]
fn beyond_so_many_patients_a_person_is_called_and_emergencies_go_on() {
    Network::of(3).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "registrar").await?;
        let keeper = network.enrolled(0, Role::Service, "custodian").await?;
        results(&network.cli(&admin, &["--output", "json", "custodian", "set-key", &keeper.spiffe_id])?)?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let writer = RecordWriter::new(ehr.client.clone()).await?;
        let patients = [(); 3].map(|()| new_pseudonym());
        let drafts = patients.map(|patient| Draft::new(RecordDraft::document("note", patient, "seen".into())));
        let written = writer.write(drafts.into(), pb::WaitFor::Certified).await?;
        let records: Vec<_> = written.into_iter().flat_map(|(_, records)| records).collect();
        // Two ordinary requests for two patients, and then an emergency of a third one.
        let lab = network.enrolled(0, Role::Service, "lab").await?;
        let ordinary = RecordReader::with(lab.client.clone(), Access::of(PurposeOfUse::Treat)).waiting(Duration::ZERO);
        for (patient, record) in patients.iter().zip(&records).take(2) {
            assert!(ordinary.get_of(*patient, *record, None).await.is_err(), "there is no key yet");
        }
        let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
        let emergency = Declaration::new(patients[2], EmergencyReason::Danger);
        let access =
            Access { emergency: Some(emergency.id()), before: emergency.actions(), ..Access::of(PurposeOfUse::Btg) };
        let urgent = RecordReader::with(doctor.client.clone(), access).waiting(Duration::ZERO);
        assert!(urgent.get_of(patients[2], records[2], None).await.is_err(), "there is no key yet");

        let run = |patients_per_hour: &str| {
            let run = ["--output", "json", "custodian", "run", "--once", "--patients-per-hour", patients_per_hour];
            Ok::<_, anyhow::Error>(results(&network.cli(&keeper, &run)?)?.remove(0))
        };
        let first = run("1")?;
        assert_eq!((&first["answered"], &first["paused"]), (&2.into(), &1.into()), "{first}");
        let again = Access { emergency: Some(emergency.id()), ..Access::of(PurposeOfUse::Btg) };
        let urgent = RecordReader::with(doctor.client.clone(), again).waiting(Duration::ZERO);
        assert!(urgent.get_of(patients[2], records[2], None).await.is_ok(), "an emergency waits for nobody");
        // What the alert is made of.
        assert_eq!(network.nodes[0].metric("consilium_wrap_requests_waiting")?, 1.0);
        // A person has looked, and lets it go on.
        let second = run("2")?;
        assert_eq!((&second["answered"], &second["paused"]), (&1.into(), &0.into()), "{second}");
        for (patient, record) in patients.iter().zip(&records).take(2) {
            assert!(ordinary.get_of(*patient, *record, None).await.is_ok());
        }
        Ok(())
    });
}
