//! Sensitivity labels over real nodes: a consent by label, as a patient signs it, closes what carries
//! the label to one and opens it to another; and nobody learns a label from the ledger.

use std::collections::BTreeSet;

use consilium_e2e::holds;
use consilium_proto::ids::PolicyTag;
use serde_json::{Value, json};

use super::petitions::accepted;
use super::*;

/// The result of a command.
fn told(network: &Network, user: &User, line: &str) -> anyhow::Result<Value> {
    let words: Vec<&str> = ["--output", "json"].into_iter().chain(line.split(' ')).collect();
    let exit = network.cli(user, &words)?;
    anyhow::ensure!(exit.code == Some(0), "{line}: {}", exit.output);
    let document = exit.output.lines().find(|line| line.starts_with('{'));
    Ok(serde_json::from_str::<Value>(document.unwrap_or_default())?["result"].take())
}

async fn written(by: &User, patient: PatientPseudonym, labels: &[&'static str]) -> Result<RecordId, ClientError> {
    let labels = labels.iter().copied().collect();
    let draft = RecordDraft { labels, ..RecordDraft::document("note", patient, "what was seen".into()) };
    let writer = RecordWriter::new(by.client.clone()).await?;
    Ok(writer.write(vec![Draft::new(draft)], pb::WaitFor::Certified).await?[0].1[0])
}

/// The tags of a record, and what somebody takes them for.
async fn tags(of: &Hospital, record: RecordId) -> anyhow::Result<Vec<PolicyTag>> {
    let said = RecordReader::new(of.ehr.client.clone()).said(record, None).await?.into_value();
    Ok(said.version.policy_tags.iter().map(|tag| PolicyTag::parse("policy_tags", tag)).collect::<Result<_, _>>()?)
}

async fn names(by: &User, patient: PatientPseudonym, tags: &[PolicyTag]) -> anyhow::Result<BTreeSet<&'static str>> {
    let labels = by.client.labels(patient).await?;
    Ok(tags.iter().filter_map(|tag| labels.code(tag)).collect())
}

/// Which of these records somebody is let read.
async fn opened(by: &User, patient: PatientPseudonym, records: &[RecordId]) -> anyhow::Result<Vec<bool>> {
    let reader = RecordReader::with(by.client.clone(), Access::of(PurposeOfUse::Treat));
    let mut out = Vec::new();
    for record in records {
        out.push(match reader.get_of(patient, *record, None).await {
            Ok(opened) => opened.plaintext.is_some_and(|plain| plain.to_vec() == b"what was seen"),
            Err(ClientError::Status { code: Code::NotFound, .. }) => false,
            Err(error) => return Err(error.into()),
        });
    }
    Ok(out)
}

/// To one member everything but PSY; to another one PSY alone.
fn consent(all_but_psy: &str, psy_alone: &str) -> Value {
    let coding = |system: &str, code: &str| json!({ "system": system, "code": code });
    let concept = |system: &str, code: &str| json!({ "coding": [coding(system, code)] });
    let psy = coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "PSY");
    let actor = |member: &str| {
        json!([{
            "role": concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
            "reference": { "identifier": { "system": "urn:ietf:rfc:3986", "value": format!("spiffe://{member}") } },
        }])
    };
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [concept("http://loinc.org", "59284-0")],
        "patient": { "reference": "Patient/p1" },
        "dateTime": "2026-09-01T00:00:00Z",
        "policy": [{ "uri": "https://profiles.ihe.net/ITI/PCF/Policy-break-glass-only" }],
        "provision": {
            "type": "deny",
            "provision": [
                { "type": "permit", "actor": actor(all_but_psy) },
                { "type": "deny", "actor": actor(all_but_psy), "securityLabel": [psy] },
                { "type": "permit", "actor": actor(psy_alone), "securityLabel": [psy] },
            ],
        },
    })
}

