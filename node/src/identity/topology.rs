//! The nodes of the ledger: raft ids, SPIFFE ids, addresses, votes.

use std::collections::BTreeMap;

use consilium_consensus::RaftId;
use consilium_proto::error::FieldError;
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::NodeId;
use consilium_proto::validators::ValidatorSet;

/// One node.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Raft id.
    pub id: NodeId,
    /// spiffe://<member>/node/<name>.
    pub spiffe_id: String,
    /// host:port for peers.
    pub peer_address: String,
    /// host:port for clients.
    pub client_address: String,
}

/// All nodes, and the set that certifies.
#[derive(Debug, Clone)]
pub struct Topology {
    nodes: BTreeMap<NodeId, NodeInfo>,
    validators: ValidatorSet,
}

impl Topology {
    /// The founding nodes.
    ///
    /// # Errors
    /// If the genesis has no valid validator set.
    pub fn from_genesis(genesis: &Genesis) -> Result<Self, FieldError> {
        let info = |(member, node): (&consilium_proto::genesis::Member, &consilium_proto::genesis::Node)| {
            let info = NodeInfo {
                id: node.raft_id,
                spiffe_id: format!("spiffe://{}/node/{}", member.id, node.name),
                peer_address: node.peer_address.clone(),
                client_address: node.client_address.clone(),
            };
            (node.raft_id, info)
        };
        Ok(Self { nodes: genesis.nodes().map(info).collect(), validators: genesis.validators()? })
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

    /// A node by SPIFFE id.
    #[must_use]
    pub fn by_spiffe_id(&self, spiffe_id: &str) -> Option<&NodeInfo> {
        self.nodes.values().find(|n| n.spiffe_id == spiffe_id)
    }

    /// The set that certifies blocks.
    #[must_use]
    pub fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// Raft ids, ascending.
    #[must_use]
    pub fn raft_ids(&self) -> Vec<RaftId> {
        self.nodes.keys().filter_map(|id| RaftId::new(id.0)).collect()
    }
}
