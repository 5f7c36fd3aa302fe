//! A network without faults: every node takes writes and serves reads.

use std::time::Duration;

use bytes::Bytes;
use consilium_client::records::{Draft, QueryFilter, RecordDraft, RecordReader, RecordWriter, new_pseudonym};
use consilium_e2e::{Network, User, asks_for, bad_fields, opens_to_all, reason, record, request_access, seal_with};
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::envelope::ContentKey;
use consilium_proto::ids::{PatientPseudonym, RecordId, SearchTag};
use consilium_proto::names::Role;
use consilium_proto::pb;
use futures::TryStreamExt;
use pb::read_options::Consistency;
use tonic::{Code, Request, Status};

fn document(number: usize) -> Vec<u8> {
    format!("{{\"resourceType\":\"Observation\",\"id\":\"o{number}\"}}").into_bytes()
}

async fn get(
    user: &User,
    network: &Network,
    node: usize,
    id: RecordId,
    read: Option<Consistency>,
) -> Result<pb::GetRecordResponse, Status> {
    let channel = user.channel(&network.nodes[node]).unwrap();
    let mut request = Request::new(pb::GetRecordRequest {
        record_id: Bytes::copy_from_slice(&id.0),
        version: 0,
        read: read.map(|c| pb::ReadOptions { consistency: Some(c) }),
    });
    request.set_timeout(Duration::from_secs(10));
    RecordsServiceClient::new(channel).get_record(request).await.map(tonic::Response::into_inner)
}

#[test]
fn every_node_takes_writes_and_every_node_serves_them() {
    Network::of(4).run(async |network| {
        let mut users = Vec::new();
        for member in 0..4 {
            users.push(network.enrolled(member, Role::Service, "ehr").await?);
        }
        let patient = consilium_e2e::pseudonym("patient");
        let mut written = Vec::new();
        for (i, user) in users.iter().enumerate() {
            let client = user.at(&network.nodes[i]).await?;
            let id = consilium_e2e::random_id();
            let key = ContentKey::generate()?;
            let sealed = seal_with(&client, id, 1, "patient", &document(i), &key, &[user.encryption_key()?])?;
            // The SDK verifies the receipt against the genesis.
            let done = client.submit(sealed.sign(&client)?, pb::WaitFor::Certified).await?.into_applied()?;
            assert!(done.receipt.is_some());
            written.push((i, id, done.height.0));
            opens_to_all(user, patient).await?;
            // At once, linearizable, at every node, for whoever the patient lets read.
            for (reader, node) in users.iter().zip(&network.nodes) {
                let opened = RecordReader::new(user.at(node).await?).get_of(patient, id, None).await?;
                assert_eq!(opened.plaintext.unwrap().as_slice(), document(i));
                assert!(opened.record.height() >= done.height);
                let seen = request_access(reader, node, asks_for(patient, id)).await??;
                assert_eq!(seen.records[0].payload, sealed.attachments[0]);
            }
        }
        for (i, id, height) in written {
            for node in 0..4 {
                let answer = get(&users[i], network, node, id, Some(Consistency::MinHeight(height))).await?;
                let read_at = answer.header.unwrap().header.unwrap().height;
                assert!(read_at >= height, "{read_at} < {height}");
                let answer = get(&users[i], network, node, id, Some(Consistency::MaxStalenessMs(60_000))).await?;
                assert_eq!(answer.record.unwrap().version, 1);
            }
        }
        network.agreed(4).await?;
        Ok(())
    });
}

#[test]
fn an_ordered_write_is_answered_too_and_certified_soon_after() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let sealed = record(&user.client, "patient", b"x")?;
        let done = user.client.submit(sealed.sign(&user.client)?, pb::WaitFor::Ordered).await?.into_applied()?;
        assert_eq!(done.receipt, None);
        let receipt = consilium_e2e::eventually_async("a receipt", Duration::from_secs(20), || {
            user.client.receipt(done.transaction_id)
        })
        .await?;
        assert_eq!((receipt.leaf.height, receipt.leaf.outcome), (done.height, pb::Outcome::Applied));
        Ok(())
    });
}

#[test]
fn a_height_that_does_not_come_is_said_to_be_missing() {
    Network::of(3).limits("request_timeout = \"1s\"").run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let channel = user.channel(&network.nodes[1])?;
        let read = Some(pb::ReadOptions { consistency: Some(Consistency::MinHeight(1_000_000)) });
        let request = pb::GetRecordRequest { record_id: Bytes::from(vec![7; 16]), version: 0, read };
        let status = RecordsServiceClient::new(channel).get_record(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::Unavailable, "BEHIND".to_owned()), "{status:?}");
        Ok(())
    });
}

