//! Wires a node: opens the disk, starts the threads and the services, and
//! waits for a signal or a fault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use consilium_certs::Role;
use consilium_certs::tls::{ConsiliumClientVerifier, RefusalHook, TrustSource, server_config};
use consilium_consensus::{Config as CoreConfig, Core, ElectionTicks, Initial, RaftId};
use consilium_ledger::unseen_nodes;
use consilium_proto::header::Header;
use consilium_proto::ids::Height;
use consilium_proto::pb;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::CertifiedHeader;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tonic::transport::Server;
use tonic::transport::server::Router;

use super::Fault;
use super::applier::{Applier, ApplierMsg};
use super::blocks::BlockQueue;
use super::certifier::{Certifier, CertifierMsg};
use super::driver::{Driver, DriverMsg, Outputs};
use super::identities::Identities;
use super::reads::ReadIndex;
use super::shared::{Alarms, Applied, Shared, Sightings};
use super::sync::serve_offers;
use super::verifier::{Verifier, VerifyJob};
use super::waiters::Waiters;
use super::writer::{Writer, WriterMsg};
use crate::api::{Api, REQUEST_BYTES_MAX};
use crate::config::Config;
use crate::http;
use crate::identity::topology::{LiveTopology, validator_history};
use crate::identity::trust::LedgerTrust;
use crate::setup::{Opened, Prepared, open};
use crate::storage::ledger_store::LedgerStore;
use crate::transport::accept::{AcceptLimits, Accepted, accept};
use crate::transport::connections::{Connections, POLICY};
use crate::transport::peer_service::Peers;
use crate::transport::{Outbox, PEER_MESSAGE_BYTES_MAX, PeerClients, forward_to_leader, run_outbox};

/// Bounds of the queues between threads.
const DRIVER_QUEUE: usize = 8_192;
const VERIFIER_QUEUE: usize = 16_384;
const CERTIFIER_QUEUE: usize = 65_536;
/// Longest wait for the threads to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How a node ended.
#[derive(Debug)]
pub enum Ended {
    /// As asked.
    Stopped,
    /// Its state is not what is certified: rebuild it and start again.
    Diverged(Height),
}

/// Ends of the queues.
struct Queues {
    driver: (Sender<DriverMsg>, Receiver<DriverMsg>),
    writer: (Sender<WriterMsg>, Receiver<WriterMsg>),
    applier: (Sender<ApplierMsg>, Receiver<ApplierMsg>),
    verifier: (Sender<VerifyJob>, Receiver<VerifyJob>),
    certifier: (Sender<CertifierMsg>, Receiver<CertifierMsg>),
}

