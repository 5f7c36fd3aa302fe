//! Nodes of a running network: naming them, adding, replacing and retiring
//! one's own, and the invitation with which a new one finds its way in.

pub mod folder;
pub mod invitation;

use std::str::FromStr;

use bytes::Bytes;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{self, action::Action};
use consilium_proto::state;

use crate::client::Client;
use crate::error::ClientError;
use crate::submit::Submitted;

/// How people name a node: by raft id, as `spiffe://member/node/name`, or as
/// `member/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRef {
    /// By raft id.
    RaftId(u64),
    /// By owner and name.
    Name {
        /// The owner.
        member: String,
        /// Name in the SPIFFE id.
        name: String,
    },
}

impl FromStr for NodeRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(raft_id) = text.parse() {
            return if raft_id == 0 { Err("raft ids count from 1".into()) } else { Ok(Self::RaftId(raft_id)) };
        }
        if text.starts_with("spiffe://") {
            let id: SpiffeId = text.parse().map_err(|e| format!("{e}"))?;
            if id.role() != Role::Node {
                return Err(format!("{id} is not of role node"));
            }
            return Ok(Self::Name { member: id.member().to_string(), name: id.name().to_owned() });
        }
        let (member, name) = text.split_once('/').ok_or("is no raft id, SPIFFE id or MEMBER/NAME")?;
        SpiffeId::new(member.parse().map_err(|e| format!("{e}"))?, Role::Node, name).map_err(|e| e.to_string())?;
        Ok(Self::Name { member: member.to_owned(), name: name.to_owned() })
    }
}

impl std::fmt::Display for NodeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RaftId(id) => write!(f, "{id}"),
            Self::Name { member, name } => write!(f, "{member}/{name}"),
        }
    }
}

impl NodeRef {
    /// The node among all members' nodes. Of two with one name (one of them
    /// was replaced and retires) it is the active one.
    ///
    /// # Errors
    /// If there is none.
    pub fn find<'a>(&self, members: &'a [pb::MemberEntry]) -> Result<&'a pb::NodeState, ClientError> {
        let is_it = |node: &&pb::NodeState| match self {
            Self::RaftId(id) => node.raft_id == *id,
            Self::Name { member, name } => node.member == *member && node.name == *name,
        };
        let found = members.iter().flat_map(|entry| &entry.nodes).filter(is_it);
        let newest_active = |node: &&pb::NodeState| (node.status() == pb::NodeStatus::Active, node.raft_id);
        found
            .max_by_key(newest_active)
            .ok_or_else(|| ClientError::Usage(format!("no node {self}; see `consilium governance members`")))
    }
}

/// A node that is on the ledger since a transaction of its member.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The transaction; absent if an earlier one had done it already.
    pub submitted: Option<Submitted>,
    /// The node with its new raft id, proven.
    pub node: pb::NodeState,
}

impl Client {
    /// Adds a node of the own member: a learner with a raft id of its own. If
    /// the ledger has a node with this vote key already, an earlier attempt got
    /// through, and nothing is submitted.
    ///
    /// # Errors
    /// As [`Client::perform`]; a vote key of another node; an answer that
    /// proves something else.
    pub async fn register_node(&self, node: pb::NodeDescription) -> Result<Registered, ClientError> {
        let member = self.identity().spiffe_id().member().to_string();
        self.bring_in(Action::RegisterNode(pb::RegisterNode { member, node: Some(node.clone()) }), &node, 0).await
    }

    /// Retires a node of the own member and puts a new one in its place. Like
    /// [`Client::register_node`], it can be repeated.
    ///
    /// # Errors
    /// As [`Client::register_node`].
    pub async fn replace_node(&self, raft_id: u64, node: pb::NodeDescription) -> Result<Registered, ClientError> {
        let action = Action::ReplaceNode(pb::ReplaceNode { raft_id, node: Some(node.clone()) });
        self.bring_in(action, &node, raft_id).await
    }

    /// Takes a node of the own member out for good.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn retire_node(&self, raft_id: u64) -> Result<Submitted, ClientError> {
        self.perform(Action::RetireNode(pb::RetireNode { raft_id })).await
    }

    async fn bring_in(
        &self,
        action: Action,
        wanted: &pb::NodeDescription,
        replaces: u64,
    ) -> Result<Registered, ClientError> {
        if let Some(node) = self.node_with_vote_key(&wanted.vote_key, None).await? {
            let same = (&node.name, node.replaces) == (&wanted.name, replaces);
            return match same {
                true => Ok(Registered { submitted: None, node }),
                false => Err(ClientError::Usage(format!(
                    "node {} (raft id {}) has this vote key; a key serves one node once",
                    node.name, node.raft_id
                ))),
            };
        }
        let submitted = self.perform(action).await?;
        let node = self.node_with_vote_key(&wanted.vote_key, Some(submitted.height)).await?;
        let node = node.ok_or_else(|| ClientError::contradiction("the node is not in the ledger's state"))?;
        Ok(Registered { submitted: Some(submitted), node })
    }

    /// The node that signs votes with a key, proven against a certified header.
    ///
    /// # Errors
    /// As [`Client::read`], or an answer that proves something else.
    pub async fn node_with_vote_key(
        &self,
        vote_key: &Bytes,
        after: Option<Height>,
    ) -> Result<Option<pb::NodeState>, ClientError> {
        let members = self.list_members(after).await?.into_claimed();
        let told = members.iter().flat_map(|entry| &entry.nodes).find(|node| node.vote_key == *vote_key);
        let Some(told) = told else { return Ok(None) };
        let proven = self.proven_node(told.raft_id).await?;
        match proven {
            Some(node) if node.vote_key == *vote_key => Ok(Some(node)),
            Some(_) | None => {
                Err(ClientError::contradiction(format!("node {} differs from the ledger's state", told.raft_id)))
            }
        }
    }

    /// A node as the ledger knows it, proven against a certified header.
    ///
    /// # Errors
    /// As [`Client::read`], or an answer that proves nothing.
    pub async fn proven_node(&self, raft_id: u64) -> Result<Option<pb::NodeState>, ClientError> {
        let node: Option<pb::NodeState> = self.proven_row(&state::keys::node(NodeId(raft_id))).await?;
        match node {
            Some(node) if node.raft_id != raft_id => {
                Err(ClientError::contradiction(format!("the row of node {raft_id} names another node")))
            }
            node => Ok(node),
        }
    }
}

#[cfg(test)]
mod tests;
