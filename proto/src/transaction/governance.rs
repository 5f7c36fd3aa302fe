//! Actions of governance, and of members about their own nodes, parsed. What
//! they do is for the rules.

use bytes::Bytes;

use super::stake::node;
use crate::error::{FieldError, fixed, in_range, length_in};
use crate::genesis::{Member, check_address};
use crate::ids::{Height, NodeId, TimeMs};
use crate::limits::{
    CA_BUNDLE_MAX, CERTIFICATE_BYTES_MAX, POLICY_BYTES_MAX, PROPOSAL_REASON_CHARS_MAX, VOTING_POWER_MAX,
};
use crate::names::{MemberId, NodeName};
use crate::parameters::Parameters;
use crate::pb;
use crate::signing::{SignatureAlgorithm, VerifyingKey};

/// A node that is to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDescription {
    /// Name in the SPIFFE id.
    pub name: NodeName,
    /// host:port for peers.
    pub peer_address: String,
    /// host:port for clients.
    pub client_address: String,
    /// Signs votes; P-256.
    pub vote_key: VerifyingKey,
}

/// A change of a member's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAction {
    /// Adds a node.
    Register {
        /// The owner.
        member: MemberId,
        /// The node.
        node: Box<NodeDescription>,
    },
    /// Puts a new node in the place of another.
    Replace {
        /// The node that is lost.
        lost: NodeId,
        /// The new one.
        node: Box<NodeDescription>,
    },
    /// Takes a node out for good.
    Retire(NodeId),
}

/// An action of governance.
#[derive(Debug, Clone, PartialEq)]
pub enum GovernanceAction {
    /// Opens a proposal.
    Propose(Box<Propose>),
    /// Votes on one.
    Ballot {
        /// Its number.
        proposal: u64,
        /// True for, false against.
        approve: bool,
    },
    /// Withdraws one.
    Cancel(u64),
}

/// A proposal to be opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Propose {
    /// End of the vote.
    pub expires: TimeMs,
    /// Why.
    pub reason: String,
    /// What it does.
    pub topic: Topic,
    /// The same as it came, to be kept.
    pub wire: pb::ProposalTopic,
}

/// What a proposal does. See `ProposalTopic`.
#[derive(Debug, Clone, PartialEq)]
pub enum Topic {
    /// Lets an organisation in; raft ids of its nodes are 0.
    Admit(Box<Member>),
    /// Cuts a member off.
    Suspend(MemberId),
    /// Gives it its rights back.
    Reinstate(MemberId),
    /// Ends a membership.
    Remove {
        /// Whose.
        member: MemberId,
        /// Who keeps its records from then on.
        successor: Option<MemberId>,
    },
    /// Replaces a CA bundle.
    RotateCaBundle {
        /// The member.
        member: MemberId,
        /// DER.
        ca_bundle: Vec<Bytes>,
        /// May share no CA with the present one.
        without_overlap: bool,
    },
    /// Adds, replaces or retires a node.
    Node(NodeAction),
    /// Sets a member's stake.
    AllotStake {
        /// The member.
        member: MemberId,
        /// The new allotment.
        stake: u64,
    },
    /// Replaces the parameters.
    Parameters(Box<Parameters>),
    /// Sets the access policy.
    AccessPolicy(String),
    /// Reverses a penalty.
    LiftPenalty(u64),
    /// Switches the rules' version.
    ActivateProtocol {
        /// The version.
        version: u32,
        /// From this height on.
        height: Height,
    },
}

impl NodeDescription {
    fn parse(m: Option<&pb::NodeDescription>) -> Result<Box<Self>, FieldError> {
        let m = m.ok_or_else(|| FieldError::missing("node"))?;
        let name = NodeName::parse("node.name", &m.name)?;
        check_address("node.peer_address", &m.peer_address)?;
        check_address("node.client_address", &m.client_address)?;
        let point = fixed::<65>("node.vote_key", &m.vote_key)?;
        let vote_key = VerifyingKey::from_raw(SignatureAlgorithm::Es256, &point)
            .map_err(|_| FieldError::malformed("node.vote_key", "is not an uncompressed P-256 key"))?;
        Ok(Box::new(Self {
            name,
            peer_address: m.peer_address.clone(),
            client_address: m.client_address.clone(),
            vote_key,
        }))
    }
}

impl NodeAction {
    pub(super) fn register(m: &pb::RegisterNode) -> Result<Self, FieldError> {
        Ok(Self::Register { member: member(&m.member)?, node: NodeDescription::parse(m.node.as_ref())? })
    }

    pub(super) fn replace(m: &pb::ReplaceNode) -> Result<Self, FieldError> {
        Ok(Self::Replace { lost: node("raft_id", m.raft_id)?, node: NodeDescription::parse(m.node.as_ref())? })
    }

    pub(super) fn retire(m: &pb::RetireNode) -> Result<Self, FieldError> {
        node("raft_id", m.raft_id).map(Self::Retire)
    }
}

