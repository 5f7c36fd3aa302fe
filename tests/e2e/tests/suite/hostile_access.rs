//! Readers, nodes and custodians that are up to no good: a node answers requests for access and
//! logs falsely, a custodian wraps for whom nothing is permitted, a reader asks with another's
//! request or looks for what it is not told.

use std::sync::Mutex;

use bytes::Bytes;
use consilium_client::access_log::{KeptLog, LogFault};
use consilium_client::consents::{ConsentDraft, Consents};
use consilium_client::records::RecordReader;
use consilium_client::{Client, ClientError, Profile, Unverified};
use consilium_e2e::{
    Falsify, Network, Sealed, User, asks_for, lying_entry, pseudonym, random_id, request_access, seal_with, stored,
};
use consilium_grpc::access_service_client::AccessServiceClient;
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::consent::{Grant, Grantee, Rule};
use consilium_proto::envelope::ContentKey;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::ids::{PatientPseudonym, RecordId, TransactionId};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, ConsentBase, ConsentEffect, Outcome, action::Action};
use consilium_proto::transaction::{Transaction, VersionRef, encryption_key_id};
use prost::Message;
use tonic::{Code, Status};

/// A client of an entry node that lies.
async fn lied_to(network: &Network, user: &User, falsify: Falsify) -> anyhow::Result<Client> {
    lied_to_by(lying_entry(network, 0, user, falsify).await?, user).await
}

async fn lied_to_by(address: String, user: &User) -> anyhow::Result<Client> {
    Ok(Client::connect(Profile { endpoints: vec![address], ..user.profile.clone() }).await?)
}

fn released(call: &str, answer: &[u8], lie: fn(&mut pb::ReleasedRecord)) -> Option<Vec<u8>> {
    let mut told = (call == "ReadRecords").then(|| pb::ReadRecordsResponse::decode(answer))?.ok()?;
    told.records.first_mut().map(lie)?;
    Some(told.encode_to_vec())
}

/// Answers every question of a kind as it has answered the first one.
fn again(call: &str, wanted: &str, answer: &[u8], first: &Mutex<Option<Vec<u8>>>) -> Option<Vec<u8>> {
    (call == wanted).then(|| first.lock().unwrap().get_or_insert_with(|| answer.to_vec()).clone())
}

async fn open(client: &Client, of: &Sealed) -> Result<Vec<u8>, ClientError> {
    let opened = RecordReader::new(client.clone()).get_of(of.patient(), of.record_id, None).await?;
    Ok(opened.plaintext.map(|plain| plain.to_vec()).unwrap_or_default())
}

fn is_refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> bool {
    matches!(answer, Err(ClientError::Verification(_)))
}

/// What a node leaves out of its answer looks as if it were denied.
#[test]
fn what_a_node_holds_back_of_a_request_is_found_at_another() {
    Network::of(3).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let texts = [&b"the first"[..], b"the second", b"the third"];
        let mut asked = Vec::new();
        for text in texts {
            let record = stored(&ehr.client, "patient", text).await?.record_id;
            asked.push(VersionRef { record, version: 1 });
        }
        let address = lying_entry(network, 0, &ehr, |call, answer| {
            let mut told = (call == "ReadRecords").then(|| pb::ReadRecordsResponse::decode(answer))?.ok()?;
            told.records.remove(1);
            Some(told.encode_to_vec())
        })
        .await?;
        let endpoints = vec![address.clone(), network.nodes[0].endpoint()];
        let client = Client::connect(Profile { endpoints, ..ehr.profile.clone() }).await?;
        let opened = RecordReader::new(client.clone()).read(pseudonym("patient"), &asked).await?;
        let read: Vec<_> = opened.iter().map(|opened| &opened.plaintext.as_ref().unwrap()[..]).collect();
        assert_eq!(read, texts);
        let kept = client.take_false_answers();
        assert!(kept.iter().any(|kept| kept.node == address && kept.problem.contains("holds back")), "{kept:?}");
        // Where it is the only one that is asked, nobody knows.
        let alone = lied_to_by(address, &ehr).await?;
        assert_eq!(RecordReader::new(alone.clone()).read(pseudonym("patient"), &asked).await?.len(), 2);
        assert_eq!(alone.take_false_answers(), vec![]);
        Ok(())
    });
}

