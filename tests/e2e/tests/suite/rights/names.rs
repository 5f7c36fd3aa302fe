//! Names in what a person signs: one that is nobody's is refused before it is signed.

use super::*;

/// A patient who has registered nothing else, and a clinician of the second hospital.
async fn patient(network: &Network) -> anyhow::Result<(User, User, String)> {
    let ehr = network.enrolled(0, Role::Service, "ehr").await?;
    let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
    let patient = PatientPseudonym(rand::random());
    let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
    ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
    Ok((ehr, doctor, patient.to_string()))
}

fn line<'a>(words: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    words.split(' ').chain(more.iter().copied()).collect()
}

#[test]
fn a_denial_of_nobody_is_refused_before_it_is_signed() {
    Network::of(2).run(async |network| {
        let (ehr, doctor, patient) = patient(network).await?;
        let scan = network.folder().join("scan.pdf");
        std::fs::write(&scan, "signed")?;
        let scan = scan.display().to_string();
        let put = |more: &[&str]| {
            let words = format!("consent put {patient} --base all-normal --paper {scan} --yes");
            let arguments: Vec<&str> = words.split(' ').chain(more.iter().copied()).collect();
            network.cli(&ehr, &arguments)
        };
        let member = &network.members[1].id;
        let stem = member.split('.').next().unwrap_or_default();
        let refused = put(&["--deny", stem])?;
        assert_eq!(refused.code, Some(1), "{}", refused.output);
        assert!(refused.output.contains(&format!("{stem} is no member of this network")), "{}", refused.output);
        assert!(refused.output.contains(&format!("is it {member}?")), "{}", refused.output);

        let stranger = format!("spiffe://{member}/clinician/c-9999");
        for flag in ["--deny", "--share-with"] {
            let refused = put(&[flag, &stranger])?;
            assert_eq!(refused.code, Some(1), "{}", refused.output);
            assert!(refused.output.contains(&format!("nobody has ever enrolled as {stranger}")), "{}", refused.output);
        }
        let list = network.cli(&ehr, &["consent", "list", &patient])?;
        assert!(list.output.contains("no consents"), "{}", list.output);

        let taken = put(&["--deny", &doctor.spiffe_id, "--deny", &stranger, "--allow-unknown"])?;
        assert_eq!(taken.code, Some(0), "{}", taken.output);
        assert!(taken.output.contains(&format!("NOBODY has ever enrolled as {stranger}")), "{}", taken.output);
        let known = put(&["--deny", &doctor.spiffe_id, "--share-with", member])?;
        assert_eq!(known.code, Some(0), "{}", known.output);
        assert!(!known.output.contains("NOBODY"), "{}", known.output);
        Ok(())
    });
}

#[test]
fn a_document_that_names_nobody_is_refused_too() {
    Network::of(2).run(async |network| {
        let (ehr, _, patient) = patient(network).await?;
        let member = &network.members[1].id;
        let file = |name: &str, text: String| {
            let path = network.folder().join(name);
            std::fs::write(&path, text).map(|()| path.display().to_string())
        };
        let consent = file("consent.json", CONSENT.to_owned())?;
        let scan = file("scan.pdf", "signed".to_owned())?;
        let own = &network.members[0].id;
        let put = |grantee: &str| {
            let mapping = format!("member = {own:?}\n[grantees]\n\"Practitioner/1\" = {grantee:?}\n");
            let mapping = file("mapping.toml", mapping)?;
            let words = format!("consent put {patient} --fhir {consent} --mapping {mapping} --paper {scan} --yes");
            network.cli(&ehr, &words.split(' ').collect::<Vec<_>>())
        };
        let refused = put("nowhere.example")?;
        assert!(refused.output.contains("nowhere.example is no member of this network"), "{}", refused.output);
        let refused = put(&format!("spiffe://{member}/clinician/c-9999"))?;
        assert!(refused.output.contains("nobody has ever enrolled as"), "{}", refused.output);
        Ok(())
    });
}

#[test]
fn nobody_is_accepted_who_is_mistyped() {
    Network::of(2).run(async |network| {
        let (ehr, _, patient) = patient(network).await?;
        let evidence = network.folder().join("passport.pdf");
        std::fs::write(&evidence, "seen")?;
        let evidence = evidence.display().to_string();
        let own = &network.members[0].id;
        let accept = |identity: &str, more: &[&str]| {
            let words = format!("patient accept {patient} --identity {identity} --relation self --may-read");
            let words = format!("{words} --evidence {evidence}");
            network.cli(&ehr, &line(&words, more))
        };
        let name = "0b".repeat(16);
        let refused = accept(&format!("spiffe://nowhere.example/patient/{name}"), &["--allow-unknown"])?;
        assert!(refused.output.contains("nowhere.example is no member"), "{}", refused.output);
        let identity = format!("spiffe://{own}/patient/{name}");
        let refused = accept(&identity, &[])?;
        assert!(refused.output.contains("nobody has ever enrolled"), "{}", refused.output);
        let taken = accept(&identity, &["--allow-unknown"])?;
        assert_eq!(taken.code, Some(0), "{}", taken.output);
        Ok(())
    });
}

const CONSENT: &str = r#"{"resourceType":"Consent","status":"active",
    "scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
    "category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],
    "patient":{"reference":"Patient/1"},"dateTime":"2026-09-01T00:00:00Z",
    "policy":[{"uri":"https://profiles.ihe.net/ITI/PCF/Policy-basic-normal"}],
    "provision":{"type":"permit","provision":[{"type":"deny","actor":[{
        "role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},
        "reference":{"reference":"Practitioner/1"}}]}]}}"#;
