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

use consilium_consensus::{LogIndex, RaftId};
use consilium_ledger::{BlockInput, Table, Tip, execute, keys};
use consilium_proto::ids::Height;
use consilium_proto::pb::{self, MemberState};
use consilium_proto::signing::SigningKey;
use consilium_proto::vote::Vote;
use prost::Message;

use super::Fault;
use super::applier::CertifiedBlock;
use super::divergence::WrongLedger;
use super::shared::Shared;
use super::sync::ChainCheck;
use crate::identity::invitation::Invitation;
use crate::identity::rules::X509Rules;
use crate::identity::topology::{LiveTopology, Topology};
use crate::identity::trust::LedgerTrust;
use crate::setup::{DataDir, Prepared, write_genesis};
use crate::storage::StorageError;
use crate::storage::guard::Guard;
use crate::storage::ledger_store::LedgerStore;
use crate::storage::raft_log::RaftLog;
use crate::transport::PeerClients;

const ASK_TIMEOUT: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);
/// How often the report of a repair is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// Asks reachable peers for this node's newest vote, and refuses to start if
/// the guard does not remember it.
///
/// # Errors
/// If the disk has forgotten a vote.
pub async fn check_own_votes(clients: &PeerClients, guard: &Guard, key: &SigningKey) -> Result<(), Fault> {
    let asked = clients.peers().into_iter().map(|peer| ask(clients, peer));
    let public = key.verifying_key();
    for vote in futures::future::join_all(asked).await.into_iter().flatten() {
        let own = vote.verifies(&public);
        if own && vote.height > guard.state().voted_height {
            return Err(Fault::Setup(format!(
                "this node has signed a vote for height {}, and its disk does not remember it: the disk was lost or \
                 rolled back. It must not vote again under this raft id; see docs/operations.md, \"A lost disk\"",
                vote.height
            )));
        }
    }
    Ok(())
}