impl GovernanceAction {
    pub(super) fn propose(m: pb::Propose) -> Result<Self, FieldError> {
        let wire = m.topic.ok_or_else(|| FieldError::missing("topic"))?;
        length_in("reason", m.reason.chars().count(), 0, PROPOSAL_REASON_CHARS_MAX)?;
        if m.reason.chars().any(|c| c.is_control() && c != '\n') {
            return Err(FieldError::malformed("reason", "holds control characters"));
        }
        let topic = Topic::parse(&wire).map_err(|e| e.within("topic"))?;
        Ok(Self::Propose(Box::new(Propose { expires: TimeMs(m.expires_ms), reason: m.reason, topic, wire })))
    }

    pub(super) fn ballot(m: &pb::CastBallot) -> Result<Self, FieldError> {
        in_range("proposal", m.proposal, 1, u64::MAX)?;
        let approve = match pb::BallotChoice::try_from(m.choice) {
            Ok(pb::BallotChoice::Approve) => true,
            Ok(pb::BallotChoice::Reject) => false,
            Ok(pb::BallotChoice::Unspecified) | Err(_) => {
                return Err(FieldError::malformed("choice", "must be approve or reject"));
            }
        };
        Ok(Self::Ballot { proposal: m.proposal, approve })
    }

    pub(super) fn cancel(m: &pb::CancelProposal) -> Result<Self, FieldError> {
        in_range("proposal", m.proposal, 1, u64::MAX).map(Self::Cancel)
    }
}

impl Topic {
    /// Parses a topic.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(m: &pb::ProposalTopic) -> Result<Self, FieldError> {
        use pb::proposal_topic::Topic as Pb;
        match m.topic.as_ref().ok_or_else(|| FieldError::missing("topic"))? {
            Pb::AdmitMember(m) => admit(m).map_err(|e| e.within("admit_member")),
            Pb::SuspendMember(m) => member(&m.member).map(Self::Suspend).map_err(|e| e.within("suspend_member")),
            Pb::ReinstateMember(m) => member(&m.member).map(Self::Reinstate).map_err(|e| e.within("reinstate_member")),
            Pb::RemoveMember(m) => remove(m).map_err(|e| e.within("remove_member")),
            Pb::RotateCaBundle(m) => rotate(m).map_err(|e| e.within("rotate_ca_bundle")),
            Pb::AddNode(m) => NodeAction::register(m).map(Self::Node).map_err(|e| e.within("add_node")),
            Pb::ReplaceNode(m) => NodeAction::replace(m).map(Self::Node).map_err(|e| e.within("replace_node")),
            Pb::RetireNode(m) => NodeAction::retire(m).map(Self::Node).map_err(|e| e.within("retire_node")),
            Pb::AllotStake(m) => allot(m).map_err(|e| e.within("allot_stake")),
            Pb::ChangeParameters(m) => Parameters::try_from(m)
                .map(|p| Self::Parameters(Box::new(p)))
                .map_err(|e| e.within("change_parameters")),
            Pb::SetAccessPolicy(m) => {
                length_in("set_access_policy.text", m.text.len(), 1, POLICY_BYTES_MAX)?;
                Ok(Self::AccessPolicy(m.text.clone()))
            }
            Pb::LiftPenalty(m) => in_range("lift_penalty.penalty", m.penalty, 1, u64::MAX).map(Self::LiftPenalty),
            Pb::ActivateProtocol(m) => {
                in_range("activate_protocol.version", m.version.into(), 1, u32::MAX.into())?;
                Ok(Self::ActivateProtocol { version: m.version, height: Height(m.height) })
            }
        }
    }
}

fn member(id: &str) -> Result<MemberId, FieldError> {
    MemberId::parse("member", id)
}

fn admit(m: &pb::AdmitMember) -> Result<Topic, FieldError> {
    let member = Member::parse(m.member.clone().ok_or_else(|| FieldError::missing("member"))?)?;
    if member.nodes.iter().any(|n| n.raft_id.0 != 0) {
        return Err(FieldError::malformed("member.nodes.raft_id", "must be 0: it is given on acceptance"));
    }
    Ok(Topic::Admit(Box::new(member)))
}

fn remove(m: &pb::RemoveMember) -> Result<Topic, FieldError> {
    let member = member(&m.member)?;
    let successor = (!m.successor.is_empty()).then(|| MemberId::parse("successor", &m.successor)).transpose()?;
    if successor.as_ref() == Some(&member) {
        return Err(FieldError::malformed("successor", "is the member that leaves"));
    }
    Ok(Topic::Remove { member, successor })
}

fn rotate(m: &pb::RotateCaBundle) -> Result<Topic, FieldError> {
    length_in("ca_bundle", m.ca_bundle.len(), 1, CA_BUNDLE_MAX)?;
    for der in &m.ca_bundle {
        length_in("ca_bundle", der.len(), 1, CERTIFICATE_BYTES_MAX)?;
    }
    Ok(Topic::RotateCaBundle {
        member: member(&m.member)?,
        ca_bundle: m.ca_bundle.clone(),
        without_overlap: m.without_overlap,
    })
}

fn allot(m: &pb::AllotStake) -> Result<Topic, FieldError> {
    in_range("stake", m.stake, 0, VOTING_POWER_MAX)?;
    Ok(Topic::AllotStake { member: member(&m.member)?, stake: m.stake })
}
