//! Emergencies over real nodes: told to whom they concern, their texts, one command that declares and
//! reads, the drill.

use consilium_client::emergencies::EmergencyText;
use consilium_client::notices::KnownEmergency;
use consilium_proto::names::MemberId;
use consilium_proto::transaction::VersionRef;

use super::*;

const DECLARED: pb::PatientChangeKind = pb::PatientChangeKind::EmergencyDeclared;

/// The next notice about an emergency.
async fn told(notices: &mut Notices) -> anyhow::Result<(KnownEmergency, usize)> {
    let mut accesses = 0;
    loop {
        match tokio::time::timeout(PATIENCE, notices.next()).await?? {
            Notice::Emergency(emergency) => return Ok((emergency, accesses)),
            Notice::Accesses(log) => accesses += log.events.iter().filter(|event| event.change.is_none()).count(),
            Notice::Change(change) => anyhow::bail!("{change:?} was not asked for"),
        }
    }
}

#[test]
fn emergencies_are_told_to_whom_they_concern_over_node_failures() {
    Network::of(4).run(async |network| {
        let of = hospital(network).await?;
        let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
        let officers = [
            network.enrolled(0, Role::Auditor, "privacy").await?,
            network.enrolled(1, Role::Auditor, "privacy").await?,
        ];
        let other = network.enrolled(2, Role::Auditor, "privacy").await?;
        let anna = network.enrolled(0, Role::Patient, &"0a".repeat(16)).await?;
        let nothing = KeptLog::nothing();
        // Who is not accepted is told what is told of nobody.
        let mut refused = anna.client.notices(Some(of.patient), Height(0), nothing);
        let unknown = PatientPseudonym(rand::random());
        let mut of_nobody = anna.client.notices(Some(unknown), Height(0), nothing);
        let answers = (refused.next().await.unwrap_err(), of_nobody.next().await.unwrap_err());
        assert_eq!(answers.0.to_string(), answers.1.to_string());
        accept(&of, &anna.spiffe_id).await?;

        let mut patient = anna.client.notices(Some(of.patient), Height(0), nothing);
        let mut watching = officers.each_ref().map(|officer| officer.client.notices(None, Height(0), nothing));
        let mut bystander = other.client.notices(None, Height(0), nothing);
        let emergency = Declaration::new(of.patient, EmergencyReason::Danger);
        let access =
            Access { emergency: Some(emergency.id()), before: emergency.actions(), ..Access::of(PurposeOfUse::Btg) };
        assert_eq!(read(&doctor.client, access, &of).await?, b"what was seen");
        for notices in watching.iter_mut().chain([&mut patient]) {
            let (declared, _) = told(notices).await?;
            assert_eq!((declared.id, declared.state.reader.as_str()), (emergency.id(), doctor.spiffe_id.as_str()));
            assert!(declared.state.reviewer.is_empty() && !declared.is_overdue());
        }
        let declarer: MemberId = network.members[1].id.parse()?;
        for auditor in [&officers[1], &other] {
            let owed = auditor.client.reviews_due(&declarer).await?.unwrap_or_default();
            assert_eq!(
                owed.reviews.iter().map(|due| &due.emergency_id[..]).collect::<Vec<_>>(),
                [&emergency.id().0[..]]
            );
        }
        // The nodes that tell it die, each reader goes on with another one.
        network.nodes[0].kill9()?;
        officers[1].client.review_emergency(emergency.id(), pb::ReviewVerdict::Justified, None).await?;
        let mut resumed = officers[0].client.notices(None, watching[0].cursor(), nothing);
        for notices in watching.iter_mut().chain([&mut resumed, &mut patient]) {
            let (mut reviewed, mut accesses) = told(notices).await?;
            while reviewed.state.reviewer.is_empty() {
                // Told once more after the connection broke.
                (reviewed, accesses) = told(notices).await?;
            }
            assert_eq!(reviewed.state.reviewer, officers[1].spiffe_id);
            assert!(accesses <= 1);
        }
        assert_eq!(
            patient.kept().log.count,
            3,
            "the patient is told of its acceptance, of the emergency and the access"
        );
        let log = loop {
            if let Notice::Accesses(log) = tokio::time::timeout(PATIENCE, patient.next()).await?? {
                break log;
            }
        };
        assert_eq!(changes(&log), [justified(emergency.id())], "and of its review");
        assert_eq!(officers[1].client.reviews_due(&declarer).await?, Some(pb::ReviewsDueState::default()));

        // Another one, of a patient of its own, is the first that concerns the third member.
        let own = PatientPseudonym(rand::random());
        let register = pb::RegisterPatient { patient: own.0.to_vec().into(), lookups_sha256: Vec::new() };
        let clerk = network.enrolled(2, Role::Service, "ehr").await?;
        clerk.client.perform(pb::action::Action::RegisterPatient(register)).await?;
        let mut second = Declaration::new(own, EmergencyReason::CannotConsent);
        doctor.client.declare_emergency(&mut second).await?;
        assert_eq!(told(&mut bystander).await?.0.id, second.id());
        Ok(())
    });
}

