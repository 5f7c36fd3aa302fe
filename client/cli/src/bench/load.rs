//! The clients and the clock of a load test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::envelope::{ContentKey, EnvelopeContext, seal_payload, wrap_key};
use consilium_proto::hash::sha256;
use consilium_proto::pb;
use consilium_proto::transaction;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use super::process::CpuTime;
use super::stats::{Row, Tally};
use consilium_client::Client;
use consilium_client::ClientError;
use consilium_client::transport::ledger_service;

/// Documents prepared before the timing.
const POOL_SIZE: usize = 64;
/// An answer later than this is an error; it also bounds the end of a run.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Wait of a client after an error.
const ERROR_PAUSE_MS: u64 = 20;

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const OVER: u8 = 2;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct BenchPlan {
    /// Concurrent clients.
    pub(crate) clients: usize,
    /// Connections, spread over the endpoints.
    pub(crate) connections: usize,
    /// Not counted, at the start.
    pub(crate) warm_up: Duration,
    /// Measured.
    pub(crate) measure: Duration,
    /// Bytes of plaintext per record.
    pub(crate) payload_bytes: usize,
    /// Whether each record carries a key wrap for this identity.
    pub(crate) wrap: bool,
    /// What each client waits for.
    pub(crate) wait: pb::WaitFor,
    /// Server processes on this machine whose CPU time is read.
    pub(crate) pids: Vec<u32>,
}

/// A prepared document: ciphertext and wraps, used again and again.
struct Document {
    payload: Bytes,
    payload_sha256: Bytes,
    wraps: Vec<(pb::KeyWrapRef, Bytes)>,
}

/// Runs a plan. `tick` is called about ten times a second with the part that
/// is done, 0 to 1.
pub(crate) async fn run(client: &Client, plan: &BenchPlan, tick: impl Fn(f64)) -> Result<Row, ClientError> {
    let pool: Arc<[Document]> = prepare(client, plan)?.into();
    let channels = connect(client, plan.connections)?;
    let phase = Arc::new(AtomicU8::new(WARM_UP));
    let mut tasks = JoinSet::new();
    for number in 0..plan.clients {
        let service = ledger_service(channels[number % channels.len()].clone());
        let worker =
            Worker { client: client.clone(), pool: Arc::clone(&pool), phase: Arc::clone(&phase), wait: plan.wait };
        tasks.spawn(worker.run(service, number));
    }
    let total = plan.warm_up + plan.measure;
    sleep_ticking(plan.warm_up, |slept| tick(slept.div_duration_f64(total))).await;
    let (before, started) = (cpu_times(plan), Instant::now());
    phase.store(MEASURE, Ordering::Relaxed);
    sleep_ticking(plan.measure, |slept| tick((plan.warm_up + slept).div_duration_f64(total))).await;
    phase.store(OVER, Ordering::Relaxed);
    let (measured, after) = (started.elapsed(), cpu_times(plan));
    let mut tally = Tally::default();
    while let Some(result) = tasks.join_next().await {
        tally.merge(&result.map_err(|e| ClientError::Usage(format!("a client of the load test failed: {e}")))??);
    }
    let mut used = difference(&before, &after);
    let own = used.remove(&std::process::id()).unwrap_or_default();
    used.retain(|pid, _| plan.pids.contains(pid));
    Ok(tally.row(plan.clients, channels.len(), measured, &used, own))
}