async fn ask(clients: &PeerClients, peer: RaftId) -> Option<Vote> {
    let question = async {
        let mut client = clients.connect(peer).await.ok()?;
        let answer = client.get_certified_head(clients.request(pb::GetCertifiedHeadRequest {})).await.ok()?;
        Vote::try_from(&answer.into_inner().caller_vote?).ok()
    };
    tokio::time::timeout(ASK_TIMEOUT, question).await.ok()?
}

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
    let log = RaftLog::open(&dir.raft())?;
    set_aside(&dir)?;
    let mut rebuild = Rebuild::start(prepared, WrongLedger::open(&dir.diverged_ledger()))?;
    rebuild.run(log.last()).await?;
    let Rebuild { store, tip, wrong, report, .. } = rebuild;
    store.sync()?;
    let position = store.position(tip.header.height)?;
    let position = position.ok_or_else(|| StorageError::corrupt("ledger", "no position"))?;
    let mut hard_state = log.hard_state()?;
    hard_state.term = hard_state.term.max(position.term);
    hard_state.commit = position.index;
    log.reset_to(position, hard_state)?;
    tracing::info!(height = tip.header.height.0, "the ledger is rebuilt");
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
pub async fn watch_report(shared: Arc<Shared>, data_dir: PathBuf) {
    const ALARM: &str = "state_diverged_repaired";
    let path = DataDir(data_dir).diverged();
    let mut stopping = shared.stopping.subscribe();
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = tick.tick() => match read_report(&path) {
                Ok(None) => shared.alarms.clear(ALARM),
                Ok(Some(report)) => {
                    let report = report.trim().replace('\n', "; ");
                    let message = format!("{report}. Find the cause, then remove {}", path.display());
                    shared.alarms.raise(ALARM, message);
                }
                Err(error) => shared.alarms.raise(ALARM, error.to_string()),
            },
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// A ledger on its way from the genesis to everything that the log held.
struct Rebuild {
    store: LedgerStore,
    topology: Arc<LiveTopology>,
    trust: Arc<LedgerTrust>,
    clients: PeerClients,
    tip: Tip,
    wrong: Option<WrongLedger>,
    report: Option<String>,
}

impl Rebuild {
    fn start(prepared: &Prepared, wrong: Option<WrongLedger>) -> Result<Self, Fault> {
        let dir = DataDir(prepared.config.data_dir.clone());
        let store = LedgerStore::open(&dir.ledger(), prepared.config.storage.cache_bytes.get())?;
        let tip = write_genesis(&store, &prepared.genesis)?;
        let acquaintances = acquaintances(prepared, wrong.as_ref());
        let topology = Arc::new(LiveTopology::load(&store, &tip.header, acquaintances.clone())?);
        let trust = Arc::new(LedgerTrust::load(&store, tip.header.height, acquaintances)?);
        let clients = PeerClients::new(
            Arc::clone(&topology),
            Arc::clone(&trust),
            Arc::clone(&prepared.resolver),
            prepared.genesis.ledger_id,
            prepared.me,
        );
        let mut rebuild = Self { store, topology, trust, clients, tip, wrong, report: None };
        rebuild.compare(|wrong, right| wrong == right);
        Ok(rebuild)
    }

    /// Goes on until the ledger holds everything that the log held.
    async fn run(&mut self, needed: LogIndex) -> Result<(), Fault> {
        tracing::warn!(needed = needed.0, "rebuilding the ledger from certified blocks of the peers");
        let mut reached = LogIndex(0);
        while reached < needed {
            let (mut agreed, mut refuted) = (false, None);
            for peer in self.clients.peers() {
                match self.copy(peer).await {
                    Ok(index) => (agreed, reached) = (true, reached.max(index)),
                    Err(CopyError::Peer(problem)) => {
                        tracing::warn!(peer = peer.get(), problem, "rebuilding from this peer failed");
                    }
                    // Not all that goes into a block is in its header: this may
                    // be the peer's fault, unless all peers give the same.
                    Err(CopyError::Fault(Fault::Diverged { height })) => {
                        tracing::warn!(
                            peer = peer.get(),
                            height = height.0,
                            "a block of this peer gives another header"
                        );
                        refuted = Some(height);
                    }
                    Err(CopyError::Fault(fault)) => return Err(fault),
                }
                tracing::info!(height = self.tip.header.height.0, index = reached.0, needed = needed.0, "rebuilding");
                if reached >= needed {
                    break;
                }
            }
            match refuted.filter(|_| !agreed) {
                Some(height) => return Err(Fault::Diverged { height }),
                None if reached < needed => self.wait_for_blocks().await,
                None => {}
            }
        }
        // If it was never passed on the way.
        self.compare(|_, _| true);
        Ok(())
    }

    /// The end of the log may be an entry that is no block; on an idle network
    /// the next block comes only if somebody asks for it.
    async fn wait_for_blocks(&self) {
        let after_ms = self.tip.header.time.0;
        let asked = self.clients.peers().into_iter().map(|peer| async move {
            let mut client = self.clients.connect(peer).await.ok()?;
            client.request_time_block(self.clients.request(pb::RequestTimeBlockRequest { after_ms })).await.ok()
        });
        let _ = tokio::time::timeout(ASK_TIMEOUT, futures::future::join_all(asked)).await;
        tokio::time::sleep(RETRY).await;
    }

    /// Takes what a peer has beyond the tip; the index of the last block taken.
    async fn copy(&mut self, peer: RaftId) -> Result<LogIndex, CopyError> {
        let start = (self.tip.header.height, self.tip.header.hash());
        let validators = self.topology.get().validators().clone();
        let mut check = ChainCheck::new(self.tip.header.ledger_id, validators, start);
        let mut blocks = self.clients.fetch_blocks(peer, start.0.next()).await.map_err(theirs)?;
        let mut reached = LogIndex(0);
        while let Some(block) = blocks.message().await.map_err(theirs)? {
            let Some((certified, certificate)) = check.push(block).map_err(theirs)? else { continue };
            for block in certified {
                reached = block.position.index;
                self.take(block)?;
            }
            check.set_validators(self.topology.get().validators().clone());
            self.store.write_certificate(&certificate).map_err(Fault::Storage)?;
        }
        Ok(reached)
    }

    fn take(&mut self, block: CertifiedBlock) -> Result<(), Fault> {
        let input = BlockInput {
            time: block.header.time,
            proposer: block.header.proposer,
            transactions: &block.transactions,
            observed: &block.observed,
        };
        let executed = execute(&self.store, &X509Rules, &self.tip, &input)?;
        if executed.tip.header != block.header {
            return Err(Fault::Diverged { height: block.header.height });
        }
        self.store.write_block(block.position, &executed, block.membership.as_ref())?;
        let changed = executed.events.changed_nodes() || executed.events.changed_members().next().is_some();
        self.tip = executed.tip;
        if changed {
            self.topology.reload(&self.store, &self.tip.header)?;
            self.trust.reload(&self.store, self.tip.header.height)?;
        }
        self.compare(|wrong, right| wrong == right);
        Ok(())
    }

    /// Compares with the wrong ledger, once, at the right moment. Nothing that
    /// comes of it can keep the ledger from being rebuilt.
    fn compare(&mut self, moment: impl FnOnce(Height, Height) -> bool) {
        let Some(wrong) = &self.wrong else { return };
        let height = self.tip.header.height;
        if self.report.is_none() && moment(wrong.height(), height) {
            let report = wrong.compare(&self.store, height);
            self.report =
                Some(report.map_or_else(|e| format!("the wrong ledger could not be compared: {e}"), |r| r.to_string()));
        }
    }
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
    let topology = Topology::load(store, &header, prepared.invitation.as_ref())?;
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

/// Why the blocks of a peer were not taken.
enum CopyError {
    /// The peer's fault: another one may do better.
    Peer(String),
    /// This node's.
    Fault(Fault),
}

impl From<Fault> for CopyError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn theirs(error: impl std::fmt::Display) -> CopyError {
    CopyError::Peer(error.to_string())
}
