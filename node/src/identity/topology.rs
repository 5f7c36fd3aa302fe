//! The nodes of the ledger, who certifies, and the parameters in force: read
//! from the newest executed state, replaced as a whole after every block that
//! changes them. A node that is just joining has no such state yet and goes by
//! its invitation until it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use consilium_consensus::RaftId;
use consilium_ledger::{Table, keys};
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, Height, NodeId, TimeMs};
use consilium_proto::parameters::Parameters;
use consilium_proto::pb::{
    EpochState, JailReason, MemberState, MemberStatus, NodeState, RosterState, ValidatorStandingState,
};
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use consilium_proto::validators::ValidatorSet;
use tokio::sync::watch;

use super::invitation::Invitation;
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

/// Epochs for which a node that was seated and has left may still call.
const DEPARTED_EPOCHS: u64 = 4;

/// One node.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Raft id.
    pub id: NodeId,
    /// Its member.
    pub member: String,
    /// Whether the member has its rights.
    pub member_active: bool,
    /// spiffe://<member>/node/<name>.
    pub spiffe_id: String,
    /// host:port for peers.
    pub peer_address: String,
    /// host:port for clients.
    pub client_address: String,
    /// Verifies its votes.
    pub vote_key: VerifyingKey,
    /// Why it is jailed, if it is.
    pub jailed: JailReason,
}

/// The election period of the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its number.
    pub epoch: Epoch,
    /// Its first height.
    pub first_height: Height,
    /// Block time of its start.
    pub start: TimeMs,
}

/// All nodes, the set that certifies the next block, and the parameters.
#[derive(Debug, Clone)]
pub struct Topology {
    nodes: BTreeMap<NodeId, NodeInfo>,
    departing: BTreeMap<NodeId, NodeInfo>,
    validators: ValidatorSet,
    epoch: EpochInfo,
    parameters: Parameters,
}

impl Topology {
    /// Reads it from the state after `tip`.
    ///
    /// # Errors
    /// If the disk fails or a row is damaged.
    pub fn load(store: &LedgerStore, tip: &Header, invitation: Option<&Invitation>) -> Result<Self, StorageError> {
        let roster: RosterState = required(store, &keys::roster(), "roster")?;
        let mut nodes = BTreeMap::new();
        for id in roster.nodes {
            let node: NodeState = required(store, &keys::node(NodeId(id)), "node")?;
            let member: MemberState = required(store, &keys::member(&node.member), "member")?;
            let mut info = NodeInfo::new(&node, member.status == MemberStatus::Active as i32)?;
            let standing: Option<ValidatorStandingState> = store.message(Table::State, &keys::standing(info.id))?;
            info.jailed = standing.map_or(JailReason::Unspecified, |s| s.jailed());
            nodes.insert(info.id, info);
        }
        if let Some(invitation) = invitation.filter(|i| i.height > tip.height) {
            nodes.extend(invitation.nodes.iter().map(|node| (node.id, node.clone())));
        }
        let (epoch, validators) = current_epoch(store, tip)?;
        let departing = departing(store, epoch.epoch, &nodes)?;
        let parameters: consilium_proto::pb::Parameters = required(store, &keys::parameters(), "parameters")?;
        let parameters = Parameters::try_from(&parameters).map_err(|e| StorageError::corrupt("parameters", e))?;
        Ok(Self { nodes, departing, validators, epoch, parameters })
    }

    /// All nodes, ascending by raft id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values()
    }

    /// A node by raft id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(&id)
    }

    /// A node that takes part, or one that has left and may still be needed:
    /// its seat certifies up to the end of its epoch, and Raft counts its vote
    /// until that is certified.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<&NodeInfo> {
        self.node(id).or_else(|| self.departing.get(&id))
    }

    /// Whether one of these bears a name.
    #[must_use]
    pub fn has_peer_named(&self, spiffe_id: &str) -> bool {
        self.nodes.values().chain(self.departing.values()).any(|node| node.spiffe_id == spiffe_id)
    }

    /// Raft ids of all of these, ascending.
    #[must_use]
    pub fn peer_ids(&self) -> BTreeSet<RaftId> {
        self.nodes.keys().chain(self.departing.keys()).filter_map(|id| RaftId::new(id.0)).collect()
    }

    /// The set that certifies the next block.
    #[must_use]
    pub fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// The period of the next block.
    #[must_use]
    pub fn epoch(&self) -> EpochInfo {
        self.epoch
    }

    /// Block time after which the epoch ends.
    #[must_use]
    pub fn epoch_ends(&self) -> TimeMs {
        TimeMs(self.epoch.start.0.saturating_add(self.parameters.epoch_ms))
    }

    /// The parameters in force.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Raft ids, ascending.
    #[must_use]
    pub fn raft_ids(&self) -> Vec<RaftId> {
        self.nodes.keys().filter_map(|id| RaftId::new(id.0)).collect()
    }

    /// Raft ids of the validators of the next block, ascending.
    #[must_use]
    pub fn elected(&self) -> Vec<RaftId> {
        self.validators.seats().iter().filter_map(|seat| RaftId::new(seat.id.0)).collect()
    }

    /// Vote keys of all nodes.
    #[must_use]
    pub fn vote_keys(&self) -> BTreeMap<NodeId, VerifyingKey> {
        self.nodes.values().map(|node| (node.id, node.vote_key.clone())).collect()
    }
}

