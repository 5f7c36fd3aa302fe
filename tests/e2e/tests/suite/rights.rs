//! Rights of patients over real nodes: a consent opens, a custodian wraps, a withdrawal closes,
//! an emergency opens again, and the patient's list shows all of it. What the parts of it are held
//! against is beside this.

mod disclosures;
mod emergencies;
mod labels;
mod late;
mod names;
mod petitions;
mod views;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use consilium_client::access_log::{AccessLog, Change, KeptLog, verify_decision};
use consilium_client::consents::{ConsentDraft, Consents};
use consilium_client::emergencies::Declaration;
use consilium_client::notices::{Notice, Notices};
use consilium_client::record_lists::{KeptLists, RecordLists};
use consilium_client::records::{Access, Draft, LabelsBefore, RecordDraft, RecordReader, RecordWriter};
use consilium_client::{Client, ClientError};
use consilium_e2e::{Network, User, asks_for, cli_binary, request_access};
use consilium_proto::consent::{Grant, Grantee, Rule};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{EmergencyId, Height, PatientPseudonym, RecordId};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, AccessGround, ConsentBase, ConsentEffect, EmergencyReason, PurposeOfUse};
use prost::Message;
use tonic::Code;

pub(crate) use petitions::{accepted_at, asks_to_correct};

const PATIENCE: Duration = Duration::from_secs(40);

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
        // Around what was read stands that the consent was put and ended, and the emergency declared and reviewed.
        let [put, ended, Change::EmergencyDeclared { emergency: id, reason, .. }, reviewed] = &changes(&log)[..] else {
            panic!("{:?}", log.events)
        };
        assert_eq!(*put, Change::ConsentPut { consent: draft.id, version: 1, to: None });
        assert_eq!(*ended, Change::ConsentEnded(draft.id));
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
    let asked: Vec<_> = log.events.iter().filter(|event| event.change.is_none()).collect();
    let (denied, permitted) = (asked[0].transaction_id, asked[1].transaction_id);
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
