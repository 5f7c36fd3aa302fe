//! The invitation with which a new node finds its way into a running network.
//!
//! It holds nothing secret and grants nothing: the joining node verifies the
//! whole ledger from the genesis document, whose id people compare by phone.
//! The rest only says whom to talk to at first, and which CAs to expect there.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_certs::CaBundle;
use consilium_proto::genesis::{Genesis, check_address, ledger_id};
use consilium_proto::ids::Height;
use consilium_proto::names::{MemberId, NodeName};
use consilium_proto::pb;
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use prost::Message;

use crate::ceremony::refuse_private_key;
use crate::client::Client;
use crate::error::ClientError;
use crate::transport::ledger_service;
use crate::{genesis_check, state_keys};

/// Bytes of an encoded invitation.
pub const INVITATION_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// An invitation that passed every check that needs no network.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The parsed genesis, endorsed by all founding members.
    pub genesis: Genesis,
    /// The message.
    pub message: pb::JoinInvitation,
    /// The node that joins.
    pub node: pb::NodeState,
}

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
        for entry in self.list_members(Some(height)).await? {
            let id = entry.member.unwrap_or_default().id;
            let member: Option<pb::MemberState> = self.proven_row(&state_keys::member(&id)).await?;
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
        Invitation::check(pb::JoinInvitation { genesis, node, nodes, members, height: height.0 })
    }

    /// Members of the genesis document that are no more: whoever joins must not
    /// take the document's word for them.
    async fn removed_founders(&self, present: &[pb::MemberState]) -> Result<Vec<pb::MemberState>, ClientError> {
        let mut removed = Vec::new();
        for founder in &self.genesis().members {
            let id = founder.id.as_str();
            if present.iter().all(|member| member.id != id) {
                removed.extend(self.proven_row(&state_keys::member(id)).await?);
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

impl Invitation {
    /// Reads an encoded invitation and checks it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ClientError> {
        refuse_private_key("the invitation", bytes)?;
        let message = pb::JoinInvitation::decode(Bytes::copy_from_slice(bytes));
        Self::check(message.map_err(|_| ClientError::Usage("not an invitation".into()))?)
    }

    /// Checks the genesis document with its endorsements, the CA bundles, and
    /// that the nodes belong to the members.
    fn check(message: pb::JoinInvitation) -> Result<Self, ClientError> {
        let genesis = Genesis::parse(&message.genesis)?;
        let unusable = |problem: String| ClientError::contradiction(format!("invitation: {problem}"));
        genesis_check::check_members(&genesis).map_err(|e| unusable(e.to_string()))?;
        genesis_check::verify_endorsements(&genesis).map_err(|e| unusable(e.to_string()))?;
        let mut members = BTreeSet::new();
        for member in &message.members {
            check_member(member).map_err(|problem| unusable(format!("{}: {problem}", member.id)))?;
            if !members.insert(member.id.as_str()) {
                return Err(unusable(format!("{} stands twice", member.id)));
            }
        }
        let node = message.node.clone().ok_or_else(|| unusable("names no node that joins".into()))?;
        let mut raft_ids = BTreeSet::new();
        for one in std::iter::once(&node).chain(&message.nodes) {
            check_node(one).map_err(|problem| unusable(format!("node {}: {problem}", one.raft_id)))?;
            if !members.contains(one.member.as_str()) || !raft_ids.insert(one.raft_id) {
                return Err(unusable(format!("node {} stands twice, or its member is missing", one.raft_id)));
            }
        }
        if message.nodes.is_empty() {
            return Err(unusable("names no node that serves".into()));
        }
        Ok(Self { genesis, message, node })
    }

    /// `spiffe://member/node/name` of the node that joins.
    #[must_use]
    pub fn spiffe_id(&self) -> String {
        format!("spiffe://{}/node/{}", self.node.member, self.node.name)
    }

    /// The CA bundle of the node's member, as the ledger has it.
    ///
    /// # Errors
    /// If it does not parse, which the check excludes.
    pub fn own_bundle(&self) -> Result<CaBundle, ClientError> {
        let own = self.message.members.iter().find(|m| m.id == self.node.member);
        let bundle = own.map(|m| m.ca_bundle.as_slice()).unwrap_or_default();
        CaBundle::from_ders(bundle).map_err(|e| ClientError::contradiction(format!("CA bundle: {e}")))
    }

    /// Height that the rows were read at.
    #[must_use]
    pub fn height(&self) -> Height {
        Height(self.message.height)
    }

    /// The encoded message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.message.encode_to_vec()
    }
}

fn check_member(member: &pb::MemberState) -> Result<(), String> {
    MemberId::parse("id", &member.id).map_err(|e| e.to_string())?;
    let bundle = CaBundle::from_ders(&member.ca_bundle).map_err(|e| format!("CA bundle: {e}"))?;
    let found = bundle.member();
    if found.as_str() == member.id { Ok(()) } else { Err(format!("the CA bundle is of {found}")) }
}

fn check_node(node: &pb::NodeState) -> Result<(), String> {
    let checked = NodeName::parse("name", &node.name)
        .and_then(|_| check_address("peer_address", &node.peer_address))
        .and_then(|()| check_address("client_address", &node.client_address));
    checked.map_err(|e| e.to_string())?;
    VerifyingKey::from_raw(SignatureAlgorithm::Es256, &node.vote_key).map_err(|e| format!("vote key: {e}"))?;
    if node.raft_id == 0 || node.status() != pb::NodeStatus::Active {
        return Err("is not active".into());
    }
    Ok(())
}