/// Runs a node until `stop` resolves or a thread fails.
///
/// # Errors
/// The fault that stopped it.
pub async fn run(
    prepared: Prepared,
    metrics: PrometheusHandle,
    stop: impl Future<Output = ()>,
) -> Result<Ended, Fault> {
    let opened = open(&prepared)?;
    let listeners = Listeners::bind(&prepared.config).await?;
    let shared = Arc::new(publish(&prepared, &opened)?);
    let clients = PeerClients::new(
        Arc::clone(&shared.topology),
        Arc::clone(&shared.trust),
        Arc::clone(&prepared.resolver),
        prepared.genesis.ledger_id,
        prepared.me,
    );
    super::repair::check_own_votes(&clients, &opened.guard, &prepared.vote_key).await?;
    let queues = Queues {
        driver: bounded(DRIVER_QUEUE),
        writer: unbounded(),
        applier: unbounded(),
        verifier: bounded(VERIFIER_QUEUE),
        certifier: bounded(CERTIFIER_QUEUE),
    };
    let outbox = Outbox::default();
    let (faults, mut failed) = mpsc::unbounded_channel();
    let (forward, to_forward) = mpsc::unbounded_channel();
    let (snapshots, offers) = mpsc::unbounded_channel();
    run_outbox(&shared, &clients, &queues.driver.0, &outbox);
    tokio::spawn(forward_to_leader(Arc::clone(&shared), clients.clone(), queues.driver.0.clone(), to_forward));
    tokio::spawn(serve_offers(
        Arc::clone(&shared),
        clients.clone(),
        queues.applier.0.clone(),
        queues.certifier.0.clone(),
        queues.driver.0.clone(),
        offers,
    ));
    let config = prepared.config.clone();
    let resolver = Arc::clone(&prepared.resolver);
    let outputs = Outputs {
        writer: queues.writer.0.clone(),
        applier: queues.applier.0.clone(),
        verifier: queues.verifier.0.clone(),
        outbox: outbox.clone(),
        forward,
        snapshots,
    };
    serve(&prepared, &shared, &queues, &clients, listeners, metrics)?;
    let threads = start_threads(prepared, opened, &shared, &queues, outputs, outbox, &faults)?;
    let expiry_days = config.alarms.expiry_days.get();
    tokio::spawn(super::repair::watch_report(Arc::clone(&shared), config.data_dir.clone()));
    tokio::spawn(Identities { shared: Arc::clone(&shared), clients, resolver, expiry_days }.run());
    tracing::info!(ledger = %shared.genesis.ledger_id, raft_id = shared.me.0, client = %config.listen.client, "running");
    drop(faults);
    tokio::select! {
        () = stop => {
            tracing::info!("stopping");
            let _ = queues.driver.0.send(DriverMsg::Stop);
            // Handing over may take an election timeout; then it goes without.
            let limit = config.raft.tick * (2 * config.raft.election_ticks.get());
            let mut leader = shared.leader.subscribe();
            let _ = tokio::time::timeout(limit, leader.wait_for(|l| *l != Some(shared.me))).await;
            shared.stopping.send_replace(true);
            threads.stop(&queues).await;
            shared.ledger.sync()?;
            Ok(Ended::Stopped)
        }
        fault = failed.recv() => {
            shared.stopping.send_replace(true);
            threads.stop(&queues).await;
            match fault {
                Some(Fault::Diverged { height }) => Ok(Ended::Diverged(height)),
                Some(fault) => Err(fault),
                None => Err(Fault::Stopped("node")),
            }
        }
    }
}

fn publish(prepared: &Prepared, opened: &Opened) -> Result<Shared, Fault> {
    let (index, tip) = &opened.tip;
    let header = &tip.header;
    let applied = Applied { index: *index, height: header.height, time: header.time, header_hash: header.hash() };
    let certified = newest_certified(&opened.store, header.height)?;
    let (store, invitation) = (&opened.store, &prepared.invitation);
    let topology = Arc::new(LiveTopology::load(store, header, invitation.clone())?);
    if topology.get().peer(prepared.me).is_none() {
        return Err(Fault::Setup(format!(
            "raft id {} is retired: this node was replaced or taken out; see docs/membership.md",
            prepared.me
        )));
    }
    Ok(Shared {
        ledger: Arc::clone(&opened.store),
        genesis: prepared.genesis.clone(),
        genesis_bytes: prepared.genesis_bytes.clone(),
        topology,
        me: prepared.me,
        trust: Arc::new(LedgerTrust::load(store, header.height, invitation.clone())?),
        applied: watch::Sender::new(applied),
        certified: watch::Sender::new(certified.map(Arc::new)),
        leader: watch::Sender::new(None),
        raft: ArcSwapOption::empty(),
        waiters: Waiters::default(),
        queued: AtomicUsize::new(0),
        votes: Default::default(),
        sightings: Mutex::new(Sightings {
            unseen: unseen_nodes(&**store).map_err(consilium_ledger::ExecutionError::from)?,
            ..Sightings::default()
        }),
        reconciliation: Default::default(),
        cuts: Default::default(),
        connected: Default::default(),
        quarantined: AtomicBool::new(false),
        alarms: Alarms::default(),
        stopping: watch::Sender::new(false),
    })
}

fn newest_certified(store: &LedgerStore, applied: Height) -> Result<Option<CertifiedHeader>, Fault> {
    let Some(certificate) = store.certificate_up_to(applied)? else { return Ok(None) };
    let header = store.header(certificate.height)?;
    let header = header.ok_or_else(|| crate::storage::StorageError::corrupt("block", "absent"))?;
    Ok(Some(CertifiedHeader { header, certificate }))
}

