//! Rights of patients over real nodes: a consent opens, a custodian wraps, a withdrawal closes,
//! an emergency opens again, and the patient's list shows all of it.

mod disclosures;
mod labels;
mod names;
mod petitions;
mod views;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use consilium_client::access_log::{AccessLog, Change, KeptLog, verify_decision};
use consilium_client::consents::{ConsentDraft, Consents};
use consilium_client::emergencies::{Declaration, EmergencyText};
use consilium_client::notices::{KnownEmergency, Notice, Notices};
use consilium_client::record_lists::{KeptLists, RecordLists};
use consilium_client::records::{Access, Draft, LabelsBefore, LateRequest, RecordDraft, RecordReader, RecordWriter};
use consilium_client::{Client, ClientError};
use consilium_e2e::{Network, User, asks_for, cli_binary, eventually, eventually_async, request_access};
use consilium_proto::consent::{Grant, Grantee, Rule};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{EmergencyId, Height, PatientPseudonym, RecordId};
use consilium_proto::names::{MemberId, Role};
use consilium_proto::pb::{self, AccessGround, ConsentBase, ConsentEffect, EmergencyReason, PurposeOfUse};
use consilium_proto::transaction::VersionRef;
use prost::Message;
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(40);
const DECLARED: pb::PatientChangeKind = pb::PatientChangeKind::EmergencyDeclared;

/// A custodian as it is run, ended with the test.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A hospital with a record of a patient and a custodian that runs.
struct Hospital {
    ehr: User,
    keeper: User,
    patient: PatientPseudonym,
    record: RecordId,
    _custodian: Running,
}

/// Runs a custodian.
pub(crate) fn running(keeper: &User, network: &Network) -> anyhow::Result<Running> {
    running_with(keeper, network, &[])
}

/// The same with further arguments.
pub(crate) fn running_with(keeper: &User, network: &Network, arguments: &[&str]) -> anyhow::Result<Running> {
    let folder = network.folder().join("custodian");
    std::fs::create_dir_all(&folder)?;
    let child = Command::new(cli_binary()?)
        .arg("--config")
        .arg(keeper.config_file(&folder)?)
        .args(["custodian", "run"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Running(child))
}

async fn hospital(network: &Network) -> anyhow::Result<Hospital> {
    let admin = network.enrolled(0, Role::Admin, "registrar").await?;
    let keeper = network.enrolled(0, Role::Service, "custodian").await?;
    let ehr = network.enrolled(0, Role::Service, "ehr").await?;
    let named = network.cli(&admin, &["custodian", "set-key", &keeper.spiffe_id])?;
    anyhow::ensure!(named.code == Some(0), "{}", named.output);
    let custodian = running(&keeper, network)?;
    let patient = PatientPseudonym(rand::random());
    let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
    ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
    let draft = RecordDraft::document("note", patient, "what was seen".into());
    let writer = RecordWriter::new(ehr.client.clone()).await?;
    let written = writer.write(vec![Draft::new(draft)], pb::WaitFor::Certified).await?;
    Ok(Hospital { ehr, keeper, patient, record: written[0].1[0], _custodian: custodian })
}

async fn read(client: &Client, access: Access, of: &Hospital) -> Result<Vec<u8>, ClientError> {
    let opened = RecordReader::with(client.clone(), access).get_of(of.patient, of.record, None).await?;
    Ok(opened.plaintext.map(|plain| plain.to_vec()).unwrap_or_default())
}

/// What was said of the patient, as its log has it.
fn changes(log: &AccessLog) -> Vec<Change> {
    log.events.iter().filter_map(|event| event.change.clone()).collect()
}

fn justified(emergency: EmergencyId) -> Change {
    Change::EmergencyReviewed { emergency, verdict: pb::ReviewVerdict::Justified }
}

fn is_not_found(read: Result<Vec<u8>, ClientError>) -> bool {
    matches!(read, Err(ClientError::Status { code: Code::NotFound, .. }))
}

#[test]
fn a_consent_opens_a_custodian_wraps_a_withdrawal_closes_and_an_emergency_opens_again() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        let treat = || Access::of(PurposeOfUse::Treat);
        assert!(is_not_found(read(&doctor.client, treat(), &of).await));

        let permit = Rule {
            grantees: vec![Grantee::Member(network.members[1].id.parse()?)],
            ..Rule::of_effect(ConsentEffect::Permit)
        };
        let grant = Grant { rules: vec![permit], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
        let mut draft = ConsentDraft::new(of.patient, grant, Some(Hash::of(&[b"salted scan"])));
        let consents = Consents::new(of.ehr.client.clone());
        consents.put(&mut draft).await?;
        assert_eq!(read(&doctor.client, treat(), &of).await?, b"what was seen");
        // Over any node, and what was wrapped once stays so.
        for node in &network.nodes {
            assert_eq!(read(&doctor.at(node).await?, treat(), &of).await?, b"what was seen");
        }
        consents.revoke(draft.id).await?;
        assert!(is_not_found(read(&doctor.client, treat(), &of).await));

        let emergency = Declaration::new(of.patient, EmergencyReason::Danger);
        let access =
            Access { emergency: Some(emergency.id()), before: emergency.actions(), ..Access::of(PurposeOfUse::Btg) };
        assert_eq!(read(&doctor.client, access, &of).await?, b"what was seen");
        let reviewed = network.enrolled(1, Role::Auditor, "reviewer").await?;
        reviewed.client.review_emergency(emergency.id(), pb::ReviewVerdict::Justified, None).await?;

        let log = auditor.client.access_log(of.patient, KeptLog::nothing()).await?;
        let grounds: Vec<_> = log.events.iter().flat_map(|event| &event.decisions).map(|d| d.ground).collect();
        let mut expected = vec![AccessGround::ConsentDenies];
        expected.extend([AccessGround::Consent; 4]);
        expected.extend([AccessGround::ConsentDenies, AccessGround::Emergency]);
        assert_eq!(grounds, expected);
        // Around what was read in it stands that it was declared, and reviewed.
        let [Change::EmergencyDeclared { emergency: id, reason, .. }, reviewed] = &changes(&log)[..] else {
            panic!("{:?}", log.events)
        };
        assert_eq!((id, reason), (&emergency.id(), &EmergencyReason::Danger));
        assert_eq!(reviewed, &justified(emergency.id()));
        // Whoever is not the patient's, is told that there is none.
        let error = doctor.client.access_log(of.patient, KeptLog::nothing()).await.unwrap_err();
        assert!(matches!(error, ClientError::Status { code: Code::NotFound, .. }), "{error:?}");
        lists_are_whole_for_whom_they_are(&of, &auditor, &doctor).await?;
        decisions_are_for_whom_they_are(network, &of, &log, (&auditor, &doctor)).await?;
        what_is_denied_beside_what_is_permitted_is_not_told(&of).await
    });
}