#[test]
fn the_text_of_an_emergency_is_read_by_its_own_custodian_and_officer_alone() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let doctor = network.enrolled(0, Role::Clinician, "doctor").await?;
        let officer = network.enrolled(0, Role::Auditor, "privacy").await?;
        let other = network.enrolled(1, Role::Auditor, "privacy").await?;
        let text = network.folder().join("why.txt");
        std::fs::write(&text, "found without consciousness")?;
        let patient = of.patient.to_string();
        let file = text.to_str().expect("a path of ours").to_owned();
        let declare = ["emergency", "declare", &patient, "--reason", "danger", "--text", &file, "--yes"];
        let declared = network.cli(&doctor, &declare)?;
        assert_eq!(declared.code, Some(0), "{}", declared.output);
        let id =
            declared.output.split_whitespace().find(|word| word.len() == 32 && word.parse::<EmergencyId>().is_ok());
        let id = id.expect("the id is printed").to_owned();
        let owed = network.cli(&officer, &["emergency", "due"])?;
        assert!(owed.output.contains("owes 1 review") && owed.output.contains(&id), "{}", owed.output);
        for node in &network.nodes {
            let sealed = officer.at(node).await?.emergency_text(id.parse()?).await?;
            assert!(matches!(sealed, EmergencyText::Sealed(_)));
        }
        let told = network.cli(&of.keeper, &["emergency", "text", &id])?;
        assert!(told.output.contains("found without consciousness"), "{}", told.output);
        let refused = network.cli(&officer, &["emergency", "text", &id])?;
        assert!(refused.code != Some(0) && refused.output.contains("--custody-key"), "{}", refused.output);
        for client in [&doctor.client, &other.client] {
            let error = client.emergency_text(id.parse()?).await.unwrap_err();
            assert!(matches!(error, ClientError::Status { code: Code::NotFound, .. }), "{error:?}");
        }
        Ok(())
    });
}