impl NodeInfo {
    /// From a node's row.
    ///
    /// # Errors
    /// If its vote key is none.
    pub fn new(node: &NodeState, member_active: bool) -> Result<Self, StorageError> {
        let vote_key = <[u8; 65]>::try_from(node.vote_key.as_ref())
            .ok()
            .and_then(|point| VerifyingKey::from_raw(SignatureAlgorithm::Es256, &point).ok())
            .ok_or_else(|| StorageError::corrupt("node", "vote key"))?;
        Ok(Self {
            id: NodeId(node.raft_id),
            spiffe_id: format!("spiffe://{}/node/{}", node.member, node.name),
            member: node.member.clone(),
            member_active,
            peer_address: node.peer_address.clone(),
            client_address: node.client_address.clone(),
            vote_key,
            jailed: JailReason::Unspecified,
        })
    }
}

fn required<M: prost::Message + Default>(
    store: &LedgerStore,
    key: &[u8],
    what: &'static str,
) -> Result<M, StorageError> {
    store.message(Table::State, key)?.ok_or_else(|| StorageError::corrupt(what, "absent"))
}

/// The epoch of the block after `tip`, which is the next one if `tip` ended one.
fn current_epoch(store: &LedgerStore, tip: &Header) -> Result<(EpochInfo, ValidatorSet), StorageError> {
    let next: Option<EpochState> = store.message(Table::State, &keys::epoch(Epoch(tip.epoch.0 + 1)))?;
    let row = match next {
        Some(row) => row,
        None => required(store, &keys::epoch(tip.epoch), "epoch")?,
    };
    Ok((EpochInfo::of(&row), validators_of(&row)?))
}

impl EpochInfo {
    fn of(row: &EpochState) -> Self {
        Self { epoch: Epoch(row.epoch), first_height: Height(row.first_height), start: TimeMs(row.start_ms) }
    }
}

fn validators_of(row: &EpochState) -> Result<ValidatorSet, StorageError> {
    let set = row.validators.as_ref().ok_or_else(|| StorageError::corrupt("epoch", "no validators"))?;
    ValidatorSet::try_from(set).map_err(|e| StorageError::corrupt("epoch", e))
}

/// Nodes with a seat in one of the last epochs that are retired since. Their
/// member may be cut off; that is for the handshake to judge.
fn departing(
    store: &LedgerStore,
    current: Epoch,
    nodes: &BTreeMap<NodeId, NodeInfo>,
) -> Result<BTreeMap<NodeId, NodeInfo>, StorageError> {
    let mut departing = BTreeMap::new();
    for epoch in current.0.saturating_sub(DEPARTED_EPOCHS)..current.0 {
        let row: EpochState = required(store, &keys::epoch(Epoch(epoch)), "epoch")?;
        let seats = row.validators.iter().flat_map(|set| &set.seats).map(|seat| NodeId(seat.validator));
        for id in seats.filter(|id| !nodes.contains_key(id)) {
            let node: NodeState = required(store, &keys::node(id), "node")?;
            departing.insert(id, NodeInfo::new(&node, true)?);
        }
    }
    Ok(departing)
}

/// The sets by first height, from the epoch of `from` to the newest.
///
/// # Errors
/// If the disk fails or a row is damaged.
pub fn validator_history(store: &LedgerStore, from: Epoch) -> Result<Vec<(Height, ValidatorSet)>, StorageError> {
    let mut sets = Vec::new();
    for epoch in from.0.. {
        let row: Option<EpochState> = store.message(Table::State, &keys::epoch(Epoch(epoch)))?;
        let Some(row) = row else { break };
        sets.push((Height(row.first_height), validators_of(&row)?));
    }
    Ok(sets)
}

/// The topology as of the newest executed block, shared by all threads.
#[derive(Debug)]
pub struct LiveTopology {
    current: ArcSwap<Topology>,
    version: watch::Sender<u64>,
    invitation: Option<Invitation>,
}

impl LiveTopology {
    /// Reads it from the ledger.
    ///
    /// # Errors
    /// If the disk fails or a row is damaged.
    pub fn load(store: &LedgerStore, tip: &Header, invitation: Option<Invitation>) -> Result<Self, StorageError> {
        let current = ArcSwap::from_pointee(Topology::load(store, tip, invitation.as_ref())?);
        Ok(Self { current, version: watch::Sender::new(0), invitation })
    }

    /// Reads it again, after a block that changed it.
    ///
    /// # Errors
    /// If the disk fails or a row is damaged.
    pub fn reload(&self, store: &LedgerStore, tip: &Header) -> Result<(), StorageError> {
        self.current.store(Arc::new(Topology::load(store, tip, self.invitation.as_ref())?));
        self.version.send_modify(|version| *version += 1);
        Ok(())
    }

    /// The newest.
    #[must_use]
    pub fn get(&self) -> Arc<Topology> {
        self.current.load_full()
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
