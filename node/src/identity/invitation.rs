//! The invitation of a node that joins a running ledger, as topology and trust
//! read it until the node's own copy of the ledger says so itself. What an
//! invitation has to be is a rule of the contract. Nothing that it says is
//! believed about the ledger: every block is verified from the genesis document
//! on.

use std::path::Path;

use bytes::Bytes;
use consilium_certs::contract::invitation::{self as contract, INVITATION_BYTES_MAX, Standing};
use consilium_proto::ids::Height;
use consilium_proto::pb::{MemberState, NodeState};

use crate::storage::StorageError;
use consilium_replica::topology::{Introduction, NodeInfo};

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
    /// If the file cannot be read, or holds something that must not be used.
    pub fn read(path: &Path) -> Result<Self, StorageError> {
        let length = std::fs::metadata(path).map_err(StorageError::file(path))?.len();
        if length > INVITATION_BYTES_MAX as u64 {
            return Err(StorageError::corrupt("invitation", "is too large"));
        }
        let bytes = std::fs::read(path).map_err(StorageError::file(path))?;
        contract::Invitation::parse(&bytes).map_err(|e| StorageError::corrupt("invitation", e))?.try_into()
    }

    /// What a replica is told of it.
    #[must_use]
    pub fn introduction(&self) -> Introduction {
        Introduction { nodes: self.nodes.clone(), height: self.height }
    }
}

impl TryFrom<contract::Invitation> for Invitation {
    type Error = StorageError;

    fn try_from(checked: contract::Invitation) -> Result<Self, StorageError> {
        let active = |node: &NodeState| {
            let member = checked.members.iter().find(|(id, _)| id.as_str() == node.member);
            member.is_some_and(|(_, member)| member.standing == Standing::Active)
        };
        let info = |node: &NodeState| NodeInfo::new(node, active(node)).map_err(damaged);
        let own = info(&checked.node)?;
        let mut nodes = checked.message.nodes.iter().map(info).collect::<Result<Vec<_>, _>>()?;
        nodes.push(own.clone());
        let message = checked.message;
        Ok(Self { genesis: message.genesis, own, nodes, members: message.members, height: Height(message.height) })
    }
}

fn damaged(fault: consilium_replica::ports::PortFault) -> StorageError {
    StorageError::corrupt("invitation", fault)
}
