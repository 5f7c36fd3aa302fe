//! The invitation of a node that joins a running ledger: whom to talk to, and
//! under which CAs, until its own copy of the ledger says so itself. Nothing
//! that it says is believed about the ledger: every block is verified from the
//! genesis document on.

use std::path::Path;

use bytes::Bytes;
use consilium_proto::ids::Height;
use consilium_proto::pb::{JoinInvitation, MemberState, MemberStatus};
use prost::Message;

use crate::storage::StorageError;
use consilium_replica::topology::{Introduction, NodeInfo};

/// Bytes of an invitation.
const INVITATION_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A parsed invitation.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The encoded genesis document.
    pub genesis: Bytes,
    /// The node that joins.
    pub own: NodeInfo,
    /// Nodes of the ledger, the joining one among them.
    pub nodes: Vec<NodeInfo>,
    /// Members with their CA bundles.
    pub members: Vec<MemberState>,
    /// Height that all this was read at.
    pub height: Height,
}

impl Invitation {
    /// Reads an invitation.
    ///
    /// # Errors
    /// If the file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, StorageError> {
        let length = std::fs::metadata(path).map_err(StorageError::file(path))?.len();
        if length > INVITATION_BYTES_MAX {
            return Err(StorageError::corrupt("invitation", "is too large"));
        }
        let bytes = std::fs::read(path).map_err(StorageError::file(path))?;
        let message = JoinInvitation::decode(bytes.as_slice()).map_err(|e| StorageError::corrupt("invitation", e))?;
        Self::parse(message)
    }

    /// What a replica is told of it.
    #[must_use]
    pub fn introduction(&self) -> Introduction {
        Introduction { nodes: self.nodes.clone(), height: self.height }
    }

    fn parse(m: JoinInvitation) -> Result<Self, StorageError> {
        let active = |member: &str| {
            m.members.iter().any(|known| known.id == member && known.status == MemberStatus::Active as i32)
        };
        let own = m.node.as_ref().ok_or_else(|| StorageError::corrupt("invitation", "names no node"))?;
        let own = NodeInfo::new(own, active(&own.member)).map_err(damaged)?;
        let nodes = m.nodes.iter().map(|node| NodeInfo::new(node, active(&node.member)));
        let mut nodes = nodes.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        nodes.retain(|node| node.id != own.id);
        nodes.push(own.clone());
        Ok(Self { genesis: m.genesis, own, nodes, members: m.members, height: Height(m.height) })
    }
}

fn damaged(fault: consilium_replica::ports::PortFault) -> StorageError {
    StorageError::corrupt("invitation", fault)
}
