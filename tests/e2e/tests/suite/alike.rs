//! Denied, unknown and empty look alike to who asks: answers, headers and trailers byte for byte,
//! also after a certificate, and in time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_client::ClientError;
use consilium_client::consents::{ConsentDraft, Consents};
use consilium_client::records::{Draft, QueryFilter, RecordDraft, RecordReader, RecordWriter};
use consilium_e2e::{Network, User, asks_for};
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::consent::{Grant, Grantee, Rule};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::names::Role;
use consilium_proto::pb::{self, AccessKind, Confidentiality, ConsentBase, ConsentEffect};
use futures::TryStreamExt;
use prost::Message;
use tonic::Code;
use tonic::transport::Channel;

/// Records of the patient that are hidden.
const HIDDEN: usize = 40;
/// Samples of each kind of question, interleaved.
const SAMPLES: usize = 40;
/// Medians of any two kinds may differ by so much, and no more.
const APART_MAX: Duration = Duration::from_millis(10);

/// What is asked for contents or lists.
const KINDS: [AccessKind; 4] = [AccessKind::Read, AccessKind::Export, AccessKind::History, AccessKind::Query];

/// Who asks, and for what there is and is not.
struct Stage {
    nosy: User,
    channel: Channel,
    /// A patient with records, one of them, and one without any.
    patient: PatientPseudonym,
    record: RecordId,
    empty: PatientPseudonym,
}

async fn stage(network: &Network, hidden: usize) -> anyhow::Result<Stage> {
    network.custodian(0).await?;
    let ehr = network.enrolled(0, Role::Service, "ehr").await?;
    let (patient, empty) = (PatientPseudonym(rand::random()), PatientPseudonym(rand::random()));
    for patient in [patient, empty] {
        let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
        ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
    }
    let note = |_| Draft::new(RecordDraft::document("note", patient, "what was seen".into()));
    let writer = RecordWriter::new(ehr.client.clone()).await?;
    let written = writer.write((0..hidden).map(note).collect(), pb::WaitFor::Certified).await?;
    let nosy = network.enrolled(1, Role::Clinician, "nosy").await?;
    let channel = nosy.channel(&network.nodes[1])?;
    Ok(Stage { nosy, channel, patient, record: written[0].1[0], empty })
}

impl Stage {
    /// What is denied, what there is not, and what is empty, for one kind of request.
    fn questions(&self, kind: AccessKind) -> Vec<pb::RequestAccess> {
        let unknown = PatientPseudonym([7; 16]);
        let of = |patient, record| pb::RequestAccess { kind: kind.into(), ..asks_for(patient, record) };
        match kind {
            AccessKind::Query => [self.patient, unknown, self.empty]
                .map(|patient| pb::RequestAccess { records: Vec::new(), ..of(patient, self.record) })
                .to_vec(),
            AccessKind::Read
            | AccessKind::History
            | AccessKind::Export
            | AccessKind::Disclosure
            | AccessKind::Change
            | AccessKind::Unspecified => vec![
                of(self.patient, self.record),
                of(self.patient, RecordId([7; 16])),
                of(unknown, self.record),
                of(self.empty, self.record),
                // In an emergency that there is not.
                pb::RequestAccess {
                    purpose: pb::PurposeOfUse::Btg.into(),
                    emergency_id: vec![8; 16].into(),
                    ..of(self.patient, self.record)
                },
            ],
        }
    }

    /// The pages of a query, one record at a time: how many records, and how long the token for the next.
    async fn pages(&self, patient: PatientPseudonym) -> anyhow::Result<Vec<(usize, usize)>> {
        let (salt, query) = ([1; 16], pb::RecordQuery::default().encode_to_vec());
        let asked = pb::RequestAccess {
            kind: AccessKind::Query.into(),
            records: Vec::new(),
            query_sha256: Hash::of(&[&salt, &query]).to_bytes(),
            ..asks_for(patient, self.record)
        };
        let action = pb::Action { action: Some(pb::action::Action::RequestAccess(asked)) };
        let mut request = pb::ReadRecordsRequest {
            transaction: Some(self.nosy.client.sign(vec![action], Vec::new())?),
            query: query.into(),
            query_salt: Bytes::copy_from_slice(&salt),
            page_size: 1,
            ..Default::default()
        };
        let mut pages = Vec::new();
        loop {
            let answer = RecordsServiceClient::new(self.channel.clone()).read_records(request.clone()).await?;
            let answer = answer.into_inner();
            pages.push((answer.records.len(), answer.next_page_token.len()));
            if answer.next_page_token.is_empty() {
                return Ok(pages);
            }
            request.page_token = answer.next_page_token;
        }
    }

