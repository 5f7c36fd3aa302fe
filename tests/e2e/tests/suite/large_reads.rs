//! Reading more than an answer holds: it comes in pages of one request. And again: it is counted.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use consilium_client::access_log::KeptLog;
use consilium_client::records::{Opened, RecordReader};
use consilium_e2e::{Network, User, asks_for, eventually_async, pseudonym, stored};
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::hash::sha256;
use consilium_proto::ids::RecordId;
use consilium_proto::limits::ANSWER_BYTES_MAX;
use consilium_proto::names::Role;
use consilium_proto::pb::{self, AccessKind, action::Action};
use consilium_proto::transaction::VersionRef;
use prost::Message;
use tonic::Code;
use tonic_types::StatusExt;

/// Large, and several of them are more than a client takes at once.
const RECORD_BYTES: usize = 640 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_is_too_much_for_an_answer_comes_in_pages_of_one_request() {
    Network::of(1).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let count = ANSWER_BYTES_MAX / RECORD_BYTES + 1;
        let (mut asked, mut texts) = (Vec::new(), Vec::new());
        for number in 0..count {
            let text = vec![number as u8; RECORD_BYTES];
            let record = stored(&ehr.client, "patient", &text).await?.record_id;
            asked.push(VersionRef { record, version: 0 });
            texts.push(text);
        }
        let patient = pseudonym("patient");
        let opened = RecordReader::new(ehr.client.clone()).read(patient, &asked).await?;
        let read: Vec<_> = opened.into_iter().map(|opened| opened.plaintext.unwrap().to_vec()).collect();
        assert!(read == texts, "{} of {count} records", read.len());

        // Page by page: each is small, and the event is one.
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;
        let before = auditor.client.access_log(patient, KeptLog::nothing()).await?;
        let records = asked.iter().map(pb::VersionRef::from).collect();
        let request = pb::RequestAccess { records, ..asks_for(patient, asked[0].record) };
        let signed = ehr.client.sign(vec![pb::Action { action: Some(Action::RequestAccess(request)) }], Vec::new())?;
        let mut service =
            RecordsServiceClient::new(ehr.channel(&network.nodes[0])?).max_decoding_message_size(usize::MAX);
        let mut request = pb::ReadRecordsRequest { transaction: Some(signed), ..Default::default() };
        let (mut pages, mut found) = (0, Vec::new());
        loop {
            let answer = service.read_records(request.clone()).await?.into_inner();
            assert!(answer.encoded_len() < ANSWER_BYTES_MAX / 2, "{} bytes", answer.encoded_len());
            found.extend(answer.records.iter().map(|released| released.record.as_ref().unwrap().record_id.clone()));
            pages += 1;
            if answer.next_page_token.is_empty() {
                break;
            }
            request.page_token = answer.next_page_token;
        }
        assert!(pages > 2 && found.iter().eq(asked.iter().map(|asked| &asked.record.0[..])), "{pages} pages");
        let after = auditor.client.access_log(patient, KeptLog::nothing()).await?;
        assert_eq!(after.count, before.count + 1);
        Ok(())
    });
}

#[test]
fn what_is_read_without_a_quorum_comes_in_pages_too() {
    Network::of(3).limits("without_quorum_after = \"2s\"").run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let (mut asked, mut texts) = (Vec::new(), Vec::new());
        // More than a page, which is four MiB.
        for number in 0..9 {
            let text = vec![number; RECORD_BYTES];
            asked.push(VersionRef { record: stored(&ehr.client, "patient", &text).await?.record_id, version: 0 });
            texts.push(text);
        }
        let reader = RecordReader::new(ehr.client.clone());
        let plain = |opened: Vec<Opened>| opened.into_iter().map(|opened| opened.plaintext.unwrap().to_vec());
        network.nodes[1].kill9()?;
        network.nodes[2].kill9()?;
        let late = reader.late_request(pseudonym("patient"), &asked)?;
        let read = reader.read_without_quorum(&late).await?;
        assert!(plain(read).eq(texts.iter().cloned()));
        assert_eq!(std::fs::read_dir(network.nodes[0].data_dir.join("late"))?.count(), 1, "it is one request");
        Ok(())
    });
}