/// Headers that are executed and not certified, to be voted on or repeated: the
/// newest, and every one that ends an epoch, with the set that follows it.
fn uncertified(
    store: &LedgerStore,
    certified: &Header,
    applied: Height,
) -> Result<Vec<(Header, Option<ValidatorSet>)>, Fault> {
    let mut next_sets: BTreeMap<Height, ValidatorSet> = BTreeMap::new();
    for (first, set) in validator_history(store, certified.epoch)? {
        next_sets.insert(Height(first.0.saturating_sub(1)), set);
    }
    let newest = certified.height.0.max(applied.0.saturating_sub(1_024)) + 1..=applied.0;
    let boundaries = next_sets.keys().map(|h| h.0).filter(|h| *h > certified.height.0 && h < newest.start());
    let mut headers = Vec::new();
    for height in boundaries.chain(newest.clone()) {
        let height = Height(height);
        let header = store.header(height)?;
        headers.extend(header.map(|header| (header, next_sets.get(&height).cloned())));
    }
    Ok(headers)
}

fn certified_header(store: &LedgerStore, shared: &Shared) -> Result<Header, Fault> {
    match shared.certified.borrow().as_ref() {
        Some(certified) => Ok(certified.header.clone()),
        None => {
            let genesis = store.header(Height::GENESIS)?;
            Ok(genesis.ok_or_else(|| crate::storage::StorageError::corrupt("block", "no genesis"))?)
        }
    }
}

fn start_threads(
    prepared: Prepared,
    opened: Opened,
    shared: &Arc<Shared>,
    queues: &Queues,
    outputs: Outputs,
    outbox: Outbox,
    faults: &mpsc::UnboundedSender<Fault>,
) -> Result<Threads, Fault> {
    let Opened { log, store, guard, tip, hard_state, membership } = opened;
    let config = prepared.config;
    let core = start_core(&config, prepared.me.0, Initial { hard_state, membership, applied: tip.0 }, log.clone())?;
    let blocks = Arc::new(BlockQueue::default());
    let verifier = Arc::new(Verifier::new(Arc::clone(shared), Arc::clone(&blocks), queues.driver.0.clone()));
    let headers = uncertified(&store, &certified_header(&store, shared)?, tip.1.header.height)?;
    let certifier = Certifier::new(Arc::clone(shared), outbox.clone(), log.clone(), guard, prepared.vote_key, headers)?;
    let applier = Applier::new(
        Arc::clone(shared),
        Arc::clone(&blocks),
        Arc::clone(&verifier),
        queues.driver.0.clone(),
        queues.certifier.0.clone(),
        tip,
    );
    let writer = Writer { log, ledger: store, outbox, driver: queues.driver.0.clone() };
    let driver = Driver::new(core, Arc::clone(shared), blocks, outputs, config.clone());

    let verifiers = config.storage.verify_threads();
    let mut handles = Vec::new();
    for number in 0..verifiers {
        let (verifier, jobs) = (Arc::clone(&verifier), queues.verifier.1.clone());
        handles.push(thread(&format!("verifier-{number}"), faults, move || {
            verifier.run(&jobs);
            Ok(())
        })?);
    }
    let work = queues.certifier.1.clone();
    handles.push(thread("certifier", faults, move || certifier.run(&work))?);
    let work = queues.applier.1.clone();
    handles.push(thread("applier", faults, move || applier.run(&work))?);
    let work = queues.writer.1.clone();
    handles.push(thread("writer", faults, move || Ok(writer.run(&work)?))?);
    let inputs = queues.driver.1.clone();
    handles.push(thread("driver", faults, move || driver.run(&inputs))?);
    Ok(Threads { handles, verifiers })
}

/// The running threads.
struct Threads {
    handles: Vec<std::thread::JoinHandle<()>>,
    verifiers: usize,
}

