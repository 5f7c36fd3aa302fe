//! Writing: records from a pool of ciphertexts that was made before the timing.

use std::sync::Arc;

use bytes::Bytes;
use consilium_client::Client;
use consilium_client::ClientError;
use consilium_client::submit_lane::SubmitLane;
use consilium_client::transport::ledger_service;
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::envelope::{ContentKey, EnvelopeContext, seal_payload, wrap_key};
use consilium_proto::hash::sha256;
use consilium_proto::pb;
use consilium_proto::transaction;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::load::{ANSWER_TIMEOUT, BenchPlan, reason};

/// Documents prepared before the timing.
const POOL_SIZE: usize = 64;

/// A prepared document: ciphertext and wraps, used again and again.
pub(super) struct Document {
    payload: Bytes,
    payload_sha256: Bytes,
    wraps: Vec<(pb::KeyWrapRef, Bytes)>,
}

/// Patients to whom the records belong: a new one for each record is what no hospital has.
const PATIENTS: u64 = 10_000;

/// One of the patients, always by the same pseudonym.
fn some_patient() -> [u8; 16] {
    let number = rand::random_range(0..PATIENTS);
    let hash = sha256(&[b"consilium/bench/patient", &number.to_be_bytes()]);
    *hash.first_chunk().expect("a SHA-256 has more than 16 bytes")
}

/// Seals the pool.
pub(super) fn prepare(client: &Client, plan: &BenchPlan) -> Result<Vec<Document>, ClientError> {
    let own_key = client.identity().encryption_key().map(|key| key.public_key());
    if plan.wrap && own_key.is_none() {
        return Err(ClientError::Setting { setting: "encryption_key" });
    }
    let recipient = own_key.filter(|_| plan.wrap);
    let mut pool = Vec::with_capacity(POOL_SIZE);
    for _ in 0..POOL_SIZE {
        let key = ContentKey::generate()?;
        let ledger_id = *client.genesis().ledger_id.as_bytes();
        let context = EnvelopeContext { ledger_id, record_id: rand::random(), version: 1 };
        let plaintext: Vec<u8> = (0..plan.payload_bytes).map(|_| rand::random()).collect();
        let payload = Bytes::from(seal_payload(&key, &context, &plaintext)?);
        let mut wraps = Vec::new();
        if let Some(recipient) = &recipient {
            let wrap = Bytes::from(wrap_key(&key, recipient, &context)?.encode());
            let reference = pb::KeyWrapRef {
                recipient_key_id: Bytes::copy_from_slice(&recipient.fingerprint()),
                wrap_sha256: Bytes::copy_from_slice(&sha256(&[&wrap])),
            };
            wraps.push((reference, wrap));
        }
        let payload_sha256 = Bytes::copy_from_slice(&sha256(&[&payload]));
        pool.push(Document { payload, payload_sha256, wraps });
    }
    Ok(pool)
}

/// How records go to a node.
#[derive(Clone)]
pub(super) enum Way {
    /// A call for each.
    Calls(LedgerServiceClient<Channel>),
    /// Over the stream of the connection, as the SDK does.
    Lane(SubmitLane),
}

impl Way {
    pub(super) fn new(channel: Channel, unary: bool) -> Self {
        match unary {
            true => Self::Calls(ledger_service(channel)),
            false => Self::Lane(SubmitLane::new(channel)),
        }
    }

    async fn submit(&mut self, request: pb::SubmitRequest) -> Result<Response<pb::SubmitResponse>, Status> {
        match self {
            Self::Calls(service) => {
                let mut request = Request::new(request);
                request.set_timeout(ANSWER_TIMEOUT);
                service.submit(request).await
            }
            Self::Lane(lane) => lane.submit(request, ANSWER_TIMEOUT).await,
        }
    }
}

/// Writes one record after the other.
pub(super) struct Writes {
    client: Client,
    way: Way,
    pool: Arc<[Document]>,
    next: usize,
    per_transaction: usize,
    wait: pb::WaitFor,
    receipts: bool,
}

impl Writes {
    pub(super) fn new(client: &Client, way: Way, pool: &Arc<[Document]>, (next, plan): (usize, &BenchPlan)) -> Self {
        let (client, pool) = (client.clone(), Arc::clone(pool));
        let &BenchPlan { per_transaction, wait, receipts, .. } = plan;
        Self { client, way, pool, next, per_transaction, wait, receipts }
    }

    /// A transaction that took effect, or the reason why one did not.
    pub(super) async fn once(&mut self) -> Result<Result<(), String>, ClientError> {
        let tx = transaction_of(&self.client, &self.pool, self.next, self.per_transaction)?;
        self.next += self.per_transaction;
        let id = transaction::transaction_id(&tx)?;
        let omit_receipt = !self.receipts;
        let request = pb::SubmitRequest { transaction: Some(tx), wait_for: self.wait.into(), omit_receipt };
        Ok(match self.way.submit(request).await {
            Ok(answer) if answer.get_ref().outcome() == pb::Outcome::Applied => match &answer.get_ref().receipt {
                Some(receipt) => self.client.verified_receipt(receipt, id).await.map(drop).map_err(|e| e.to_string()),
                None if omit_receipt => Ok(()),
                None => Err("NO_RECEIPT".to_owned()),
            },
            Ok(answer) => Err(answer.get_ref().outcome().as_str_name().to_owned()),
            Err(status) => Err(reason(&status)),
        })
    }
}

/// Bytes of a transaction as it is submitted.
pub(super) fn submitted_bytes(client: &Client, plan: &BenchPlan) -> Result<usize, ClientError> {
    let pool = prepare(client, plan)?;
    Ok(transaction_of(client, &pool, 0, plan.per_transaction)?.encoded_len())
}

/// New records of one patient with payloads of the pool from `first` on. The envelopes are bound to other
/// records' ids, so nobody could open them; nodes cannot tell.
fn transaction_of(
    client: &Client,
    pool: &[Document],
    first: usize,
    records: usize,
) -> Result<pb::SignedTransaction, ClientError> {
    let patient = some_patient();
    let (mut actions, mut attachments) = (Vec::with_capacity(records), Vec::with_capacity(2 * records));
    for document in pool.iter().cycle().skip(first % pool.len()).take(records) {
        let write = pb::action::Action::WriteRecord(record_of(document, &patient));
        actions.push(pb::Action { action: Some(write) });
        attachments.push(document.payload.clone());
        attachments.extend(document.wraps.iter().map(|(_, wrap)| wrap.clone()));
    }
    let identity = client.identity();
    let body = client.body(&actions);
    Ok(transaction::sign(body, identity.author(), identity.signing_key()?, attachments)?)
}

fn record_of(document: &Document, patient: &[u8; 16]) -> pb::WriteRecord {
    pb::WriteRecord {
        record_id: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
        version: 1,
        patient: Bytes::copy_from_slice(patient),
        kind: "Observation".to_owned(),
        confidentiality: pb::Confidentiality::Normal.into(),
        payload_sha256: document.payload_sha256.clone(),
        // A payload of the pool was made within PAYLOAD_BYTES_MAX or nodes refuse it.
        payload_size: u32::try_from(document.payload.len()).unwrap_or(u32::MAX),
        descriptor_sha256: Bytes::new(),
        wraps: document.wraps.iter().map(|(reference, _)| reference.clone()).collect(),
        policy_tags: Vec::new(),
    }
}
