//! Coming back from a wrong or forgetful disk.
//!
//! *Divergence*: the ledger is set aside and rebuilt from certified blocks of
//! peers, up to at least everything that the old log held, so that nothing
//! that this node has acknowledged to Raft is forgotten. On the way both
//! ledgers are compared, so that the operator gets to know what was wrong.
//!
//! *Forgotten votes*: peers remember this node's newest vote. A disk that does
//! not remember it has been lost or rolled back, and must not vote again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use consilium_ledger::{Table, keys};
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::pb::{self, MemberState};
use consilium_replica::CachedLedger;
use consilium_replica::catch_up::rebuild::{Rebuild, RebuildInput, RebuildOutput, finish};
use consilium_replica::start;
use consilium_replica::topology::Topology;
use prost::Message;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::divergence::WrongLedger;
use crate::alarms::Alarms;
use crate::clock::Clocks;
use crate::fault::Fault;
use crate::identity::invitation::Invitation;
use crate::identity::rules::X509Rules;
use crate::identity::trust::LedgerTrust;
use crate::published::LiveTopology;
use crate::setup::{DataDir, Prepared, open_ledger, open_log};
use crate::storage::StorageError;
use crate::storage::guard::Guard;
use crate::storage::ledger_port::LedgerPort;
use crate::storage::raft_log::RaftLog;
use crate::transport::PeerClients;

/// How long a request for a time block may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a rebuilding looks at the time.
const TICK: Duration = Duration::from_millis(100);
/// Without a block for this long, another peer is asked.
const PATIENCE_MS: u64 = 10_000;
/// Blocks that wait for being looked at, each of at most
/// [`consilium_proto::limits::PEER_MESSAGE_BYTES_MAX`].
const BLOCKS_MAX: usize = 3;
/// How often the report of a repair is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// Notes that the ledger must be rebuilt; survives a crash.
///
/// # Errors
/// If the disk fails.
pub fn request(prepared: &Prepared) -> Result<(), Fault> {
    let path = DataDir(prepared.config.data_dir.clone()).repair();
    std::fs::write(&path, b"rebuild the ledger from certified blocks\n").map_err(StorageError::file(&path))?;
    Ok(())
}

/// Rebuilds the ledger if that was asked for. The wrong one is kept beside it
/// until both have been compared.
///
/// # Errors
/// If the disk fails, or certified blocks do not give their headers here.
pub async fn run_if_requested(prepared: &Prepared) -> Result<(), Fault> {
    let dir = DataDir(prepared.config.data_dir.clone());
    if !dir.repair().exists() {
        // A crash may have come between the last two steps of the last repair.
        return remove(&dir.diverged_ledger());
    }
    let log = open_log(prepared, Guard::open(&dir.guard())?.state())?;
    set_aside(&dir)?;
    let mut rebuilding = Rebuilding::start(prepared, &log, WrongLedger::open(&dir.diverged_ledger()))?;
    rebuilding.run().await?;
    let Rebuilding { ledger, wrong, report, .. } = rebuilding;
    let position = finish(&ledger, &log)?;
    tracing::info!(index = position.index.0, "the ledger is rebuilt");
    drop(wrong);
    leave_report(&dir, &report.unwrap_or_else(|| "the wrong ledger could not be read".to_owned()))?;
    std::fs::remove_file(dir.repair()).map_err(StorageError::file(dir.repair()))?;
    remove(&dir.diverged_ledger())
}

/// The first attempt keeps the ledger that went astray; what a later one finds
/// in its place is only half rebuilt.
fn set_aside(dir: &DataDir) -> Result<(), Fault> {
    if dir.diverged_ledger().exists() || !dir.ledger().exists() {
        return remove(&dir.ledger());
    }
    Ok(std::fs::rename(dir.ledger(), dir.diverged_ledger()).map_err(StorageError::file(dir.ledger()))?)
}

fn remove(path: &Path) -> Result<(), Fault> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StorageError::file(path)(error).into()),
    }
}

/// Writes the report beside those that nobody has acknowledged yet.
fn leave_report(dir: &DataDir, report: &str) -> Result<(), Fault> {
    tracing::error!(report, "the ledger had gone astray");
    let path = dir.diverged();
    let mut text = read_report(&path)?.unwrap_or_default();
    if !text.contains(report) {
        text.push_str(report);
        text.push('\n');
        std::fs::write(&path, text).map_err(StorageError::file(&path))?;
    }
    Ok(())
}