/// A receipt of a decision is verified offline. Who was denied has the receipt of the request.
async fn decisions_are_for_whom_they_are(
    network: &Network,
    of: &Hospital,
    log: &AccessLog,
    (auditor, doctor): (&User, &User),
) -> anyhow::Result<()> {
    let anna = network.enrolled(0, Role::Patient, &"0b".repeat(16)).await?;
    accept(of, &anna.spiffe_id).await?;
    let (denied, permitted) = (log.events[0].transaction_id, log.events[1].transaction_id);
    let genesis = doctor.client.genesis();
    for (user, id) in
        [(auditor, denied), (auditor, permitted), (doctor, permitted), (&anna, denied), (&anna, permitted)]
    {
        let receipt = user.client.decision_receipt(id).await?.encode_to_vec();
        let decision = verify_decision(&receipt, genesis)?.decision;
        assert_eq!((decision.event.transaction_id, decision.event.permits()), (id, id == permitted));
    }
    for error in
        [doctor.client.decision(denied).await.unwrap_err(), doctor.client.decision_receipt(denied).await.unwrap_err()]
    {
        assert!(matches!(error, ClientError::Status { code: Code::NotFound, .. }), "{error:?}");
    }
    let own = doctor.client.receipt(denied).await?;
    assert_eq!(own.leaf.outcome, pb::Outcome::Applied, "it says that the doctor asked, and nothing more");
    let file = network.folder().join("decision.pb").display().to_string();
    let written = network.cli(auditor, &["access", "decision", &permitted.to_string(), "--receipt", &file])?;
    anyhow::ensure!(written.code == Some(0), "{}", written.output);
    let verified = network.cli(auditor, &["access", "verify", &file])?;
    anyhow::ensure!(verified.code == Some(0) && verified.output.contains("verified"), "{}", verified.output);
    Ok(())
}

/// Else whoever may read one record could ask for others beside it.
async fn what_is_denied_beside_what_is_permitted_is_not_told(of: &Hospital) -> anyhow::Result<()> {
    let own = asks_for(of.patient, of.record);
    let guess = pb::VersionRef { record_id: rand::random::<[u8; 16]>().to_vec().into(), version: 0 };
    let beside = pb::RequestAccess { records: [own.records.clone(), vec![guess]].concat(), ..own.clone() };
    let asked = of.ehr.client.perform(pb::action::Action::RequestAccess(own)).await?;
    assert!(of.ehr.client.decision(asked.transaction_id).await?.event.permits());
    let asked = of.ehr.client.perform(pb::action::Action::RequestAccess(beside)).await?;
    let error = of.ehr.client.decision(asked.transaction_id).await.unwrap_err();
    assert!(matches!(error, ClientError::Status { code: Code::NotFound, .. }), "{error:?}");
    Ok(())
}