    /// An answer without what every block has its own of, with the headers and trailers.
    async fn ask(&self, request: pb::RequestAccess) -> anyhow::Result<(Vec<u8>, Vec<String>)> {
        let (salt, query) = ([1; 16], pb::RecordQuery::default().encode_to_vec());
        let is_query = request.kind() == AccessKind::Query;
        let query_sha256 = if is_query { Hash::of(&[&salt, &query]).to_bytes() } else { Bytes::new() };
        let action = pb::action::Action::RequestAccess(pb::RequestAccess { query_sha256, ..request });
        let transaction = Some(self.nosy.client.sign(vec![pb::Action { action: Some(action) }], Vec::new())?);
        let query_salt = if is_query { Bytes::copy_from_slice(&salt) } else { Bytes::new() };
        let request = pb::ReadRecordsRequest { transaction, query_salt, query: query.into(), ..Default::default() };
        let answer = RecordsServiceClient::new(self.channel.clone()).read_records(request).await?;
        let mut metadata: Vec<_> = answer.metadata().clone().into_headers().iter().map(|h| format!("{h:?}")).collect();
        metadata.retain(|header| !header.starts_with("(\"date\""));
        metadata.sort();
        let answer = pb::ReadRecordsResponse { height: 0, header: None, ..answer.into_inner() };
        Ok((answer.encode_to_vec(), metadata))
    }
}

#[test]
fn denied_unknown_and_empty_are_answered_in_the_same_bytes_after_a_certificate() {
    Network::of(3).run(async |network| {
        let stage = stage(network, 3).await?;
        for kind in KINDS {
            let mut answers = Vec::new();
            for question in stage.questions(kind) {
                answers.push(stage.ask(question).await?);
            }
            assert_eq!(answers[0].0, b"", "nothing but a height and its header");
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{kind:?}: {answers:?}");
        }
        Ok(())
    });
}

#[test]
fn who_sees_some_records_sees_the_same_pages_with_and_without_hidden_ones_between() {
    Network::of(3).run(async |network| {
        let stage = stage(network, 1).await?;
        let ehr = network.enrolled(0, Role::Service, "registry").await?;
        let writer = RecordWriter::new(ehr.client.clone()).await?;
        let permit = Rule {
            grantees: vec![Grantee::Member(network.members[1].id.parse()?)],
            ceiling: Some(Confidentiality::Normal),
            ..Rule::of_effect(ConsentEffect::Permit)
        };
        let grant = Grant { rules: vec![permit], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
        let (plain, hidden) = (Confidentiality::Normal, Confidentiality::VeryRestricted);
        let mut seen = Vec::new();
        for levels in [vec![plain, plain], vec![hidden, plain, hidden, hidden, plain, hidden]] {
            let patient = PatientPseudonym(rand::random());
            let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
            ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
            let note = |confidentiality| {
                let document = RecordDraft::document("note", patient, "what was seen".into());
                Draft::new(RecordDraft { confidentiality, ..document })
            };
            writer.write(levels.into_iter().map(note).collect(), pb::WaitFor::Certified).await?;
            let mut consent = ConsentDraft::new(patient, grant.clone(), Some(Hash::of(&[b"salted scan"])));
            Consents::new(ehr.client.clone()).put(&mut consent).await?;
            seen.push(stage.pages(patient).await?);
        }
        assert_eq!(seen[0].iter().map(|page| page.0).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(seen[0], seen[1], "neither a page nor a token more");
        // A person has no other way to look for them.
        let filter = QueryFilter { patient: Some(stage.patient), ..QueryFilter::default() };
        let looked: Result<Vec<_>, _> =
            RecordReader::new(stage.nosy.client.clone()).query(filter).try_collect::<Vec<_>>().await;
        assert!(matches!(looked, Err(ClientError::Status { code: Code::PermissionDenied, .. })), "{looked:?}");
        Ok(())
    });
}

/// `make test-timing`: takes wall time, so it is not run beside others.
#[test]
#[ignore = "measures wall time"]
fn denied_unknown_and_empty_take_the_same_time() {
    Network::of(3).run(async |network| {
        let stage = stage(network, HIDDEN).await?;
        let mut times: BTreeMap<(i32, usize), Vec<Duration>> = BTreeMap::new();
        for _ in 0..SAMPLES {
            for kind in KINDS {
                for (place, question) in stage.questions(kind).into_iter().enumerate() {
                    let began = Instant::now();
                    stage.ask(question).await?;
                    times.entry((kind as i32, place)).or_default().push(began.elapsed());
                }
            }
        }
        let medians: Vec<_> = times
            .into_iter()
            .map(|(question, mut times)| {
                times.sort();
                (question, times[times.len() / 2])
            })
            .collect();
        println!("medians: {medians:?}");
        let all = || medians.iter().map(|(_, median)| *median);
        let apart = all().max().unwrap_or_default() - all().min().unwrap_or_default();
        assert!(apart <= APART_MAX, "{apart:?} apart, at most {APART_MAX:?}: {medians:?}");
        Ok(())
    });
}
