//! Wires a node: opens the disk, starts the threads and the services, and waits
//! for a signal or a fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consilium_consensus::{Config as CoreConfig, ElectionTicks, RaftId};
use consilium_proto::ids::Height;
use consilium_proto::limits;
use consilium_replica::disk::{LogWrite, VoteWrite};
use consilium_replica::{AccessQuota, CachedLedger, Replica, Settings, Start};
use crossbeam_channel::{Receiver, Sender, bounded};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::audit::Audits;
use super::disk::DiskWatch;
use super::fetch::Fetches;
use super::identities::Identities;
use super::perform::Performer;
use super::replica_thread::{self, NodeReplica};
use super::services::{Listeners, Serving};
use super::threads::Threads;
use super::verifier::Verifier;
use super::writers::{run_log_writer, run_vote_writer};
use crate::alarms::Alarms;
use crate::api::{self, Api, Reads, Shared, late};
use crate::clock::Clocks;
use crate::config::Config;
use crate::cuts::MemberCuts;
use crate::fault::Fault;
use crate::handle::{Ends, Handle};
use crate::identity::rules::X509Rules;
use crate::identity::trust::LedgerTrust;
use crate::published::{LiveTopology, Published};
use crate::setup::{Opened, Prepared, open};
use crate::storage::guard::Guard;
use crate::storage::late_journal::LateJournal;
use crate::storage::ledger_port::LedgerPort;
use crate::storage::raft_log::RaftLog;
use crate::transport::callers::Callers;
use crate::transport::peer_service::Peers;
use crate::transport::{Forwarder, Outbox, PeerClients, PeerStreams};

/// Writes that wait for the log's thread; the replica's thread waits beyond it.
const LOG_WRITES_MAX: usize = 4_096;
/// Without a block for this long, catching up from a peer is given up.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two walks over the own ledger, to see whether all attachments are there.
const AUDIT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a leader may leave out an urgent transaction: an honest one has it in a block in a
/// fraction of a second, and while a leader is being changed, or sees nothing of its followers,
/// seconds go by.
const RIGHTS_PATIENCE: Duration = Duration::from_secs(5);

/// How a node ended.
#[derive(Debug)]
pub enum Ended {
    /// As asked.
    Stopped,
    /// Its state is not what is certified: rebuild it and start again.
    Diverged(Height),
}

/// Everything that lives as long as the node.
struct Node {
    prepared: Prepared,
    handle: Handle,
    published: Arc<Published>,
    trust: Arc<LedgerTrust>,
    alarms: Arc<Alarms>,
    cuts: Arc<MemberCuts>,
    clients: PeerClients,
    outbox: Outbox,
    ledger: LedgerPort,
    log: RaftLog,
    stopping: CancellationToken,
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
    let rot = Arc::clone(opened.ledger.0.rot());
    let node = prepare_node(prepared, opened).await;
    let (node, replica, guard, ends) = node.map_err(|fault| Fault::rotten(&rot).unwrap_or(fault))?;
    let (mut threads, mut failed) = Threads::new();
    let verifiers = node.start_threads(&mut threads, replica, guard, ends)?;
    node.start_tasks();
    node.serve(listeners, metrics)?;
    let config = &node.prepared.config;
    tracing::info!(
        ledger = %node.prepared.genesis.ledger_id,
        raft_id = node.prepared.me.0,
        client = %config.listen.client,
        "running"
    );
    let fault = tokio::select! {
        () = stop => None,
        fault = failed.recv() => Some(fault.unwrap_or(Fault::Stopped("node"))),
        () = rot.seen() => None,
    };
    let fault = Fault::rotten(&rot).or(fault);
    if let Some(Fault::Rotten(_)) = fault {
        tracing::error!(fault = fault.as_ref().map(tracing::field::display), "this node stops serving and voting");
        node.published.quarantine();
    }
    if fault.is_none() {
        node.hand_over().await;
    }
    node.stopping.cancel();
    node.handle.halt();
    (0..verifiers).for_each(|_| node.handle.stop_verifier());
    threads.join().await;
    match fault {
        None => {
            node.ledger.0.flush()?;
            Ok(Ended::Stopped)
        }
        Some(Fault::Diverged { height }) => Ok(Ended::Diverged(height)),
        Some(fault) => Err(fault),
    }
}