#[test]
fn no_node_makes_up_what_a_request_opens() {
    Network::of(3).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let own = stored(&ehr.client, "patient", b"what was seen").await?;
        let other = stored(&ehr.client, "another", b"of somebody else").await?;
        assert_eq!(open(&ehr.client, &own).await?, b"what was seen");
        let lies: [Falsify; 5] = [
            |call, answer| released(call, answer, |told| told.payload = Bytes::from_static(b"forged")),
            |call, answer| released(call, answer, |told| told.wraps[0].wrap = Bytes::from_static(b"forged")),
            |call, answer| released(call, answer, |told| told.record.as_mut().unwrap().patient = vec![9; 16].into()),
            |call, answer| released(call, answer, |told| told.record.as_mut().unwrap().time_ms += 1),
            // As if it were certified.
            |call, answer| {
                let mut told = (call == "ReadRecords").then(|| pb::ReadRecordsResponse::decode(answer))?.ok()?;
                told.header.as_mut()?.header.as_mut()?.height += 1;
                Some(told.encode_to_vec())
            },
        ];
        for (number, lie) in lies.into_iter().enumerate() {
            assert!(is_refused(open(&lied_to(network, &ehr, lie).await?, &own).await), "lie {number}");
        }
        // True, proven, and the answer to another request.
        static FIRST: Mutex<Option<Vec<u8>>> = Mutex::new(None);
        let liar = lied_to(network, &ehr, |call, answer| again(call, "ReadRecords", answer, &FIRST)).await?;
        assert_eq!(open(&liar, &own).await?, b"what was seen");
        assert!(is_refused(open(&liar, &other).await));
        Ok(())
    });
}

fn log_answer(call: &str, answer: &[u8], lie: fn(&mut Vec<Bytes>)) -> Option<Vec<u8>> {
    let mut told = (call == "GetAccessLog").then(|| pb::GetAccessLogResponse::decode(answer))?.ok()?;
    lie(&mut told.events);
    Some(told.encode_to_vec())
}

fn changed(event: &Bytes, change: fn(&mut pb::AccessEvent)) -> Bytes {
    let mut event = pb::AccessEvent::decode(event.clone()).unwrap();
    change(&mut event);
    event.encode_to_vec().into()
}

#[test]
fn no_node_leaves_out_or_changes_who_has_read() {
    Network::of(3).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        let own = stored(&ehr.client, "patient", b"what was seen").await?;
        let (patient, nothing) = (own.patient(), KeptLog::nothing());
        for _ in 0..3 {
            open(&ehr.client, &own).await?;
        }
        let lies: [Falsify; 5] = [
            |call, answer| log_answer(call, answer, |events| drop(events.pop())),
            |call, answer| log_answer(call, answer, |events| drop(events.remove(0))),
            |call, answer| log_answer(call, answer, |events| events.swap(0, 1)),
            |call, answer| log_answer(call, answer, |events| events.push(events[0].clone())),
            |call, answer| {
                log_answer(call, answer, |events| {
                    events[1] = changed(&events[1], |event| event.reader = "spiffe://x.example/clinician/y".into());
                })
            },
        ];
        for (number, lie) in lies.into_iter().enumerate() {
            let told = lied_to(network, &auditor, lie).await?.access_log(patient, nothing).await;
            assert!(matches!(told, Err(ClientError::Verification(Unverified::Log(_)))), "lie {number}: {told:?}");
        }
        // What was true once, to somebody who has seen more since.
        static EARLIER: Mutex<Option<Vec<u8>>> = Mutex::new(None);
        let liar = lied_to(network, &auditor, |call, answer| again(call, "GetAccessLog", answer, &EARLIER)).await?;
        assert_eq!(liar.access_log(patient, nothing).await?.count, 3);
        open(&ehr.client, &own).await?;
        let kept = auditor.client.access_log(patient, nothing).await?.kept();
        let told = liar.access_log(patient, kept).await;
        let shorter = LogFault::Shorter { known: 4, shown: 3 };
        assert!(matches!(&told, Err(ClientError::Verification(Unverified::Log(fault))) if *fault == shorter));

        // One decision: changed, or that of another request.
        let asked = |number: usize| {
            let log = auditor.client.access_log(patient, nothing);
            async move { anyhow::Ok(log.await?.events[number].transaction_id) }
        };
        let (first, second) = (asked(0).await?, asked(1).await?);
        let liar = lied_to(network, &auditor, |call, answer| {
            let mut told = (call == "GetDecision").then(|| pb::GetDecisionResponse::decode(answer))?.ok()?;
            told.event = changed(&told.event, |event| event.decisions.clear());
            Some(told.encode_to_vec())
        });
        assert!(is_refused(liar.await?.decision(first).await));
        static DECIDED: Mutex<Option<Vec<u8>>> = Mutex::new(None);
        let liar = lied_to(network, &auditor, |call, answer| again(call, "GetDecision", answer, &DECIDED)).await?;
        liar.decision(first).await?;
        assert!(is_refused(liar.decision(second).await));
        Ok(())
    });
}

