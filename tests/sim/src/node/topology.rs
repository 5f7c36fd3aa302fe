//! What a node reads from its ledger about the others: who takes part, who is
//! elected, under which parameters. As `node/src/identity/topology.rs` does.

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::RaftId;
use consilium_ledger::keys;
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, Height, NodeId};
use consilium_proto::parameters::Parameters;
use consilium_proto::pb::{self, EpochState, NodeState, RosterState};
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use consilium_proto::validators::ValidatorSet;

use crate::disk::LedgerStore;

/// The network as of the newest executed block.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Nodes that are not retired.
    pub nodes: BTreeMap<NodeId, NodeState>,
    /// Validators of the next height.
    pub validators: ValidatorSet,
    /// First height of their epoch.
    pub first_height: Height,
    /// Block time at which the epoch began.
    pub start_ms: u64,
    /// In force.
    pub parameters: Parameters,
    /// Nodes that an invitation names, until the ledger has caught up with it.
    invited: BTreeSet<NodeId>,
    /// Nodes with a seat in one of the last epochs that are retired since: the
    /// seat certifies up to the end of its epoch, and Raft counts the vote until
    /// that is certified.
    departing: BTreeSet<NodeId>,
}

/// Epochs for which a retired node may still be needed.
const DEPARTED_EPOCHS: u64 = 4;

/// What a node that joins is told of the others.
#[derive(Clone, Debug, Default)]
pub struct Invitation {
    /// Who takes part.
    pub nodes: BTreeSet<NodeId>,
    /// As of this height.
    pub height: Height,
}

impl Topology {
    /// Reads it.
    ///
    /// # Panics
    /// If a row that the rules always write is absent.
    #[must_use]
    pub fn load(ledger: &LedgerStore) -> Self {
        let roster: RosterState = ledger.message(&keys::roster()).expect("genesis writes the roster");
        let node = |id: &u64| Some((NodeId(*id), ledger.message::<NodeState>(&keys::node(NodeId(*id)))?));
        let parameters: pb::Parameters = ledger.message(&keys::parameters()).expect("genesis writes the parameters");
        let tip = &ledger.tip().expect("the ledger has a genesis block").1.header;
        let epoch = newest_epoch(ledger, tip).expect("genesis writes the first epoch");
        let validators = epoch.validators.as_ref().and_then(|set| set.try_into().ok());
        Self {
            nodes: roster.nodes.iter().filter_map(node).collect(),
            validators: validators.expect("an epoch has validators"),
            first_height: Height(epoch.first_height),
            start_ms: epoch.start_ms,
            parameters: Parameters::try_from(&parameters).expect("the rules check parameters"),
            invited: BTreeSet::new(),
            departing: departing(ledger, Epoch(epoch.epoch), &roster.nodes),
        }
    }

    /// A bug: whoever is retired is refused at once.
    pub(crate) fn forget_departing(&mut self) {
        self.departing.clear();
    }

    /// The same, with the invitation of a node that has not caught up with it.
    #[must_use]
    pub fn with_invitation(ledger: &LedgerStore, invitation: &Invitation) -> Self {
        let mut topology = Self::load(ledger);
        let height = ledger.tip().map_or(Height::GENESIS, |(_, tip)| tip.header.height);
        if height < invitation.height {
            topology.invited.clone_from(&invitation.nodes);
        }
        topology
    }

    /// Whether a node may speak here.
    #[must_use]
    pub fn knows(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node) || self.invited.contains(&node) || self.departing.contains(&node)
    }

    /// The set that certifies the height above a header.
    #[must_use]
    pub fn set_above(ledger: &LedgerStore, header: &Header) -> Option<ValidatorSet> {
        newest_epoch(ledger, header)?.validators.as_ref()?.try_into().ok()
    }

    /// Vote keys of all nodes.
    #[must_use]
    pub fn vote_keys(&self) -> BTreeMap<NodeId, VerifyingKey> {
        let key = |node: &NodeState| VerifyingKey::from_raw(SignatureAlgorithm::Es256, &node.vote_key).ok();
        self.nodes.iter().filter_map(|(id, node)| Some((*id, key(node)?))).collect()
    }

    /// All nodes but one.
    #[must_use]
    pub fn peers(&self, me: NodeId) -> BTreeSet<NodeId> {
        let known = self.nodes.keys().chain(&self.invited).chain(&self.departing);
        known.copied().filter(|id| *id != me).collect()
    }

    /// Who may speak, as Raft knows them.
    #[must_use]
    pub fn speakers(&self) -> BTreeSet<RaftId> {
        let known = self.nodes.keys().chain(&self.invited).chain(&self.departing);
        known.filter_map(|id| RaftId::new(id.0)).collect()
    }

    /// All nodes as Raft knows them.
    #[must_use]
    pub fn raft_ids(&self) -> BTreeSet<RaftId> {
        self.nodes.keys().filter_map(|id| RaftId::new(id.0)).collect()
    }

    /// The elected nodes as Raft knows them.
    #[must_use]
    pub fn elected(&self) -> BTreeSet<RaftId> {
        self.validators.seats().iter().filter_map(|seat| RaftId::new(seat.id.0)).collect()
    }

    /// Whether a node was known and is no more.
    #[must_use]
    pub fn retired(&self, ledger: &LedgerStore, node: NodeId) -> bool {
        !self.nodes.contains_key(&node) && ledger.message::<NodeState>(&keys::node(node)).is_some()
    }
}

fn departing(ledger: &LedgerStore, current: Epoch, nodes: &[u64]) -> BTreeSet<NodeId> {
    let epochs = current.0.saturating_sub(DEPARTED_EPOCHS)..current.0;
    let states = epochs.filter_map(|epoch| ledger.message::<EpochState>(&keys::epoch(Epoch(epoch))));
    let seats = states.flat_map(|state| state.validators.map(|set| set.seats).unwrap_or_default());
    seats.map(|seat| seat.validator).filter(|id| !nodes.contains(id)).map(NodeId).collect()
}

/// The epoch of the height above a header.
fn newest_epoch(ledger: &LedgerStore, header: &Header) -> Option<EpochState> {
    let next: Option<EpochState> = ledger.message(&keys::epoch(Epoch(header.epoch.0 + 1)));
    let next = next.filter(|epoch| epoch.first_height == header.height.0 + 1);
    next.or_else(|| ledger.message(&keys::epoch(header.epoch)))
}