async fn prepare_node(prepared: Prepared, opened: Opened) -> Result<(Node, NodeReplica, Guard, Ends), Fault> {
    let Opened { log, ledger, guard, recovered } = opened;
    let clocks = Clocks::start();
    let height = recovered.tip.header.height;
    let replica = Replica::new(Start {
        me: prepared.me,
        ledger_id: prepared.genesis.ledger_id,
        key: Arc::clone(&prepared.vote_key),
        introduction: prepared.invitation.as_ref().map(|i| i.introduction()),
        settings: settings(&prepared)?,
        ledger: CachedLedger::new(ledger.clone()),
        log: log.clone(),
        rules: Box::new(X509Rules),
        recovered,
        now: clocks.read(),
    })?;
    let topology = LiveTopology::new(Arc::clone(replica.topology()));
    let certified = replica.newest_certified().cloned();
    let published =
        Arc::new(Published::new(prepared.me, replica.applied(), certified, replica.status(), topology.clone()));
    let trust = Arc::new(LedgerTrust::load(&ledger.0, height, prepared.invitation.clone())?);
    let clients = PeerClients::new(
        topology,
        Arc::clone(&trust),
        Arc::clone(&prepared.resolver),
        prepared.genesis.ledger_id,
        prepared.me,
    );
    let (handle, ends) = Handle::new(clocks);
    let node = Node {
        prepared,
        handle,
        published,
        trust,
        alarms: Arc::default(),
        cuts: Arc::default(),
        clients,
        outbox: Outbox::default(),
        ledger,
        log,
        stopping: CancellationToken::new(),
    };
    Ok((node, replica, guard, ends))
}

fn settings(prepared: &Prepared) -> Result<Settings, Fault> {
    let Config { raft, limits: queues, .. } = &prepared.config;
    let id = RaftId::new(prepared.me.0).ok_or_else(|| Fault::Setup("raft id 0".into()))?;
    let ticks = raft.election_ticks.get();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Settings {
        core: CoreConfig {
            election_ticks: ElectionTicks { min: ticks, max: 2 * ticks },
            heartbeat_ticks: raft.heartbeat_ticks.get(),
            entry_bytes_max: limits::ENTRY_BYTES_MAX,
            message_bytes_max: limits::RAFT_MESSAGE_BYTES_MAX,
            ..CoreConfig::new(id)
        },
        blocks_in_flight: raft.blocks_in_flight.get() as u64,
        log_entries_max: raft.log_entries_max.get(),
        log_entries_kept: raft.log_entries_kept.get(),
        certificate_timeout_ms: millis(raft.certificate_timeout),
        rights_patience_ms: millis(RIGHTS_PATIENCE),
        fetch_timeout_ms: millis(FETCH_TIMEOUT),
        audit_ms: millis(AUDIT),
        queued_transactions_max: queues.queued_transactions_max.get(),
        queued_bytes_max: queues.queued_bytes_max.get(),
        access_quota: AccessQuota {
            per_minute: queues.access_requests_per_minute,
            burst: queues.access_requests_burst,
        },
    })
}

/// Tells of SIGHUP, which asks to look at the certificate files.
fn hangups() -> Arc<Notify> {
    let asked = Arc::<Notify>::default();
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        // Without a handler only the clock asks; `main` keeps the signal from ending the process.
        let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
        while hangups.recv().await.is_some() {
            told.notify_one();
        }
    });
    asked
}

impl Node {
    /// Starts all threads; returns how many of them verify.
    fn start_threads(
        &self,
        threads: &mut Threads,
        replica: NodeReplica,
        guard: Guard,
        ends: Ends,
    ) -> Result<usize, Fault> {
        let ledger_id = self.prepared.genesis.ledger_id;
        let verifier = Arc::new(Verifier::new(Arc::clone(&self.ledger.0), ledger_id, self.handle.clone()));
        let verifiers = self.prepared.config.storage.verify_threads();
        for number in 0..verifiers {
            let (verifier, jobs) = (Arc::clone(&verifier), ends.verifier.clone());
            threads.start(&format!("verifier-{number}"), move || {
                verifier.run(&jobs);
                Ok(())
            })?;
        }
        let (log_writer, log_work): (_, Receiver<LogWrite>) = bounded(LOG_WRITES_MAX);
        let (log, ledger, handle) = (self.log.clone(), self.ledger.clone(), self.handle.clone());
        threads.start("log-writer", move || run_log_writer(&log_work, &log, &ledger, &handle))?;
        // The replica waits for each before it asks for the next.
        let (vote_writer, vote_work): (_, Receiver<VoteWrite>) = bounded(4);
        let (log, ledger, handle) = (self.log.clone(), self.ledger.clone(), self.handle.clone());
        threads.start("vote-writer", move || run_vote_writer(&vote_work, guard, &log, &ledger, &handle))?;
        let identities = Identities {
            trust: Arc::clone(&self.trust),
            topology: self.published.topology().clone(),
            alarms: Arc::clone(&self.alarms),
            asked: hangups(),
            stopping: self.stopping.clone(),
            clients: self.clients.clone(),
            resolver: Arc::clone(&self.prepared.resolver),
            expiry_days: self.prepared.config.alarms.expiry_days.get(),
        };
        threads.start("identities", move || identities.run())?;
        let performer = self.performer(log_writer, vote_writer);
        let (clocks, tick) = (self.handle.clocks(), self.prepared.config.raft.tick);
        threads.start("replica", move || replica_thread::run(replica, performer, &ends.replica, clocks, tick))?;
        Ok(verifiers)
    }

