//! Reading more than an answer holds: it comes in pages of one request.

use consilium_client::access_log::KeptLog;
use consilium_client::records::RecordReader;
use consilium_e2e::{Network, asks_for, pseudonym, stored};
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::limits::ANSWER_BYTES_MAX;
use consilium_proto::names::Role;
use consilium_proto::pb::{self, action::Action};
use consilium_proto::transaction::VersionRef;
use prost::Message;

/// Large, and several of them are more than a client takes at once.
const RECORD_BYTES: usize = 640 * 1024;

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