#[test]
fn one_command_declares_an_emergency_and_delivers_the_record() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        let (patient, record) = (of.patient.to_string(), of.record.to_string());
        let out = network.folder().join("read.txt");
        let file = out.to_str().expect("a path of ours");
        let declare = ["emergency", "declare", &patient, "--reason", "danger", "--read", &record, "--yes"];
        let read = network.cli(&doctor, &[&declare[..], &["--out", file]].concat())?;
        assert_eq!(read.code, Some(0), "{}", read.output);
        assert_eq!(std::fs::read(&out)?, b"what was seen");
        let id = read.output.split_whitespace().find(|word| word.len() == 32 && word.parse::<EmergencyId>().is_ok());
        let id = id.expect("the emergency is named");

        // The emergency goes on for what is found to be needed later.
        let get = ["record", "get", &record, "--pseudonym", &patient, "--emergency", id];
        let got = network.cli(&doctor, &get)?;
        assert!(got.code == Some(0) && got.output.contains("what was seen"), "{}", got.output);
        let shown = network.cli(&doctor, &declare)?;
        assert!(shown.code == Some(0) && shown.output.contains("what was seen"), "{}", shown.output);
        let none = "0e".repeat(16);
        let nothing = ["emergency", "declare", &patient, "--reason", "danger", "--read", &none, "--yes"];
        let nothing = network.cli(&doctor, &nothing)?;
        assert!(nothing.code == Some(1) && nothing.output.contains("the emergency is declared"), "{}", nothing.output);

        let log = auditor.client.access_log(of.patient, KeptLog::nothing()).await?;
        let permitted: Vec<_> = log.events.iter().filter(|event| event.permits()).collect();
        assert_eq!(permitted.len(), 3, "each was delivered: {permitted:?}");
        assert!(permitted.iter().all(|event| event.decisions[0].ground == AccessGround::Emergency));
        let declared = changes(&log).iter().filter(|change| change.kind() == DECLARED).count();
        assert_eq!(declared, 3, "also where there was nothing to deliver");
        Ok(())
    });
}

#[test]
fn who_finds_the_id_of_its_emergency_taken_draws_another_and_reads() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let [first, second] =
            [network.enrolled(1, Role::Clinician, "c-1").await?, network.enrolled(1, Role::Clinician, "c-2").await?];
        let declared = Declaration::new(of.patient, EmergencyReason::Danger);
        let asked = [VersionRef { record: of.record, version: 0 }];
        let officer = network.enrolled(1, Role::Auditor, "privacy").await?;
        let mut ids = Vec::new();
        for reader in [&first, &second] {
            let mut declaration = declared.clone();
            let opened = reader.client.declare_and_read(&mut declaration, &asked).await?;
            assert_eq!(opened[0].plaintext.as_ref().map(|plain| plain.to_vec()), Some(b"what was seen".to_vec()));
            let state = officer.client.emergency(declaration.id()).await?.unwrap_or_default();
            assert_eq!(state.reader, reader.spiffe_id);
            ids.push(declaration.id());
        }
        assert!(ids[0] == declared.id() && ids[1] != declared.id());
        // What the rules said of a request is told to programs, too.
        let of_nobody =
            Access { emergency: Some(EmergencyId([9; 16])), before: declared.actions(), ..declared.access() };
        let again = RecordReader::with(first.client.clone(), of_nobody).read(of.patient, &asked).await;
        let Err(ClientError::Rejected { outcome, height, .. }) = again else { panic!("{again:?}") };
        assert!(outcome == pb::Outcome::EmergencyExists && height > Height(0));
        Ok(())
    });
}

#[test]
fn an_emergency_is_drilled_over_a_live_network() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
        let officer = network.enrolled(1, Role::Auditor, "privacy").await?;
        // Each has a file of its own: one with three profiles is made of them.
        let mut profiles = String::new();
        for (name, user) in [("reader", &doctor), ("writer", &of.ehr), ("reviewer", &officer)] {
            let folder = network.folder().join(name);
            std::fs::create_dir(&folder)?;
            let settings = std::fs::read_to_string(user.config_file(&folder)?)?;
            let settings: Vec<_> = settings.lines().filter(|line| !line.starts_with('[')).collect();
            profiles += &format!("[profile.{name}]\n{}\n", settings.join("\n"));
        }
        let file = network.folder().join("drill.toml");
        std::fs::write(&file, profiles)?;
        let output = Command::new(cli_binary()?)
            .arg("--config")
            .arg(&file)
            .args(["--profile", "reader", "--output", "json", "emergency", "drill", "--yes"])
            .args(["--writer", "writer", "--reviewer", "reviewer"])
            .output()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        println!("{told}");
        let found: Vec<_> = ["declared_to_read_ms", "registered", "written", "declared_and_read", "reviewed"]
            .into_iter()
            .filter(|field| told.contains(field))
            .collect();
        assert_eq!(found.len(), 5, "{told}");
        Ok(())
    });
}
