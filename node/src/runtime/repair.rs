//! Coming back from a wrong or forgetful disk.
//!
//! *Divergence*: the ledger is dropped and rebuilt from certified blocks of
//! peers, up to at least everything that the old log held, so that nothing
//! that this node has acknowledged to Raft is forgotten.
//!
//! *Forgotten votes*: peers remember this node's newest vote. A disk that does
//! not remember it has been lost or rolled back, and must not vote again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use consilium_consensus::{LogIndex, RaftId};
use consilium_ledger::{BlockInput, Tip, execute};
use consilium_proto::pb;
use consilium_proto::signing::SigningKey;
use consilium_proto::vote::Vote;

use super::Fault;
use super::applier::CertifiedBlock;
use super::sync::ChainCheck;
use crate::identity::rules::X509Rules;
use crate::identity::trust::LedgerTrust;
use crate::setup::{DataDir, Prepared, write_genesis};
use crate::storage::StorageError;
use crate::storage::guard::Guard;
use crate::storage::ledger_store::LedgerStore;
use crate::storage::raft_log::RaftLog;
use crate::transport::PeerClients;

const ASK_TIMEOUT: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);

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

/// Rebuilds the ledger if that was asked for.
///
/// # Errors
/// If the disk fails, or a certified block does not give its header here.
pub async fn run_if_requested(prepared: &Prepared) -> Result<(), Fault> {
    let dir = DataDir(prepared.config.data_dir.clone());
    if !dir.repair().exists() {
        return Ok(());
    }
    let log = RaftLog::open(&dir.raft())?;
    let needed = log.last();
    tracing::warn!(needed = needed.0, "rebuilding the ledger from certified blocks of the peers");
    remove(&dir.ledger())?;
    let store = LedgerStore::open(&dir.ledger(), prepared.config.storage.cache_bytes.get())?;
    let mut tip = write_genesis(&store, &prepared.genesis)?;
    let clients = PeerClients::new(
        prepared.topology.clone(),
        Arc::new(LedgerTrust::load(&store)?),
        Arc::clone(&prepared.resolver),
        prepared.genesis.ledger_id,
        prepared.me,
    );
    let mut reached = LogIndex(0);
    while reached < needed {
        for peer in clients.peers() {
            match copy(prepared, &store, &clients, peer, &mut tip).await {
                Ok(index) => reached = reached.max(index),
                Err(Fault::Setup(problem)) => {
                    tracing::warn!(peer = peer.get(), problem, "rebuilding from this peer failed")
                }
                Err(fault) => return Err(fault),
            }
            tracing::info!(height = tip.header.height.0, index = reached.0, needed = needed.0, "rebuilding");
            if reached >= needed {
                break;
            }
        }
        if reached < needed {
            tokio::time::sleep(RETRY).await;
        }
    }
    store.sync()?;
    let position = store.position(tip.header.height)?;
    let position = position.ok_or_else(|| StorageError::corrupt("ledger", "no position"))?;
    let mut hard_state = log.hard_state()?;
    hard_state.term = hard_state.term.max(position.term);
    hard_state.commit = position.index;
    log.reset_to(position, hard_state)?;
    std::fs::remove_file(dir.repair()).map_err(StorageError::file(dir.repair()))?;
    tracing::info!(height = tip.header.height.0, "the ledger is rebuilt");
    Ok(())
}

fn remove(path: &Path) -> Result<(), Fault> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StorageError::file(path)(error).into()),
    }
}

/// Takes what a peer has beyond the tip. `Fault::Setup` for what is the peer's fault.
async fn copy(
    prepared: &Prepared,
    store: &LedgerStore,
    clients: &PeerClients,
    peer: RaftId,
    tip: &mut Tip,
) -> Result<LogIndex, Fault> {
    let theirs = |e: &dyn std::fmt::Display| Fault::Setup(e.to_string());
    let start = (tip.header.height, tip.header.hash());
    let mut check = ChainCheck::new(prepared.genesis.ledger_id, prepared.topology.validators().clone(), start);
    let mut blocks = clients.fetch_blocks(peer, tip.header.height.next()).await.map_err(|e| theirs(&e))?;
    let mut reached = LogIndex(0);
    while let Some(block) = blocks.message().await.map_err(|e| theirs(&e))? {
        let Some((certified, certificate)) = check.push(block).map_err(|e| theirs(&e))? else { continue };
        for block in certified {
            reached = block.position.index;
            take(store, tip, block)?;
        }
        store.write_certificate(&certificate)?;
    }
    Ok(reached)
}

fn take(store: &LedgerStore, tip: &mut Tip, block: CertifiedBlock) -> Result<(), Fault> {
    let input = BlockInput {
        time: block.header.time,
        proposer: block.header.proposer,
        transactions: &block.transactions,
        observed_certificate: block.observed_certificate,
    };
    let executed = execute(store, &X509Rules, tip, &input)?;
    if executed.tip.header != block.header {
        return Err(Fault::Diverged { height: block.header.height });
    }
    store.write_block(block.position, &executed)?;
    *tip = executed.tip;
    Ok(())
}