/// This is all there is of the patient: for the auditor, and not for those who write and read.
async fn lists_are_whole_for_whom_they_are(of: &Hospital, auditor: &User, doctor: &User) -> anyhow::Result<()> {
    let nothing = KeptLists::nothing();
    let listed = |lists: &RecordLists| lists.records().iter().map(|(_, entry)| entry.record).collect::<Vec<_>>();
    let before = auditor.client.record_lists(of.patient, None, &nothing).await?;
    assert_eq!((before.lists[0].kind.as_str(), listed(&before)), ("note", vec![of.record]));
    let writer = RecordWriter::new(of.ehr.client.clone()).await?;
    let later = ["note", "Observation"].map(|kind| Draft::new(RecordDraft::document(kind, of.patient, "more".into())));
    let written = writer.write(later.into(), pb::WaitFor::Certified).await?;
    let kept = before.keep(&nothing);
    let since = auditor.client.record_lists(of.patient, None, &kept).await?;
    assert_eq!(listed(&since), written.iter().flat_map(|(_, ids)| ids.clone()).collect::<Vec<_>>());
    let one_kind = auditor.client.record_lists(of.patient, Some("Observation"), &nothing).await?;
    assert_eq!(one_kind.lists.len(), 1);
    for other in [&of.ehr, doctor] {
        let error = other.client.record_lists(of.patient, None, &nothing).await.unwrap_err();
        assert!(matches!(error, ClientError::Status { code: Code::NotFound, .. }), "{error:?}");
    }
    let unknown = auditor.client.record_lists(PatientPseudonym(rand::random()), None, &nothing).await;
    assert!(unknown.is_err(), "of nobody there is no list");
    Ok(())
}

#[test]
fn what_is_denied_is_answered_as_what_is_not_and_leaves_its_trace() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let stranger = network.enrolled(2, Role::Clinician, "nosy").await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        let mut answers = Vec::new();
        let unknown = PatientPseudonym(rand::random());
        for request in [
            asks_for(of.patient, of.record),
            asks_for(of.patient, RecordId(rand::random())),
            asks_for(unknown, of.record),
        ] {
            let answer = request_access(&stranger, &network.nodes[2], request).await??;
            answers.push(pb::ReadRecordsResponse { height: 0, header: None, ..answer });
        }
        assert_eq!(answers, vec![pb::ReadRecordsResponse::default(); 3]);
        let log = auditor.client.access_log(of.patient, KeptLog::nothing()).await?;
        assert_eq!(log.count, 2, "the third named nobody that there is");
        // Nobody asks in another's name.
        let signed = stranger.client.sign(
            vec![pb::Action { action: Some(pb::action::Action::RequestAccess(asks_for(of.patient, of.record))) }],
            Vec::new(),
        )?;
        let request = pb::ReadRecordsRequest { transaction: Some(signed), ..Default::default() };
        let channel = of.ehr.channel(&network.nodes[0])?;
        let mut service = consilium_grpc::records_service_client::RecordsServiceClient::new(channel);
        let refused = service.read_records(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(auditor.client.access_log(of.patient, KeptLog::nothing()).await?.count, 2);
        Ok(())
    });
}

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

/// A clinician's system asks for the record without a quorum: what it keeps, and what it reads.
async fn read_late(user: &User, of: &Hospital) -> Result<(LateRequest, Vec<Vec<u8>>), ClientError> {
    let reader = RecordReader::new(user.client.clone());
    let late = reader.late_request(of.patient, &[VersionRef { record: of.record, version: 0 }])?;
    let opened = reader.read_without_quorum(&late).await?;
    let texts = opened.into_iter().map(|opened| opened.plaintext.map(|plain| plain.to_vec()).unwrap_or_default());
    Ok((late, texts.collect()))
}

/// One that was over before anybody entered it.
fn over(user: &User, of: &Hospital) -> anyhow::Result<LateRequest> {
    let request = pb::RequestAccess { late_ms: 1, ..asks_for(of.patient, of.record) };
    let action = pb::Action { action: Some(pb::action::Action::RequestAccess(request)) };
    let signed = user.client.sign_for(0, vec![action], Vec::new())?;
    Ok(LateRequest::parse(&signed.encode_to_vec(), user.client.genesis().ledger_id)?)
}

/// Whether the first node calls somebody for what the ledger does not take, or not.
async fn is_alarmed(network: &Network, expected: bool) -> Result<(), String> {
    let status = network.status(0).await.map_err(|e| e.to_string())?;
    let raised = status.alarms.iter().any(|alarm| alarm.name == "late_reads_refused");
    if raised == expected { Ok(()) } else { Err(format!("{:?}", status.alarms)) }
}