fn prepare(client: &Client, plan: &BenchPlan) -> Result<Vec<Document>, ClientError> {
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

fn connect(client: &Client, connections: usize) -> Result<Vec<Channel>, ClientError> {
    let endpoints: Vec<&str> = client.endpoints().collect();
    (0..connections.max(1)).map(|i| client.dial(endpoints[i % endpoints.len()])).collect()
}

struct Worker {
    client: Client,
    pool: Arc<[Document]>,
    phase: Arc<AtomicU8>,
    wait: pb::WaitFor,
}

impl Worker {
    async fn run(self, mut service: LedgerServiceClient<Channel>, number: usize) -> Result<Tally, ClientError> {
        let mut tally = Tally::default();
        let mut next = number;
        loop {
            let started = Instant::now();
            let tx = self.transaction(&self.pool[next % self.pool.len()])?;
            next += 1;
            let mut request = Request::new(pb::SubmitRequest {
                transaction: Some(tx),
                wait_for: self.wait.into(),
                omit_receipt: true,
            });
            request.set_timeout(ANSWER_TIMEOUT);
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, service.submit(request)).await;
            let phase = self.phase.load(Ordering::Relaxed);
            let result = match &answer {
                Ok(Ok(answer)) if answer.get_ref().outcome() == pb::Outcome::Applied => Ok(started.elapsed()),
                Ok(Ok(answer)) => Err(answer.get_ref().outcome().as_str_name().to_owned()),
                Ok(Err(status)) => Err(reason(status)),
                Err(_) => Err("NO_ANSWER".to_owned()),
            };
            if phase == OVER {
                return Ok(tally);
            }
            let failed = result.is_err();
            match result {
                Ok(latency) if phase == MEASURE => tally.success(latency),
                Err(reason) if phase == MEASURE => tally.error(reason),
                Ok(_) | Err(_) => {}
            }
            if failed {
                let pause = ERROR_PAUSE_MS + rand::random::<u64>() % ERROR_PAUSE_MS;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }

    /// A new record with a prepared payload. The envelope is bound to another
    /// record's id, so nobody could open it; nodes cannot tell.
    fn transaction(&self, document: &Document) -> Result<pb::SignedTransaction, ClientError> {
        let write = pb::WriteRecord {
            record_id: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
            version: 1,
            patient: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
            kind: "Observation".to_owned(),
            confidentiality: pb::Confidentiality::Normal.into(),
            payload_sha256: document.payload_sha256.clone(),
            // A payload of the pool was made within PAYLOAD_BYTES_MAX or nodes refuse it.
            payload_size: u32::try_from(document.payload.len()).unwrap_or(u32::MAX),
            tags: Vec::new(),
            wraps: document.wraps.iter().map(|(reference, _)| reference.clone()).collect(),
        };
        let mut attachments = vec![document.payload.clone()];
        attachments.extend(document.wraps.iter().map(|(_, wrap)| wrap.clone()));
        let identity = self.client.identity();
        let body = self.client.body(&[pb::Action { action: Some(pb::action::Action::WriteRecord(write)) }]);
        Ok(transaction::sign(body, identity.author(), identity.signing_key()?, attachments)?)
    }
}

/// The stable reason of an error, or its code.
fn reason(status: &tonic::Status) -> String {
    match status.get_details_error_info() {
        Some(info) if !info.reason.is_empty() => info.reason,
        Some(_) | None => format!("{:?}", status.code()),
    }
}

async fn sleep_ticking(whole: Duration, tick: impl Fn(Duration)) {
    let started = tokio::time::Instant::now();
    while started.elapsed() < whole {
        let step = Duration::from_millis(100).min(whole.saturating_sub(started.elapsed()));
        tokio::time::sleep(step).await;
        tick(started.elapsed().min(whole));
    }
}

fn cpu_times(plan: &BenchPlan) -> BTreeMap<u32, CpuTime> {
    let pids = plan.pids.iter().copied().chain([std::process::id()]);
    pids.filter_map(|pid| Some((pid, CpuTime::of(pid)?))).collect()
}

fn difference(before: &BTreeMap<u32, CpuTime>, after: &BTreeMap<u32, CpuTime>) -> BTreeMap<u32, Duration> {
    let used = |(pid, end): (&u32, &CpuTime)| Some((*pid, end.0.saturating_sub(before.get(pid)?.0)));
    after.iter().filter_map(used).collect()
}