fn read_report(path: &Path) -> Result<Option<String>, StorageError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::file(path)(error)),
    }
}

/// Keeps an alarm raised while a report of a repair lies beside the data:
/// memory or a disk that went wrong once will do so again.
pub(super) async fn watch_report(alarms: Arc<Alarms>, data_dir: PathBuf, stopping: CancellationToken) {
    const ALARM: &str = "state_diverged_repaired";
    let path = DataDir(data_dir).diverged();
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = tick.tick() => match read_report(&path) {
                Ok(None) => alarms.clear(ALARM),
                Ok(Some(report)) => {
                    let report = report.trim().replace('\n', "; ");
                    alarms.raise(ALARM, format!("{report}. Find the cause, then remove {}", path.display()));
                }
                Err(error) => alarms.raise(ALARM, error.to_string()),
            },
            () = stopping.cancelled() => return,
        }
    }
}

/// A ledger on its way from the genesis to everything that the log held: what it
/// asks of the network is done here, what it makes of it is decided elsewhere.
struct Rebuilding {
    rebuild: Rebuild<CachedLedger<LedgerPort>, RaftLog>,
    ledger: LedgerPort,
    topology: LiveTopology,
    trust: Arc<LedgerTrust>,
    clients: PeerClients,
    wrong: Option<WrongLedger>,
    report: Option<String>,
    fetch: Option<CancellationToken>,
}

impl Rebuilding {
    fn start(prepared: &Prepared, log: &RaftLog, wrong: Option<WrongLedger>) -> Result<Self, Fault> {
        let ledger = LedgerPort(Arc::new(open_ledger(prepared)?));
        start::write_genesis(&ledger, &prepared.genesis)?;
        let acquaintances = acquaintances(prepared, wrong.as_ref());
        let introduction = acquaintances.as_ref().map(Invitation::introduction);
        let who = (prepared.me, prepared.genesis.ledger_id);
        let rules = (CachedLedger::new(ledger.clone()), Box::new(X509Rules) as consilium_replica::Rules);
        let rebuild = Rebuild::new(who, introduction, rules, log.clone(), PATIENCE_MS)?;
        let topology = LiveTopology::new(Arc::clone(rebuild.topology()));
        let trust = Arc::new(LedgerTrust::load(&ledger.0, Height::GENESIS, acquaintances)?);
        let clients = PeerClients::new(
            topology.clone(),
            Arc::clone(&trust),
            Arc::clone(&prepared.resolver),
            prepared.genesis.ledger_id,
            prepared.me,
        );
        let mut this = Self { rebuild, ledger, topology, trust, clients, wrong, report: None, fetch: None };
        this.compare(Height::GENESIS, |wrong, right| wrong == right);
        Ok(this)
    }

    /// Goes on until the ledger holds everything that the log held.
    async fn run(&mut self) -> Result<(), Fault> {
        let (_, _, needed) = self.rebuild.progress();
        tracing::warn!(needed = needed.0, "rebuilding the ledger from certified blocks of the peers");
        let clocks = Clocks::start();
        let (inputs, mut arriving) = mpsc::channel(BLOCKS_MAX);
        let mut tick = tokio::time::interval(TICK);
        let mut next = RebuildInput::Tick;
        loop {
            let outputs = tokio::task::block_in_place(|| self.rebuild.handle(clocks.monotonic_ms(), next))?;
            let mut again = false;
            for output in outputs {
                match output {
                    RebuildOutput::Continue => again = true,
                    RebuildOutput::Done => {
                        // If it was never passed on the way.
                        self.compare(self.rebuild.progress().0, |_, _| true);
                        return Ok(());
                    }
                    other => self.perform(other, &inputs)?,
                }
            }
            next = match again {
                true => RebuildInput::Tick,
                false => tokio::select! {
                    Some(input) = arriving.recv() => input,
                    _ = tick.tick() => RebuildInput::Tick,
                },
            };
        }
    }