#[test]
fn without_a_quorum_own_records_are_read_and_the_log_has_it_afterwards() {
    Network::of(3).limits("without_quorum_after = \"2s\"").run(async |network| {
        let of = hospital(network).await?;
        let officer = network.enrolled(0, Role::Auditor, "privacy").await?;
        let foreign = network.enrolled(1, Role::Service, "ehr").await?;
        let (first, second) = (VersionRef { record: of.record, version: 0 }, PurposeOfUse::Treat);
        // With a quorum it is read as ever, only that the reader says when.
        assert_eq!(read_late(&of.keeper, &of).await?.1, [b"what was seen".to_vec()]);
        let before = officer.client.access_log(of.patient, KeptLog::nothing()).await?;
        assert!(before.events.last().expect("it was read").late.is_some());
        network.nodes[1].kill9()?;
        network.nodes[2].kill9()?;

        let ordinary = RecordReader::with(of.keeper.client.clone(), Access::of(second)).waiting(Duration::ZERO);
        let ordinary = tokio::time::timeout(Duration::from_secs(4), ordinary.read(of.patient, &[first])).await;
        assert!(!matches!(ordinary, Ok(Ok(_))), "nothing is certified");
        let (kept_copy, texts) = read_late(&of.keeper, &of).await?;
        assert_eq!(texts, [b"what was seen".to_vec()]);
        // The only node that is up is another member's to this one, and has none of its records.
        let refused = foreign.at(&network.nodes[0]).await;
        if let Ok(client) = refused {
            let reader = RecordReader::new(client);
            assert!(reader.read_without_quorum(&reader.late_request(of.patient, &[first])?).await.is_err());
        }
        // Killed before it could tell anybody.
        network.nodes[0].kill9()?;
        let kept = std::fs::read_dir(network.nodes[0].data_dir.join("late"))?.count();
        assert_eq!(kept, 1);
        // What cannot be read any more keeps no other from the ledger, and calls for somebody.
        let damaged = network.nodes[0].data_dir.join("late").join("ff");
        std::fs::write(damaged.with_extension("request"), b"?")?;
        network.start_all()?;
        let entered = || async {
            let log = officer.client.access_log(of.patient, KeptLog::nothing()).await;
            let log = log.map_err(|e| e.to_string())?;
            let late = log.events.iter().filter(|event| event.late.is_some()).count();
            if late < 2 { Err(format!("{late} are late")) } else { Ok(log) }
        };
        let log = eventually_async("the reading comes into the log", PATIENCE, entered).await?;
        let late = log.events.iter().rfind(|event| event.late.is_some()).expect("it is there");
        assert_eq!(late.reader.to_string(), of.keeper.spiffe_id);
        assert_eq!(late.decisions[0].ground, AccessGround::Custodian);
        assert!(late.late.is_some_and(|at| at < late.time), "it was entered later");
        network.nodes[0].wait_log(&["a read without a quorum is on the ledger now"])?;
        let called = || async { is_alarmed(network, true).await };
        eventually_async("somebody is called", PATIENCE, called).await?;
        std::fs::remove_file(damaged.with_extension("damaged"))?;
        eventually_async("it is over", PATIENCE, || async { is_alarmed(network, false).await }).await?;
        assert_eq!(std::fs::read_dir(network.nodes[0].data_dir.join("late"))?.count(), 0);

        // The reader's copy enters it only once; what is over it signs again.
        let entered = of.keeper.client.enter_late(&kept_copy).await?;
        assert_eq!((entered.transaction_id, entered.height), (kept_copy.transaction_id(), late.height));
        let over = over(&of.keeper, &of)?;
        eventually("it is over", PATIENCE, || (!over.is_valid()).then_some(()).ok_or("not yet"))?;
        let again = of.keeper.client.enter_late(&over).await?;
        assert_ne!(again.transaction_id, over.transaction_id());
        let log = officer.client.access_log(of.patient, KeptLog::nothing()).await?;
        assert_eq!(log.events.iter().filter(|event| event.late.is_some()).count(), 3);
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

async fn accept(of: &Hospital, identity: &str) -> anyhow::Result<()> {
    let acceptance = pb::AcceptPatient {
        patient: of.patient.0.to_vec().into(),
        identity: identity.to_owned(),
        relation: pb::PatientRelation::Self_.into(),
        may_read: true,
        evidence_sha256: vec![7; 32].into(),
        ..pb::AcceptPatient::default()
    };
    of.ehr.client.perform(pb::action::Action::AcceptPatient(acceptance)).await?;
    Ok(())
}
