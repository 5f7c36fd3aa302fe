//! The invitation with which a new node, or a client, finds its way into a
//! running network: whom to talk to at first, and under which CAs.
//!
//! It holds nothing secret and grants nothing: whoever uses it verifies the
//! whole ledger from the genesis document. Checked here is that it holds
//! together, so that nobody starts out on one that leads nowhere.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::error::FieldError;
use consilium_proto::genesis::{Genesis, check_address};
use consilium_proto::ids::Height;
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{JoinInvitation, MemberState, MemberStatus, NodeState, NodeStatus};
use consilium_proto::signing::{SignatureAlgorithm, SigningError, VerifyingKey};
use prost::Message;

use super::genesis::{self, GenesisError};
use crate::ca::{BundleError, CaBundle};
use crate::tls::MemberTrust;

/// Bytes of an encoded invitation.
pub const INVITATION_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why an invitation must not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// Larger than [`INVITATION_BYTES_MAX`].
    #[error("has {bytes} bytes, at most {INVITATION_BYTES_MAX} are allowed")]
    Size {
        /// Bytes found.
        bytes: usize,
    },
    /// Not a `JoinInvitation`.
    #[error("is not an invitation")]
    Encoding,
    /// The genesis document does not parse.
    #[error(transparent)]
    GenesisForm(#[from] FieldError),
    /// No network may start on the genesis document.
    #[error("genesis document: {0}")]
    Genesis(#[from] GenesisError),
    /// It is for no node.
    #[error("names no node that joins")]
    NoNode,
    /// There is nobody to talk to.
    #[error("names no node that serves")]
    NobodyServes,
    /// A member's row cannot be used.
    #[error("{member:?}: {problem}")]
    Member {
        /// Whom the row names.
        member: String,
        /// What is wrong with it.
        problem: MemberProblem,
    },
    /// A node's row cannot be used.
    #[error("node {raft_id}: {problem}")]
    Node {
        /// Its raft id.
        raft_id: u64,
        /// What is wrong with it.
        problem: NodeProblem,
    },
}

/// What is wrong with the row of a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberProblem {
    /// The id is none.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The CA bundle is outside the profile, or another member's.
    #[error("CA bundle: {0}")]
    Bundle(#[from] BundleError),
    /// It may be a member or not.
    #[error("does not say whether it is a member")]
    Standing,
    /// A second row.
    #[error("stands twice")]
    Twice,
}

/// What is wrong with the row of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeProblem {
    /// A name or address is malformed.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The vote key is none.
    #[error("vote key: {0}")]
    VoteKey(#[from] SigningError),
    /// It has no raft id, or is retired.
    #[error("is not active")]
    NotActive,
    /// Its member is not in the invitation.
    #[error("its member is missing")]
    MemberMissing,
    /// A second row.
    #[error("stands twice")]
    Twice,
}

/// Whether a member has its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has.
    Active,
    /// Not at present.
    Suspended,
    /// It is no member any more.
    Removed,
}

/// A member as the invitation has it.
#[derive(Debug, Clone)]
pub struct InvitedMember {
    /// Its CA bundle.
    pub bundle: CaBundle,
    /// Whether it has its rights.
    pub standing: Standing,
}

/// An invitation that holds together.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The parsed genesis, endorsed by all founding members.
    pub genesis: Genesis,
    /// The message.
    pub message: JoinInvitation,
    /// The node that joins.
    pub node: NodeState,
    /// Its name.
    pub spiffe_id: SpiffeId,
    /// The CA bundle of its member.
    pub own_bundle: CaBundle,
    /// Members as of the invitation.
    pub members: BTreeMap<MemberId, InvitedMember>,
}

impl Invitation {
    /// Reads an encoded invitation and checks it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvitationError> {
        if bytes.len() > INVITATION_BYTES_MAX {
            return Err(InvitationError::Size { bytes: bytes.len() });
        }
        JoinInvitation::decode(bytes).map_err(|_| InvitationError::Encoding)?.try_into()
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

impl TryFrom<JoinInvitation> for Invitation {
    type Error = InvitationError;

    /// Checks the genesis document with its endorsements, the CA bundles, and
    /// that the nodes belong to the members.
    fn try_from(message: JoinInvitation) -> Result<Self, InvitationError> {
        let genesis = Genesis::parse(&message.genesis)?;
        genesis::check(&genesis)?;
        let members = members(&message.members)?;
        let node = message.node.clone().ok_or(InvitationError::NoNode)?;
        let mut raft_ids = BTreeSet::new();
        let mut check = |node: &NodeState| {
            check_node(node, &members, &mut raft_ids)
                .map_err(|problem| InvitationError::Node { raft_id: node.raft_id, problem })
        };
        let (spiffe_id, own_bundle) = check(&node)?;
        message.nodes.iter().try_for_each(|node| check(node).map(drop))?;
        if message.nodes.is_empty() {
            return Err(InvitationError::NobodyServes);
        }
        Ok(Self { genesis, message, node, spiffe_id, own_bundle, members })
    }
}

impl InvitedMember {
    /// What its servers are held against; `None` for one that is no member.
    #[must_use]
    pub fn trust(self) -> Option<MemberTrust> {
        let suspended = match self.standing {
            Standing::Active => false,
            Standing::Suspended => true,
            Standing::Removed => return None,
        };
        Some(MemberTrust { bundle: self.bundle, crls: Vec::new(), suspended })
    }
}

fn members(rows: &[MemberState]) -> Result<BTreeMap<MemberId, InvitedMember>, InvitationError> {
    let mut members = BTreeMap::new();
    for row in rows {
        let fail = |problem| InvitationError::Member { member: row.id.clone(), problem };
        let (id, member) = member(row).map_err(fail)?;
        if members.insert(id, member).is_some() {
            return Err(fail(MemberProblem::Twice));
        }
    }
    Ok(members)
}

fn member(row: &MemberState) -> Result<(MemberId, InvitedMember), MemberProblem> {
    let id = MemberId::parse("id", &row.id)?;
    let bundle = CaBundle::of_member(&id, &row.ca_bundle)?;
    let standing = match row.status() {
        MemberStatus::Active => Standing::Active,
        MemberStatus::Suspended => Standing::Suspended,
        MemberStatus::Removed => Standing::Removed,
        MemberStatus::Unspecified => return Err(MemberProblem::Standing),
    };
    Ok((id, InvitedMember { bundle, standing }))
}

/// Returns the node's name and its member's bundle.
fn check_node(
    node: &NodeState,
    members: &BTreeMap<MemberId, InvitedMember>,
    raft_ids: &mut BTreeSet<u64>,
) -> Result<(SpiffeId, CaBundle), NodeProblem> {
    if node.raft_id == 0 || node.status() != NodeStatus::Active {
        return Err(NodeProblem::NotActive);
    }
    let id = SpiffeId::try_from(node)?;
    check_address("peer_address", &node.peer_address)?;
    check_address("client_address", &node.client_address)?;
    VerifyingKey::from_raw(SignatureAlgorithm::Es256, &node.vote_key)?;
    let member = members.get(id.member()).ok_or(NodeProblem::MemberMissing)?;
    if !raft_ids.insert(node.raft_id) {
        return Err(NodeProblem::Twice);
    }
    Ok((id, member.bundle.clone()))
}