/// A hospital with a custodian that the test plays, a record, and a doctor of another hospital
/// whom a consent lets read it.
struct Shared {
    ehr: User,
    keeper: User,
    doctor: User,
    record: Sealed,
    consent: ConsentDraft,
}

async fn shared(network: &Network) -> anyhow::Result<Shared> {
    let admin = network.enrolled(0, Role::Admin, "registrar").await?;
    let keeper = network.enrolled(0, Role::Service, "custodian").await?;
    let ehr = network.enrolled(0, Role::Service, "ehr").await?;
    let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
    let encryption_key_id = encryption_key_id(&keeper.encryption_key()?).to_bytes();
    admin.client.perform(Action::SetCustodyKey(pb::SetCustodyKey { encryption_key_id })).await?;
    let keys = [ehr.encryption_key()?, keeper.encryption_key()?];
    let record = seal_with(&ehr.client, random_id(), 1, "patient", b"seen", &ContentKey::generate()?, &keys)?;
    ehr.client.submit(record.sign(&ehr.client)?, pb::WaitFor::Certified).await?.into_applied()?;
    let member = Grantee::Member(network.members[1].id.parse()?);
    let permit = Rule { grantees: vec![member], ..Rule::of_effect(ConsentEffect::Permit) };
    let grant = Grant { rules: vec![permit], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
    let consent = ConsentDraft::new(record.patient(), grant, Some(Hash::of(&[b"salted scan"])));
    Ok(Shared { ehr, keeper, doctor, record, consent })
}

/// A wrap for a key, in answer to a request, as somebody adds it.
async fn add_wrap(by: &User, request: u64, of: &Sealed, reader: &User) -> anyhow::Result<Outcome> {
    let content = Bytes::from_static(b"what only the reader could open");
    let wrap = pb::AddedWrap {
        request,
        record_id: Bytes::copy_from_slice(&of.record_id.0),
        version: 1,
        recipient_key_id: encryption_key_id(&reader.encryption_key()?).to_bytes(),
        wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
    };
    let add = Action::AddWraps(pb::AddWraps { wraps: vec![wrap], ..pb::AddWraps::default() });
    let signed = by.client.sign(vec![pb::Action { action: Some(add) }], vec![content])?;
    Ok(by.client.submit(signed, pb::WaitFor::Certified).await?.outcome)
}

#[test]
fn a_custodian_gives_keys_to_nobody_whom_the_ledger_does_not_permit() {
    Network::of(3).run(async |network| {
        let Shared { ehr, keeper, doctor, record, consent } = shared(network).await?;
        let nosy = network.enrolled(1, Role::Clinician, "nosy").await?;
        let (node, asks) = (&network.nodes[1], || asks_for(record.patient(), record.record_id));
        // Nobody was permitted anything yet, whether or not somebody asked.
        assert_eq!(add_wrap(&keeper, 0, &record, &doctor).await?, Outcome::WrapNotRequested);
        assert_eq!(request_access(&doctor, node, asks()).await??.records, vec![]);
        assert_eq!(add_wrap(&keeper, 0, &record, &doctor).await?, Outcome::WrapNotRequested);

        let consents = Consents::new(ehr.client.clone());
        consents.put(&mut consent.clone()).await?;
        let seen = request_access(&doctor, node, asks()).await??;
        assert_eq!((seen.records.len(), &seen.records[0].wraps), (1, &vec![]), "its key is not made yet");
        // For another reader, by who is not the custodian, and for another record.
        assert_eq!(add_wrap(&keeper, 0, &record, &nosy).await?, Outcome::WrapNotRequested);
        assert_eq!(add_wrap(&ehr, 0, &record, &doctor).await?, Outcome::CustodianRefused);
        assert_eq!(add_wrap(&doctor, 0, &record, &doctor).await?, Outcome::CustodianRefused);
        let unasked = Sealed { record_id: random_id(), ..record.clone() };
        assert_eq!(add_wrap(&keeper, 0, &unasked, &doctor).await?, Outcome::WrapNotRequested);
        // The permit is withdrawn before the key is made.
        consents.revoke(consent.id).await?;
        assert_eq!(add_wrap(&keeper, 0, &record, &doctor).await?, Outcome::AccessEnded);
        for node in &network.nodes {
            assert_eq!(request_access(&doctor, node, asks()).await??.records, vec![], "no node has anything for it");
        }
        Ok(())
    });
}

async fn read_with(
    user: &User,
    network: &Network,
    node: usize,
    transaction: &pb::SignedTransaction,
) -> Result<pb::ReadRecordsResponse, Status> {
    let channel = user.channel(&network.nodes[node]).unwrap();
    let transaction = Some(transaction.clone());
    let request = pb::ReadRecordsRequest { transaction, ..pb::ReadRecordsRequest::default() };
    RecordsServiceClient::new(channel).read_records(request).await.map(tonic::Response::into_inner)
}

#[test]
fn nobody_is_answered_with_what_another_was_permitted() {
    Network::of(3).run(async |network| {
        let Shared { ehr, doctor, record, consent, .. } = shared(network).await?;
        Consents::new(ehr.client.clone()).put(&mut consent.clone()).await?;
        let colleague = network.enrolled(1, Role::Clinician, "colleague").await?;
        let sign = || {
            let action = Action::RequestAccess(asks_for(record.patient(), record.record_id));
            doctor.client.sign(vec![pb::Action { action: Some(action) }], Vec::new())
        };
        let request = sign()?;
        assert_eq!(read_with(&doctor, network, 1, &request).await?.records.len(), 1);
        for node in 0..3 {
            // On the ledger, permitted, and within its time.
            let refused = read_with(&colleague, network, node, &request).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
            assert_eq!(
                read_with(&doctor, network, node, &request).await?.records.len(),
                1,
                "its own reader may ask again"
            );
        }
        // Nor does anybody ask in its name.
        let forged = pb::SignedTransaction { signature: vec![7; 64].into(), ..sign()? };
        assert_eq!(read_with(&colleague, network, 2, &forged).await.unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(read_with(&doctor, network, 2, &forged).await.unwrap_err().code(), Code::InvalidArgument);
        // All of it was one event, behind that of the consent.
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        assert_eq!(auditor.client.access_log(record.patient(), KeptLog::nothing()).await?.count, 2);
        Ok(())
    });
}

/// All that a caller gets to know of a refusal.
fn told<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>) -> (Code, String, Vec<u8>) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// What a caller is told who asks for a patient, one of its records, and a decision about it.
async fn all_told(
    user: &User,
    network: &Network,
    (patient, record, asked): (PatientPseudonym, RecordId, TransactionId),
) -> Vec<(Code, String, Vec<u8>)> {
    let channel = user.channel(&network.nodes[1]).unwrap();
    let (patient, record) = (Bytes::copy_from_slice(&patient.0), Bytes::copy_from_slice(&record.0));
    let mut access = AccessServiceClient::new(channel.clone());
    let mut records = RecordsServiceClient::new(channel);
    let log = pb::GetAccessLogRequest { patient: patient.clone(), page_size: 10, ..Default::default() };
    let rows = pb::GetPatientRequest { patient, ..Default::default() };
    let decision = pb::GetDecisionRequest { transaction_id: asked.to_bytes(), ..Default::default() };
    let newest = pb::GetRecordRequest { record_id: record.clone(), ..Default::default() };
    let history = pb::GetRecordHistoryRequest { record_id: record, ..Default::default() };
    vec![
        told(access.get_access_log(log).await),
        told(access.get_patient(rows).await),
        told(access.get_decision(decision).await),
        told(records.get_record(newest).await),
        told(records.get_record_history(history).await),
    ]
}

#[test]
fn who_is_denied_is_told_the_same_of_what_is_hidden_and_what_is_not() {
    Network::of(3).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let hidden = stored(&ehr.client, "patient", b"secret").await?;
        // Of a role that may see rows of patients nowhere.
        let stranger = network.enrolled(1, Role::Researcher, "curious").await?;
        let denied = async |patient: PatientPseudonym, record: RecordId| -> anyhow::Result<_> {
            let action = Action::RequestAccess(asks_for(patient, record));
            let signed = stranger.client.sign(vec![pb::Action { action: Some(action) }], Vec::new())?;
            let answer = read_with(&stranger, network, 1, &signed).await?;
            let id = Transaction::parse(&signed, stranger.client.genesis().ledger_id)?.id;
            Ok((id, pb::ReadRecordsResponse { height: 0, header: None, ..answer }.encode_to_vec()))
        };
        let (unknown, nobodys) = (pseudonym("nobody"), random_id());
        let (asked, answer) = denied(hidden.patient(), hidden.record_id).await?;
        let of_hidden = all_told(&stranger, network, (hidden.patient(), hidden.record_id, asked)).await;
        assert!(of_hidden.iter().all(|(code, _, _)| *code == Code::NotFound), "{of_hidden:?}");
        for (patient, record) in [(hidden.patient(), nobodys), (unknown, hidden.record_id), (unknown, nobodys)] {
            let (asked, same) = denied(patient, record).await?;
            assert_eq!(same, answer);
            assert_eq!(all_told(&stranger, network, (patient, record, asked)).await, of_hidden);
        }
        // Nor is a request that was made told from one that never was.
        let never = TransactionId::from_bytes([9; 32]);
        assert_eq!(all_told(&stranger, network, (hidden.patient(), hidden.record_id, never)).await, of_hidden);
        Ok(())
    });
}
