//! Makes and reads the invitation with which a new node finds its way into a
//! running network. What it has to be is a rule of the contract
//! ([`consilium_certs::contract::invitation`]); people compare the ledger id in
//! it by phone.

use std::path::Path;

use consilium_certs::contract::invitation::{INVITATION_BYTES_MAX, Invitation, InvitationError};
use consilium_proto::genesis::ledger_id;
use consilium_proto::pb;
use prost::Message;

use crate::ceremony::refuse_private_key;
use crate::client::Client;
use crate::error::ClientError;
use crate::files;
use crate::transport::ledger_service;
use consilium_proto::state;

impl Client {
    /// Makes the invitation of a node that is on the ledger. Every row in it is
    /// proven against a certified header.
    ///
    /// # Errors
    /// As [`Client::read`]; a node that is not active; an answer that proves
    /// something else.
    pub async fn invitation(&self, raft_id: u64) -> Result<Invitation, ClientError> {
        let height = self.certified_head().await?.header.height;
        let genesis = self.genesis_document().await?;
        let (mut members, mut nodes) = (Vec::new(), Vec::new());
        for entry in self.list_members(Some(height)).await?.into_claimed() {
            let id = entry.member.unwrap_or_default().id;
            let member: Option<pb::MemberState> = self.proven_row(&state::keys::member(&id)).await?;
            let Some(member) = member.filter(|m| m.status() != pb::MemberStatus::Removed) else { continue };
            let serves = member.status() == pb::MemberStatus::Active;
            for listed in entry.nodes {
                let node = self.proven_node(listed.raft_id).await?;
                let active = node.filter(|n| n.member == id && n.status() == pb::NodeStatus::Active);
                nodes.extend(active.filter(|n| serves || n.raft_id == raft_id));
            }
            members.push(member);
        }
        members.extend(self.removed_founders(&members).await?);
        let position = nodes.iter().position(|node| node.raft_id == raft_id);
        let position =
            position.ok_or_else(|| ClientError::Usage(format!("node {raft_id} is no active node of the ledger")))?;
        let node = Some(nodes.remove(position));
        let genesis = genesis.encode_to_vec().into();
        let message = pb::JoinInvitation { genesis, node, nodes, members, height: height.0 };
        Invitation::try_from(message).map_err(unusable)
    }

    /// Members of the genesis document that are no more: whoever joins must not
    /// take the document's word for them.
    async fn removed_founders(&self, present: &[pb::MemberState]) -> Result<Vec<pb::MemberState>, ClientError> {
        let mut removed = Vec::new();
        for founder in &self.genesis().members {
            let id = founder.id.as_str();
            if present.iter().all(|member| member.id != id) {
                removed.extend(self.proven_row(&state::keys::member(id)).await?);
            }
        }
        Ok(removed)
    }

    /// The genesis document as a node has it; its id is this ledger's.
    ///
    /// # Errors
    /// As [`Client::read`], or a document of another ledger.
    pub async fn genesis_document(&self) -> Result<pb::GenesisDocument, ClientError> {
        let answer = self
            .read(|channel| async move { ledger_service(channel).get_genesis(pb::GetGenesisRequest {}).await })
            .await?;
        let document = answer.genesis.ok_or_else(|| ClientError::contradiction("the node sent no genesis document"))?;
        if ledger_id(&document.body) != self.genesis().ledger_id {
            return Err(ClientError::contradiction("the node's genesis document is of another ledger"));
        }
        Ok(document)
    }
}

/// Reads an invitation and checks it.
///
/// # Errors
/// [`ClientError::File`], or what is wrong with it.
pub fn read(path: &Path) -> Result<Invitation, ClientError> {
    parse(&files::read(path, INVITATION_BYTES_MAX as u64)?)
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Invitation, ClientError> {
    refuse_private_key("the invitation", bytes)?;
    Invitation::parse(bytes).map_err(unusable)
}

fn unusable(error: InvitationError) -> ClientError {
    let what = format!("invitation: {error}");
    match error {
        InvitationError::Size { .. } | InvitationError::Encoding => ClientError::Usage(what),
        InvitationError::GenesisForm(_)
        | InvitationError::Genesis(_)
        | InvitationError::NoNode
        | InvitationError::NobodyServes
        | InvitationError::Member { .. }
        | InvitationError::Node { .. } => ClientError::contradiction(what),
    }
}