#[test]
fn queries_come_in_pages_without_gap_or_duplicate() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let mut ids = Vec::new();
        for number in 0..25 {
            let sealed = record(&user.client, "patient-1", &document(number))?;
            user.client.submit(sealed.sign(&user.client)?, pb::WaitFor::Certified).await?.into_applied()?;
            ids.push(sealed.record_id);
        }
        let other = record(&user.client, "patient-2", b"other")?;
        user.client.submit(other.sign(&user.client)?, pb::WaitFor::Certified).await?.into_applied()?;
        let patient = record(&user.client, "patient-1", b"x")?.write.patient;

        for node in &network.nodes {
            let mut service = RecordsServiceClient::new(user.channel(node)?);
            let (mut found, mut sizes, mut token) = (Vec::new(), Vec::new(), Bytes::new());
            loop {
                let answer = service
                    .query_records(pb::QueryRecordsRequest {
                        patient: patient.clone(),
                        page_size: 10,
                        page_token: token,
                        ..Default::default()
                    })
                    .await?
                    .into_inner();
                sizes.push(answer.records.len());
                found.extend(answer.records.iter().map(|r| RecordId::parse("id", &r.record_id).unwrap()));
                token = answer.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(found, ids, "oldest record first, each once");
            assert!(sizes.iter().all(|n| *n <= 10), "{sizes:?}");
        }

        let reader = RecordReader::new(user.at(&network.nodes[2]).await?);
        let by = |filter: QueryFilter| {
            let stream = reader.query(filter);
            async move { stream.try_collect::<Vec<_>>().await.map(|records| records.len()) }
        };
        let patient = Some(PatientPseudonym::parse("patient", &patient)?);
        let base = QueryFilter { patient, ..QueryFilter::default() };
        let author = Some(user.spiffe_id.clone());
        let member = Some(network.members[0].id.clone());
        assert_eq!(by(QueryFilter { kind: Some("Observation".into()), ..base.clone() }).await?, 25);
        assert_eq!(by(QueryFilter { kind: Some("Condition".into()), ..base.clone() }).await?, 0);
        assert_eq!(by(QueryFilter { author, ..base.clone() }).await?, 25);
        assert_eq!(by(QueryFilter { author_member: member, ..QueryFilter::default() }).await?, 26);
        assert_eq!(by(QueryFilter { to_ms: Some(1), ..base.clone() }).await?, 0);
        assert_eq!(by(QueryFilter { from_ms: Some(1), ..base }).await?, 25);
        Ok(())
    });
}

#[test]
fn a_query_without_a_condition_is_refused_with_its_field() {
    Network::of(1).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let mut service = RecordsServiceClient::new(user.channel(&network.nodes[0])?);
        let status = service.query_records(pb::QueryRecordsRequest::default()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::InvalidArgument, "INVALID_ARGUMENT".into()), "{status:?}");
        assert_eq!(bad_fields(&status).len(), 1, "{status:?}");
        Ok(())
    });
}

#[test]
fn amendments_and_a_retraction_make_a_history() {
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let other = network.enrolled(1, Role::Service, "lab").await?;
        let client = &user.client;
        let submit = async |client: &consilium_client::Client, tx| {
            client.submit(tx, pb::WaitFor::Certified).await.map(|done| done.outcome)
        };
        let first = record(client, "patient", b"one")?;
        let id = first.record_id;
        assert_eq!(submit(client, first.sign(client)?).await?, pb::Outcome::Applied);
        let keys = [user.encryption_key()?];
        let second = seal_with(client, id, 2, "patient", b"two", &ContentKey::generate()?, &keys)?;
        assert_eq!(submit(client, second.sign(client)?).await?, pb::Outcome::Applied);

        // A refusal of the rules is on the ledger and changes nothing.
        let again = seal_with(client, id, 2, "patient", b"2", &ContentKey::generate()?, &keys)?;
        assert_eq!(submit(client, again.sign(client)?).await?, pb::Outcome::VersionConflict);
        let elsewhere = seal_with(client, id, 3, "another", b"3", &ContentKey::generate()?, &keys)?;
        assert_eq!(submit(client, elsewhere.sign(client)?).await?, pb::Outcome::RecordMismatch);
        let foreign = [other.encryption_key()?];
        let foreign = seal_with(&other.client, id, 3, "patient", b"3", &ContentKey::generate()?, &foreign)?;
        assert_eq!(submit(&other.client, foreign.sign(&other.client)?).await?, pb::Outcome::RecordMismatch);
        let new = seal_with(client, id, 1, "patient", b"1", &ContentKey::generate()?, &keys)?;
        assert_eq!(submit(client, new.sign(client)?).await?, pb::Outcome::RecordExists);

        for node in &network.nodes {
            let reader = RecordReader::new(user.at(node).await?);
            assert_eq!(reader.get(id, None).await?.plaintext.unwrap().as_slice(), b"two");
            assert_eq!(reader.get(id, Some(1)).await?.plaintext.unwrap().as_slice(), b"one");
        }
        let retract = pb::RetractRecord { record_id: Bytes::copy_from_slice(&id.0), version: 2, reason: 0 };
        let action = pb::Action { action: Some(pb::action::Action::RetractRecord(retract)) };
        assert_eq!(submit(client, client.sign(vec![action.clone()], vec![])?).await?, pb::Outcome::Applied);
        assert_eq!(submit(client, client.sign(vec![action], vec![])?).await?, pb::Outcome::RecordRetracted);
        let late = seal_with(client, id, 4, "patient", b"four", &ContentKey::generate()?, &keys)?;
        assert_eq!(submit(client, late.sign(client)?).await?, pb::Outcome::RecordRetracted);

        for node in &network.nodes {
            let reader = RecordReader::new(user.at(node).await?);
            let newest = reader.get(id, None).await?;
            assert!(newest.record.version.retraction && newest.plaintext.is_none());
            let versions = reader.history(id).await?.into_value().versions;
            assert_eq!(
                versions.iter().map(|v| (v.version, v.retraction)).collect::<Vec<_>>(),
                [(1, false), (2, false), (3, true)]
            );
        }
        Ok(())
    });
}