impl Threads {
    /// Ends and joins them: the databases must not be in use when the process
    /// tears down their library.
    async fn stop(self, queues: &Queues) {
        let _ = queues.driver.0.send(DriverMsg::Halt);
        let _ = queues.applier.0.send(ApplierMsg::Stop);
        let _ = queues.writer.0.send(WriterMsg::Stop);
        let _ = queues.certifier.0.send(CertifierMsg::Stop);
        (0..self.verifiers).for_each(|_| drop(queues.verifier.0.try_send(VerifyJob::Stop)));
        let joined = tokio::task::spawn_blocking(move || self.handles.into_iter().for_each(|h| drop(h.join())));
        if tokio::time::timeout(STOP_LIMIT, joined).await.is_err() {
            tracing::warn!("a thread does not end");
        }
    }
}

fn start_core(
    config: &Config,
    me: u64,
    initial: Initial,
    log: crate::storage::raft_log::RaftLog,
) -> Result<Core<crate::storage::raft_log::RaftLog>, Fault> {
    let id = RaftId::new(me).ok_or_else(|| Fault::Setup("raft id 0".into()))?;
    let ticks = config.raft.election_ticks.get();
    let core = CoreConfig {
        election_ticks: ElectionTicks { min: ticks, max: 2 * ticks },
        heartbeat_ticks: config.raft.heartbeat_ticks.get(),
        entry_bytes_max: 17 * 1024 * 1024,
        message_bytes_max: 20 * 1024 * 1024,
        ..CoreConfig::new(id)
    };
    Ok(Core::new(core, initial, log)?)
}