    fn perform(&mut self, output: RebuildOutput, inputs: &mpsc::Sender<RebuildInput>) -> Result<(), Fault> {
        match output {
            RebuildOutput::Fetch { call, from, first } => {
                let (height, reached, needed) = self.rebuild.progress();
                tracing::info!(peer = from.0, height = height.0, index = reached.0, needed = needed.0, "rebuilding");
                let (stop, clients, inputs) = (CancellationToken::new(), self.clients.clone(), inputs.clone());
                self.fetch = Some(stop.clone());
                tokio::spawn(async move {
                    let fetched =
                        fetch(&clients, (from, first), |block| RebuildInput::Fetched { call, block }, &inputs);
                    let problem = tokio::select! {
                        result = fetched => result.err(),
                        () = stop.cancelled() => return,
                    };
                    let _ = inputs.send(RebuildInput::FetchEnded { call, problem }).await;
                });
            }
            RebuildOutput::StopFetch(_) => {
                if let Some(stop) = self.fetch.take() {
                    stop.cancel();
                }
            }
            RebuildOutput::RequestTimeBlock { to, after } => {
                let clients = self.clients.clone();
                tokio::spawn(tokio::time::timeout(REQUEST_TIMEOUT, async move {
                    let mut client = clients.connect(to).await.ok()?;
                    let request = clients.request(pb::RequestTimeBlockRequest { after_ms: after.0 });
                    client.request_time_block(request).await.ok()
                }));
            }
            RebuildOutput::Executed { height, events } => {
                if events.changed_members().next().is_some() {
                    self.trust.reload(&self.ledger.0, height)?;
                }
                self.compare(height, |wrong, right| wrong == right);
            }
            RebuildOutput::Topology(topology) => self.topology.set(topology),
            RebuildOutput::PeerFailed { peer, problem } => {
                tracing::warn!(peer = peer.0, problem, "rebuilding from this peer failed");
            }
            RebuildOutput::Continue | RebuildOutput::Done => {}
        }
        Ok(())
    }

    /// Compares with the wrong ledger, once, at the right moment. Nothing that
    /// comes of it can keep the ledger from being rebuilt.
    fn compare(&mut self, height: Height, moment: impl FnOnce(Height, Height) -> bool) {
        let Some(wrong) = &self.wrong else { return };
        if self.report.is_none() && moment(wrong.height(), height) {
            let report = wrong.compare(&self.ledger.0, height);
            self.report =
                Some(report.map_or_else(|e| format!("the wrong ledger could not be compared: {e}"), |r| r.to_string()));
        }
    }
}

async fn fetch(
    clients: &PeerClients,
    (from, first): (NodeId, Height),
    input: impl Fn(Box<pb::FetchBlocksResponse>) -> RebuildInput,
    inputs: &mpsc::Sender<RebuildInput>,
) -> Result<(), String> {
    let words = |status: tonic::Status| status.message().to_owned();
    let mut blocks = clients.fetch_blocks(from, first).await.map_err(words)?;
    while let Some(block) = blocks.message().await.map_err(words)? {
        inputs.send(input(Box::new(block))).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Whom to talk to and under which CAs until the new ledger says so: as the
/// wrong ledger has it, since the genesis may be long out of date. It is
/// believed in nothing else.
fn acquaintances(prepared: &Prepared, wrong: Option<&WrongLedger>) -> Option<Invitation> {
    let known = wrong.and_then(|wrong| {
        let known = known_to(wrong, prepared);
        known.inspect_err(|error| tracing::warn!(%error, "the wrong ledger does not tell its nodes")).ok()
    });
    known.into_iter().chain(prepared.invitation.clone()).max_by_key(|invitation| invitation.height)
}

fn known_to(wrong: &WrongLedger, prepared: &Prepared) -> Result<Invitation, StorageError> {
    let store = wrong.store();
    let header = store.header(wrong.height())?.ok_or_else(|| StorageError::corrupt("block", "absent"))?;
    let introduction = prepared.invitation.as_ref().map(Invitation::introduction);
    let topology = Topology::load(&LedgerPort(Arc::clone(store)), &header, introduction.as_ref());
    let topology = topology.map_err(|e| StorageError::corrupt("ledger", e))?;
    let own = topology.node(prepared.me).ok_or_else(|| StorageError::corrupt("roster", "lacks this node"))?.clone();
    let prefix = keys::members();
    let members = store
        .scan(Table::State, &prefix, &prefix)
        .map(|row| MemberState::decode(row?.1.as_ref()).map_err(|e| StorageError::corrupt("member", e)));
    Ok(Invitation {
        genesis: prepared.genesis_bytes.clone(),
        own,
        nodes: topology.nodes().cloned().collect(),
        members: members.collect::<Result<_, _>>()?,
        height: wrong.height(),
    })
}
