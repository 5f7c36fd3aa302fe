//! The clients and the clock of a load test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use consilium_client::Client;
use consilium_client::ClientError;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::pb;
use consilium_usage::Used;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use super::lists;
use super::reads::{Library, Reads};
use super::stats::{Row, Tally};
use super::writes::{Way, Writes, prepare};

/// An answer later than this is an error; it also bounds the end of a run.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Wait of a client after an error.
const ERROR_PAUSE_MS: u64 = 20;

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const OVER: u8 = 2;

/// What to run.
#[derive(Clone)]
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
    /// Records in each transaction.
    pub(crate) per_transaction: usize,
    /// Who sign in turn; nobody: the client itself.
    pub(crate) authors: Vec<Client>,
    /// Whether each record carries a key wrap for this identity.
    pub(crate) wrap: bool,
    /// What each client waits for.
    pub(crate) wait: pb::WaitFor,
    /// Whether each record has a call of its own.
    pub(crate) unary: bool,
    /// Whether receipts are returned and verified.
    pub(crate) receipts: bool,
    /// What is read, where nothing is written.
    pub(crate) library: Option<Arc<Library>>,
    /// Whose records are listed, where neither is done.
    pub(crate) listed: Option<PatientPseudonym>,
    /// Server processes on this machine whose CPU time is read.
    pub(crate) pids: Vec<u32>,
}

/// Runs a plan. `tick` is called about ten times a second with the part that
/// is done, 0 to 1.
pub(crate) async fn run(client: &Client, plan: &BenchPlan, tick: impl Fn(f64)) -> Result<Row, ClientError> {
    let works: Vec<_> = match (&plan.library, plan.listed) {
        (Some(library), _) => (0..plan.clients).map(|number| Work::Read(Reads::new(library, number))).collect(),
        (None, Some(patient)) => (0..plan.clients).map(|_| Work::List(client.clone(), patient)).collect(),
        (None, None) => {
            // Who writes may wrap a key for itself.
            let signers = if plan.authors.is_empty() { std::slice::from_ref(client) } else { &plan.authors };
            let prepared = signers.iter().map(|signer| Ok((signer, prepare(signer, plan)?.into())));
            let prepared = prepared.collect::<Result<Vec<_>, ClientError>>()?;
            let channels = connect(client, plan.connections)?;
            let ways: Vec<_> = channels.into_iter().map(|channel| Way::new(channel, plan.unary)).collect();
            let way = |number: usize| ways[number % ways.len()].clone();
            let writes = |number: usize| {
                let (signer, pool) = &prepared[number % prepared.len()];
                Work::Write(Writes::new(signer, way(number), pool, (number, plan)))
            };
            (0..plan.clients).map(writes).collect()
        }
    };
    let phase = Arc::new(AtomicU8::new(WARM_UP));
    let mut tasks = JoinSet::new();
    for work in works {
        tasks.spawn(work.run(Arc::clone(&phase)));
    }
    let total = plan.warm_up + plan.measure;
    sleep_ticking(plan.warm_up, |slept| tick(slept.div_duration_f64(total))).await;
    let (before, started) = (used_so_far(plan), Instant::now());
    phase.store(MEASURE, Ordering::Relaxed);
    sleep_ticking(plan.measure, |slept| tick((plan.warm_up + slept).div_duration_f64(total))).await;
    phase.store(OVER, Ordering::Relaxed);
    let (measured, after) = (started.elapsed(), used_so_far(plan));
    let mut tally = Tally::default();
    while let Some(result) = tasks.join_next().await {
        tally.merge(&result.map_err(|e| ClientError::Usage(format!("a client of the load test failed: {e}")))??);
    }
    let mut used = difference(&before, &after);
    let own = used.remove(&std::process::id()).unwrap_or_default();
    used.retain(|pid, _| plan.pids.contains(pid));
    let peaks = plan.pids.iter().filter_map(|pid| consilium_usage::peak_memory(*pid));
    Ok(Row { server_peak_bytes: peaks.max(), ..tally.row(plan.clients, plan.connections, measured, &used, own) })
}

fn connect(client: &Client, connections: usize) -> Result<Vec<Channel>, ClientError> {
    let endpoints: Vec<&str> = client.endpoints().collect();
    (0..connections.max(1)).map(|i| client.dial(endpoints[i % endpoints.len()])).collect()
}

/// What a client does again and again.
enum Work {
    Write(Writes),
    Read(Reads),
    List(Client, PatientPseudonym),
}

impl Work {
    async fn once(&mut self) -> Result<Result<(), String>, ClientError> {
        match self {
            Self::Write(writes) => writes.once().await,
            Self::Read(reads) => Ok(reads.once().await),
            Self::List(client, patient) => Ok(lists::once(client, *patient).await),
        }
    }

    async fn run(mut self, phase: Arc<AtomicU8>) -> Result<Tally, ClientError> {
        let mut tally = Tally::default();
        loop {
            let started = Instant::now();
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.once()).await;
            let result = answer.unwrap_or_else(|_| Ok(Err("NO_ANSWER".to_owned())))?;
            let latency = started.elapsed();
            let phase = phase.load(Ordering::Relaxed);
            if phase == OVER {
                return Ok(tally);
            }
            let failed = result.is_err();
            match result {
                Ok(()) if phase == MEASURE => tally.success(latency),
                Err(reason) if phase == MEASURE => tally.error(reason),
                Ok(()) | Err(_) => {}
            }
            if failed {
                let pause = ERROR_PAUSE_MS + rand::random::<u64>() % ERROR_PAUSE_MS;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }
}

/// The stable reason of an error, or its code.
pub(super) fn reason(status: &tonic::Status) -> String {
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

fn used_so_far(plan: &BenchPlan) -> BTreeMap<u32, Used> {
    let pids = plan.pids.iter().copied().chain([std::process::id()]);
    pids.filter_map(|pid| Some((pid, Used::by(pid)?))).collect()
}

fn difference(before: &BTreeMap<u32, Used>, after: &BTreeMap<u32, Used>) -> BTreeMap<u32, Used> {
    after.iter().filter_map(|(pid, end)| Some((*pid, end.since(*before.get(pid)?)))).collect()
}