/// Versions of a record in one transaction, without keys and with the number as content.
fn amend(ehr: &User, record: RecordId, versions: RangeInclusive<u32>) -> anyhow::Result<pb::SignedTransaction> {
    let payloads: Vec<Bytes> = versions.clone().map(|version| Bytes::copy_from_slice(&version.to_be_bytes())).collect();
    let write = |version: u32| pb::WriteRecord {
        record_id: Bytes::copy_from_slice(&record.0),
        version,
        patient: Bytes::copy_from_slice(&pseudonym("patient").0),
        kind: "Observation".into(),
        confidentiality: pb::Confidentiality::Normal.into(),
        payload_sha256: Bytes::copy_from_slice(&sha256(&[&version.to_be_bytes()])),
        payload_size: 4,
        ..pb::WriteRecord::default()
    };
    let actions = versions.map(|version| pb::Action { action: Some(Action::WriteRecord(write(version))) });
    Ok(ehr.client.sign(actions.collect(), payloads)?)
}

#[test]
fn a_history_of_more_versions_than_an_answer_holds_comes_in_pages() {
    Network::of(1).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let record = RecordId([7; 16]);
        for versions in [1..=700, 701..=1_200] {
            let signed = amend(&ehr, record, versions)?;
            ehr.client.submit(signed, pb::WaitFor::Certified).await?.into_applied()?;
        }
        let reader = RecordReader::new(ehr.client.clone());
        for history in [reader.history(record).await?, reader.history_of(pseudonym("patient"), record).await?] {
            assert_eq!((history.newest, history.retracted), (1_200, false));
            assert!(history.versions.iter().map(|version| version.version).eq(1..=1_200));
        }
        let mut service = RecordsServiceClient::new(ehr.channel(&network.nodes[0])?);
        let record_id = Bytes::copy_from_slice(&record.0);
        let mut request = pb::GetRecordHistoryRequest { record_id, ..Default::default() };
        let mut pages = Vec::new();
        loop {
            let answer = service.get_record_history(request.clone()).await?.into_inner();
            pages.push(answer.versions.len());
            request.page_token = answer.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(pages, [1_000, 200]);
        Ok(())
    });
}

/// One request a second, and what one is for at once.
#[test]
fn the_same_certified_request_is_not_answered_again_for_nothing() {
    let limits = "access_requests_per_minute = 60\naccess_requests_burst = 1";
    Network::of(1).limits(limits).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let record = stored(&ehr.client, "patient", b"seen").await?.record_id;
        let history = pb::RequestAccess { kind: AccessKind::History.into(), ..asks_for(pseudonym("patient"), record) };
        let signed = ehr.client.sign(vec![pb::Action { action: Some(Action::RequestAccess(history)) }], Vec::new())?;
        let service = RecordsServiceClient::new(ehr.channel(&network.nodes[0])?);
        let request = pb::ReadRecordsRequest { transaction: Some(signed), ..Default::default() };
        let ask = async || service.clone().read_records(request.clone()).await;
        assert_eq!(ask().await?.into_inner().records.len(), 1);
        // Faster than what was made is paid for; it is one event all the same.
        let mut told = Vec::new();
        for _ in 0..20 {
            told.push(ask().await.map(|answer| answer.into_inner().records.len()));
        }
        let refused = told.iter().filter_map(|told| told.as_ref().err());
        let waits = refused.clone().map(|status| status.get_details_retry_info().and_then(|info| info.retry_delay));
        assert!(refused.clone().all(|status| status.code() == Code::ResourceExhausted), "{told:?}");
        assert!(refused.clone().count() >= 10 && waits.clone().all(|wait| wait.is_some()), "{told:?}");
        let again = async || ask().await.map(|answer| answer.into_inner().records.len()).map_err(|e| e.to_string());
        assert_eq!(eventually_async("it is answered again", PATIENCE, again).await?, 1);
        Ok(())
    });
}