/// The patient is told by which member each record was read, and not by whom.
fn holders(network: &Network, (anna, of): (&User, &Hospital), read: [(RecordId, &String); 3]) -> anyhow::Result<()> {
    let held = told(network, anna, &format!("access holders {}", of.patient))?;
    for (record, member) in read {
        let found = held["records"].as_array().and_then(|all| all.iter().find(|r| r["record"] == record.to_string()));
        let readers = found.map(|record| record["readers"].clone()).unwrap_or_default();
        let told: Vec<_> = readers.as_array().into_iter().flatten().collect();
        anyhow::ensure!(told.len() == 1 && told[0]["member"] == **member && told[0]["name"].is_null(), "{held}");
    }
    let named = told(network, anna, &format!("access holders {} --names", of.patient))?.to_string();
    anyhow::ensure!(named.contains("\"doctor\"") && named.contains("\"therapist\""), "{named}");
    let refused = network.cli(&of.ehr, &["access", "holders", &of.patient.to_string()])?;
    anyhow::ensure!(refused.code != Some(0) && refused.output.contains("patients and auditors"), "{}", refused.output);
    Ok(())
}

#[test]
fn a_consent_by_label_closes_and_opens_what_is_labelled() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let anna = accepted(network, &of).await?;
        let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
        let therapist = network.enrolled(2, Role::Clinician, "therapist").await?;
        let plain = of.record;
        let [psy, hiv] = [written(&of.ehr, of.patient, &["PSY"]).await?, written(&of.ehr, of.patient, &["HIV"]).await?];

        let at = |name: &str| network.folder().join(name).display().to_string();
        let [here, one, other] = [0, 1, 2].map(|member| network.members[member].id.clone());
        std::fs::write(at("consent.json"), consent(&one, &other).to_string())?;
        std::fs::write(at("mapping.toml"), format!("member = \"{here}\"\n"))?;
        let put =
            format!("consent put {} --fhir {} --mapping {} --yes", of.patient, at("consent.json"), at("mapping.toml"));
        let first = told(network, &anna, &put)?;
        assert_eq!(first["widened"], json!([]), "she keeps the salt");
        let records = [plain, psy, hiv];
        assert_eq!(opened(&doctor, of.patient, &records).await?, [true, false, true]);
        assert_eq!(opened(&therapist, of.patient, &records).await?, [false, true, false]);
        // Who keeps the salt is told what it says.
        let list = told(network, &anna, &format!("consent list {}", of.patient))?;
        let says = list["consents"][0]["says"].to_string();
        assert!(says.contains("labelled PSY, PSYTHPN") && says.contains("labelled PSY\""), "{says}");

        // And what it would say of a reading, before somebody asks.
        let says = |user: &User, reader: &User, label: &str| -> anyhow::Result<bool> {
            std::fs::write(at("labels.txt"), label)?;
            let check = format!(
                "consent check {} --reader {} --purpose TREAT --kind note --custodian {here} --labels-file {}",
                of.patient,
                reader.spiffe_id,
                at("labels.txt")
            );
            Ok(told(network, user, &check)?["says"].to_string().contains("permits"))
        };
        assert_eq!((says(&anna, &doctor, "PSY")?, says(&anna, &doctor, "HIV")?), (false, true));
        assert_eq!((says(&of.ehr, &therapist, "PSY")?, says(&of.ehr, &therapist, "HIV")?), (true, false));
        assert!(says(&doctor, &doctor, "HIV").is_err(), "who does not keep the salt cannot ask");
        holders(network, (&anna, &of), [(plain, &one), (psy, &other), (hiv, &one)])?;

        // Under a newer salt, which the consent does not know, what is labelled stays closed.
        told(network, &of.ehr, &format!("patient salt {} --renew --yes", of.patient))?;
        let newer = [written(&of.ehr, of.patient, &["PSY"]).await?, written(&of.ehr, of.patient, &["HIV"]).await?];
        assert_eq!(opened(&doctor, of.patient, &newer).await?, [false, false]);
        assert_eq!(opened(&therapist, of.patient, &newer).await?, [false, false]);
        let again =
            told(network, &anna, &format!("{put} --replaces {}", first["consent"].as_str().unwrap_or_default()))?;
        assert_eq!(again["widened"], json!([]));
        assert_eq!(opened(&doctor, of.patient, &newer).await?, [false, true]);
        assert_eq!(opened(&therapist, of.patient, &newer).await?, [true, false]);
        assert_eq!(
            opened(&doctor, of.patient, &records).await?,
            [true, false, true],
            "and what was before is as it was"
        );
        Ok(())
    });
}