    fn performer(&self, log_writer: Sender<LogWrite>, vote_writer: Sender<VoteWrite>) -> Performer {
        Performer {
            handle: self.handle.clone(),
            member: self.prepared.resolver.current().identity().spiffe_id().member().clone(),
            published: Arc::clone(&self.published),
            ledger: Arc::clone(&self.ledger.0),
            trust: Arc::clone(&self.trust),
            alarms: Arc::clone(&self.alarms),
            cuts: Arc::clone(&self.cuts),
            connections: Arc::clone(self.clients.connections()),
            log_writer,
            vote_writer,
            outbox: self.outbox.clone(),
            forwarder: Forwarder::start(self.clients.clone(), self.handle.clone()),
            fetches: Fetches::new(self.clients.clone(), self.handle.clone()),
            audits: Audits::new(self.ledger.clone(), self.prepared.genesis.ledger_id, self.handle.clone()),
            executed_at: BTreeMap::new(),
        }
    }

    fn start_tasks(&self) {
        let streams = PeerStreams {
            outbox: self.outbox.clone(),
            clients: self.clients.clone(),
            topology: self.published.topology().clone(),
            handle: self.handle.clone(),
            stopping: self.stopping.clone(),
        };
        tokio::spawn(streams.run());
        let member = self.prepared.resolver.current().identity().spiffe_id().member().clone();
        let (alarms, ledger) = (Arc::clone(&self.alarms), Arc::clone(&self.ledger.0));
        tokio::spawn(super::duties::watch_duties(alarms, ledger, member, self.stopping.clone()));
        let data_dir = self.prepared.config.data_dir.clone();
        let disk = DiskWatch {
            alarms: Arc::clone(&self.alarms),
            published: Arc::clone(&self.published),
            data_dir: data_dir.clone(),
            alarm_bytes: self.prepared.config.alarms.disk_free_bytes.get(),
        };
        tokio::spawn(disk.run(self.stopping.clone()));
        tokio::spawn(super::repair::watch_report(Arc::clone(&self.alarms), data_dir, self.stopping.clone()));
    }

    fn serve(&self, listeners: Listeners, metrics: PrometheusHandle) -> Result<(), Fault> {
        let genesis = Arc::new(self.prepared.genesis.clone());
        let api = Api {
            handle: self.handle.clone(),
            published: Arc::clone(&self.published),
            ledger: Arc::clone(&self.ledger.0),
            genesis: Arc::clone(&genesis),
            genesis_bytes: self.prepared.genesis_bytes.clone(),
            peers: self.clients.clone(),
            outbox: self.outbox.clone(),
            alarms: Arc::clone(&self.alarms),
            cuts: Arc::clone(&self.cuts),
            limits: self.prepared.config.limits.clone(),
            reads: Reads::default(),
            admission: api::admission(&self.prepared.config.limits),
            late: LateJournal::new(&self.prepared.config.data_dir),
            shared: Shared::new(&self.prepared.config.limits),
        };
        tokio::spawn(late::enter_all(api.clone(), self.stopping.clone()));
        let peers = Peers {
            handle: self.handle.clone(),
            published: Arc::clone(&self.published),
            ledger: self.ledger.clone(),
            callers: Callers::new(Arc::clone(&self.published), genesis.ledger_id),
            genesis,
        };
        let serving = Serving {
            prepared: &self.prepared,
            published: &self.published,
            trust: &self.trust,
            connections: self.clients.connections(),
            stopping: &self.stopping,
        };
        serving.start(listeners, api, peers, metrics)
    }

    /// Hands leadership over, for at most an election timeout; then it goes without.
    async fn hand_over(&self) {
        tracing::info!("stopping");
        let _ = self.handle.batch(consilium_replica::Input::Stop, 0).await;
        let raft = &self.prepared.config.raft;
        let limit = raft.tick * (2 * raft.election_ticks.get());
        let me = self.prepared.me;
        let mut leader = self.published.watch_leader();
        let _ = tokio::time::timeout(limit, leader.wait_for(|l| *l != Some(me))).await;
    }
}