#[test]
fn what_may_not_be_read_looks_like_what_does_not_exist() {
    Network::of(3).run(async |network| {
        let author = network.enrolled(0, Role::Service, "ehr").await?;
        let colleague = network.enrolled(0, Role::Service, "archive").await?;
        let stranger = network.enrolled(1, Role::Service, "lab").await?;
        let sealed = record(&author.client, "patient", b"secret")?;
        author.client.submit(sealed.sign(&author.client)?, pb::WaitFor::Certified).await?.into_applied()?;

        let denied = get(&stranger, network, 1, sealed.record_id, None).await.unwrap_err();
        let absent = get(&stranger, network, 1, consilium_e2e::random_id(), None).await.unwrap_err();
        assert_eq!((denied.code(), denied.message()), (absent.code(), absent.message()));
        assert_eq!((denied.code(), reason(&denied)), (Code::NotFound, "NOT_FOUND".to_owned()));
        assert_eq!(denied.details(), absent.details());

        let filter = QueryFilter {
            author_member: Some(network.members[0].id.clone()),
            patient: Some(PatientPseudonym::parse("patient", &sealed.write.patient)?),
            ..QueryFilter::default()
        };
        let found: Vec<_> = RecordReader::new(stranger.client.clone()).query(filter.clone()).try_collect().await?;
        assert_eq!(found.len(), 0);
        let found: Vec<_> = RecordReader::new(colleague.client.clone()).query(filter).try_collect().await?;
        assert_eq!(found.len(), 1);
        // The member's own see what is said of it, and a request for access gives the payload; but
        // only a recipient gets a key wrap.
        get(&colleague, network, 0, sealed.record_id, None).await?;
        let request = asks_for(sealed.patient(), sealed.record_id);
        let seen = request_access(&colleague, &network.nodes[0], request.clone()).await??;
        let [released] = seen.records.as_slice() else { anyhow::bail!("{seen:?}") };
        assert_eq!((&released.payload, &released.wraps), (&sealed.attachments[0], &vec![]));
        // Denied, unknown record, unknown patient: the same answer.
        let unknown = pb::RequestAccess { patient: vec![9; 16].into(), ..request.clone() };
        for request in [request, asks_for(sealed.patient(), consilium_e2e::random_id()), unknown] {
            let seen = request_access(&stranger, &network.nodes[1], request).await??;
            let same = pb::ReadRecordsResponse { height: 0, header: None, ..seen };
            assert_eq!(same, pb::ReadRecordsResponse::default());
        }
        Ok(())
    });
}

#[test]
fn who_has_the_networks_search_key_finds_by_tag_what_the_own_member_wrote_and_nothing_else() {
    Network::of(3).run(async |network| {
        let tag = SearchTag([7; 16]);
        for member in [0, 1] {
            let service = network.enrolled(member, Role::Service, "ehr").await?;
            let note = RecordDraft::document("note", new_pseudonym(), b"tagged".to_vec().into());
            let draft = Draft::new(RecordDraft { tags: vec![tag], ..note });
            RecordWriter::new(service.client).await?.write(vec![draft], pb::WaitFor::Certified).await?;
        }
        for (member, found) in [(0, 1), (1, 1), (2, 0)] {
            for role in [Role::Service, Role::Auditor] {
                let user = network.enrolled(member, role, "searches").await?;
                let filter = QueryFilter { tag: Some(tag), ..QueryFilter::default() };
                let records: Vec<_> = RecordReader::new(user.client.clone()).query(filter).try_collect().await?;
                assert_eq!(records.len(), found, "{role:?} of member {member}");
            }
        }
        Ok(())
    });
}