#[test]
fn labels_are_learned_by_those_who_keep_the_salt_and_from_the_ledger_by_nobody() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let lab = network.enrolled(0, Role::Service, "lab").await?;
        let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
        let record = written(&of.ehr, of.patient, &["PSYTHPN"]).await?;
        let label = tags(&of, record).await?;
        assert_eq!(names(&of.ehr, of.patient, &label).await?, BTreeSet::from(["PSYTHPN"]));
        assert_eq!(names(&of.keeper, of.patient, &label).await?, BTreeSet::from(["PSYTHPN"]));
        assert_eq!(names(&doctor, of.patient, &label).await?, BTreeSet::new());

        // Another service has it once the custodian hands it on, and blinds alike then; so does the
        // patient once she is accepted.
        assert!(matches!(written(&lab, of.patient, &["PSYTHPN"]).await, Err(ClientError::Usage(_))));
        told(network, &of.keeper, &format!("patient salt {} --for {}", of.patient, lab.spiffe_id))?;
        let by_lab = written(&lab, of.patient, &["PSYTHPN", "HIV"]).await?;
        let of_lab = tags(&of, by_lab).await?;
        assert!(of_lab.len() == 2 && of_lab.contains(&label[0]));
        let anna = accepted(network, &of).await?;
        assert_eq!(names(&anna, of.patient, &label).await?, BTreeSet::new());
        told(network, &lab, &format!("patient salt {}", of.patient))?;
        assert_eq!(names(&anna, of.patient, &label).await?, BTreeSet::from(["PSYTHPN"]));

        // The same label of another patient is another tag, also of a record that is moved there.
        let other = PatientPseudonym(rand::random());
        let register = pb::RegisterPatient { patient: other.0.to_vec().into(), lookups_sha256: Vec::new() };
        of.ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
        let of_other = tags(&of, written(&of.ehr, other, &["PSYTHPN"]).await?).await?;
        assert_ne!(of_other, label);
        let moved = told(network, &of.ehr, &format!("record move {record} --to {other}"))?;
        let filed: RecordId = moved["record_ids"][0].as_str().unwrap_or_default().parse()?;
        assert_eq!(tags(&of, filed).await?, of_other);

        // A correction keeps the labels, unless it is to have none.
        std::fs::write(network.folder().join("note.txt"), "what was seen better")?;
        let file = network.folder().join("note.txt").display().to_string();
        told(network, &lab, &format!("record amend {by_lab} {file} --raw"))?;
        assert_eq!(tags(&of, by_lab).await?, of_lab);
        let labels = network.folder().join("labels.txt");
        std::fs::write(&labels, "# of the new document alone\nB\n")?;
        let labels = format!("--drop-labels --labels-file {}", labels.display());
        told(network, &lab, &format!("record amend {by_lab} {file} --raw {labels}"))?;
        assert_eq!(names(&lab, of.patient, &tags(&of, by_lab).await?).await?, BTreeSet::from(["B"]));

        for node in &mut network.nodes {
            node.stop()?;
        }
        for node in &network.nodes {
            assert!(holds(&node.data_dir, &label[0].0)?.is_some(), "the search finds what is there");
            assert_eq!(holds(&node.data_dir, b"PSYTHPN")?, None);
        }
        Ok(())
    });
}