fn thread(
    name: &str,
    faults: &mpsc::UnboundedSender<Fault>,
    work: impl FnOnce() -> Result<(), Fault> + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, Fault> {
    let (faults, label) = (faults.clone(), name.to_owned());
    let run = move || {
        if let Err(fault) = work() {
            tracing::error!(thread = label, error = %fault, "a thread failed");
            let _ = faults.send(fault);
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|e| Fault::Setup(format!("thread {name}: {e}")))
}

struct Listeners {
    client: TcpListener,
    peer: TcpListener,
    http: Option<TcpListener>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, Fault> {
        let bind = |key: &'static str, address| async move {
            let failed = |e| Fault::Setup(format!("configuration key `listen.{key}`: cannot listen on {address}: {e}"));
            TcpListener::bind(address).await.map_err(failed)
        };
        let http = match config.listen.http {
            Some(address) => Some(bind("http", address).await?),
            None => None,
        };
        Ok(Self {
            client: bind("client", config.listen.client).await?,
            peer: bind("peer", config.listen.peer).await?,
            http,
        })
    }
}

/// Starts the services.
fn serve(
    prepared: &Prepared,
    shared: &Arc<Shared>,
    queues: &Queues,
    clients: &PeerClients,
    listeners: Listeners,
    metrics: PrometheusHandle,
) -> Result<(), Fault> {
    let limits = &prepared.config.limits;
    let registry = Arc::clone(clients.connections());
    let api = Api {
        shared: Arc::clone(shared),
        driver: queues.driver.0.clone(),
        verifier: queues.verifier.0.clone(),
        reads: ReadIndex::start(Arc::clone(shared), queues.driver.0.clone()),
        peers: clients.clone(),
        limits: limits.clone(),
    };
    let peers = Peers {
        shared: Arc::clone(shared),
        driver: queues.driver.0.clone(),
        verifier: queues.verifier.0.clone(),
        certifier: queues.certifier.0.clone(),
        queued_max: limits.queued_transactions_max.get(),
    };
    let accept_limits = AcceptLimits {
        connections_max: limits.connections_max.get(),
        per_identity_max: limits.connections_per_identity_max.get(),
        handshake_timeout: limits.handshake_timeout,
    };
    let client_tls = acceptor(prepared, shared, Role::ALL.to_vec())?;
    let peer_tls = acceptor(prepared, shared, vec![Role::Node])?;
    let router = client_router(api, limits.requests_per_connection_max.get())?;
    listen(router, listeners.client, client_tls, accept_limits, &registry, shared);
    let peer_limit = PEER_MESSAGE_BYTES_MAX;
    let service = consilium_grpc::peer_service_server::PeerServiceServer::new(peers)
        .max_decoding_message_size(peer_limit)
        .max_encoding_message_size(peer_limit);
    let router = server(1_024).add_service(service);
    listen(router, listeners.peer, peer_tls, accept_limits, &registry, shared);
    if let Some(listener) = listeners.http {
        tokio::spawn(http::serve(listener, Arc::clone(shared), metrics));
    }
    Ok(())
}

fn server(concurrency: usize) -> Server {
    Server::builder()
        .concurrency_limit_per_connection(concurrency)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_max_header_list_size(16 * 1024)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .max_concurrent_streams(Some(1_024))
}

fn client_router(api: Api, concurrency: usize) -> Result<Router, Fault> {
    let (health, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(Arc::clone(&api.shared), health));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("consilium.v1.LedgerService")
        .with_service_name("consilium.v1.RecordsService")
        .with_service_name("consilium.v1.IdentityService")
        .with_service_name("consilium.v1.OperatorService")
        .with_service_name("consilium.v1.ValidatorsService")
        .with_service_name("consilium.v1.GovernanceService")
        .with_service_name("grpc.health.v1.Health")
        .build_v1()
        .map_err(|e| Fault::Setup(format!("reflection: {e}")))?;
    let limit = REQUEST_BYTES_MAX;
    let small = 64 * 1024;
    Ok(server(concurrency)
        .add_service(
            consilium_grpc::ledger_service_server::LedgerServiceServer::new(api.clone())
                .max_decoding_message_size(limit),
        )
        .add_service(
            consilium_grpc::records_service_server::RecordsServiceServer::new(api.clone())
                .max_decoding_message_size(small),
        )
        .add_service(
            consilium_grpc::identity_service_server::IdentityServiceServer::new(api.clone())
                .max_decoding_message_size(limit),
        )
        .add_service(
            consilium_grpc::validators_service_server::ValidatorsServiceServer::new(api.clone())
                .max_decoding_message_size(small),
        )
        .add_service(
            consilium_grpc::governance_service_server::GovernanceServiceServer::new(api.clone())
                .max_decoding_message_size(limit),
        )
        .add_service(
            consilium_grpc::operator_service_server::OperatorServiceServer::new(api).max_decoding_message_size(small),
        )
        .add_service(health_service)
        .add_service(reflection))
}

/// Serving as long as a leader is known and the node has not put itself aside.
async fn report_health(shared: Arc<Shared>, health: tonic_health::server::HealthReporter) {
    let mut leader = shared.leader.subscribe();
    loop {
        let serving = leader.borrow_and_update().is_some() && !shared.is_quarantined();
        let status = match serving {
            true => tonic_health::ServingStatus::Serving,
            false => tonic_health::ServingStatus::NotServing,
        };
        for service in ["", "consilium.v1.LedgerService", "consilium.v1.RecordsService"] {
            health.set_service_status(service, status).await;
        }
        if leader.changed().await.is_err() {
            return;
        }
    }
}

fn acceptor(prepared: &Prepared, shared: &Arc<Shared>, roles: Vec<Role>) -> Result<TlsAcceptor, Fault> {
    let trust: Arc<dyn TrustSource> = Arc::<LedgerTrust>::clone(&shared.trust);
    let hook: RefusalHook = Arc::new(|refusal| {
        tracing::warn!(reason = %refusal, "certificate refused");
    });
    let verifier = ConsiliumClientVerifier::new(trust, roles).with_revocation_policy(POLICY).on_refusal(hook);
    let resolver = Arc::clone(&prepared.resolver);
    let config = server_config(Arc::new(verifier), resolver).map_err(|e| Fault::Setup(format!("TLS: {e}")))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn listen(
    router: Router,
    listener: TcpListener,
    tls: TlsAcceptor,
    limits: AcceptLimits,
    registry: &Arc<Connections>,
    shared: &Arc<Shared>,
) {
    let (sender, receiver) = mpsc::channel::<std::io::Result<Accepted>>(64);
    tokio::spawn(accept(listener, tls, limits, Arc::clone(registry), sender));
    let mut stopping = shared.stopping.subscribe();
    tokio::spawn(async move {
        let incoming = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let stop = async move { drop(stopping.wait_for(|stop| *stop).await) };
        if let Err(error) = router.serve_with_incoming_shutdown(incoming, stop).await {
            tracing::error!(%error, "a listener ended");
        }
    });
}
