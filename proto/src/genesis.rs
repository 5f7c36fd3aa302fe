//! The genesis document: parsed, checked, and turned into the first validator
//! set. Certificates in it are checked by the caller, who knows X.509; this
//! module checks everything else.

use bytes::Bytes;
use prost::Message;

use crate::error::{FieldError, fixed, in_range, length_in};
use crate::hash::sha256;
use crate::ids::{LedgerId, NodeId, TimeMs, VotingPower};
use crate::limits::{CA_BUNDLE_MAX, CERTIFICATE_BYTES_MAX, GENESIS_MEMBERS_MAX, GENESIS_NODES_MAX, VOTING_POWER_MAX};
use crate::names::{MemberId, NodeName, check_plain};
use crate::parameters::Parameters;
use crate::pb;
use crate::signing::{self, Domain, SignatureAlgorithm, VerifyingKey};
use crate::validators::{Validator, ValidatorSet};

/// Bytes of an encoded genesis document.
pub const GENESIS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A parsed genesis.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// Hash of the body.
    pub ledger_id: LedgerId,
    /// Name for people.
    pub network: String,
    /// Time of the genesis header.
    pub time: TimeMs,
    /// Limits and thresholds.
    pub parameters: Parameters,
    /// Ascending by id.
    pub members: Vec<Member>,
    /// Signatures over the ledger id, one per member, in the members' order.
    pub endorsements: Vec<pb::Endorsement>,
}

/// A founding member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Trust domain.
    pub id: MemberId,
    /// For people.
    pub display_name: String,
    /// DER certificates.
    pub ca_bundle: Vec<Bytes>,
    /// Standing.
    pub stake: u64,
    /// Nodes, ascending by raft id.
    pub nodes: Vec<Node>,
}

/// A founding node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Raft id.
    pub raft_id: NodeId,
    /// Name in the SPIFFE id.
    pub name: NodeName,
    /// host:port for peers.
    pub peer_address: String,
    /// host:port for clients.
    pub client_address: String,
    /// Signs votes.
    pub vote_key: VerifyingKey,
}

/// The ledger id of an encoded genesis body.
#[must_use]
pub fn ledger_id(body: &[u8]) -> LedgerId {
    LedgerId::from_bytes(sha256(&[&signing::signing_input(Domain::GENESIS, &sha256(&[body]))]))
}

/// What an administrator signs to endorse a genesis.
#[must_use]
pub fn endorsement_input(ledger: &LedgerId) -> Vec<u8> {
    signing::signing_input(Domain::ENDORSEMENT, ledger.as_bytes())
}

impl Genesis {
    /// Parses an encoded [`pb::GenesisDocument`]. Endorsements are not
    /// required here, so that a document can be inspected before it is
    /// endorsed; see [`Self::missing_endorsements`].
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(document: &[u8]) -> Result<Self, FieldError> {
        length_in("genesis", document.len(), 1, GENESIS_BYTES_MAX)?;
        let document = pb::GenesisDocument::decode(document)
            .map_err(|_| FieldError::malformed("genesis", "is not a GenesisDocument"))?;
        let body = pb::Genesis::decode(document.body.clone())
            .map_err(|_| FieldError::malformed("genesis.body", "is not a Genesis"))?;
        in_range("genesis.format_version", body.format_version.into(), 1, 1)?;
        check_plain("genesis.network", &body.network)?;
        let parameters = body.parameters.ok_or_else(|| FieldError::missing("genesis.parameters"))?;
        length_in("genesis.members", body.members.len(), 1, GENESIS_MEMBERS_MAX)?;
        let mut members = Vec::with_capacity(body.members.len());
        for (i, member) in body.members.into_iter().enumerate() {
            members.push(Member::parse(member).map_err(|e| e.within(&format!("genesis.members[{i}]")))?);
        }
        if !members.windows(2).all(|pair| pair[0].id < pair[1].id) {
            return Err(FieldError::malformed("genesis.members", "must be ascending by id"));
        }
        check_raft_ids(&members)?;
        check_vote_keys(&members)?;
        let genesis = Self {
            ledger_id: ledger_id(&document.body),
            network: body.network,
            time: TimeMs(body.time_ms),
            parameters: Parameters::try_from(&parameters).map_err(|e| e.within("genesis.parameters"))?,
            members,
            endorsements: document.endorsements,
        };
        genesis.validators()?;
        Ok(genesis)
    }

    /// All nodes with their members.
    pub fn nodes(&self) -> impl Iterator<Item = (&Member, &Node)> {
        self.members.iter().flat_map(|m| m.nodes.iter().map(move |n| (m, n)))
    }

    /// A member by its id.
    #[must_use]
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.id.as_str() == id)
    }

    /// The set that certifies the first blocks: every founding node, a
    /// member's stake split evenly among its nodes.
    ///
    /// # Errors
    /// If a node would have no power.
    pub fn validators(&self) -> Result<ValidatorSet, FieldError> {
        let mut seats = Vec::new();
        for member in &self.members {
            let power = member.stake / (member.nodes.len().max(1) as u64);
            for node in &member.nodes {
                let power = VotingPower(power);
                seats.push(Validator { id: node.raft_id, power, key: node.vote_key.clone() });
            }
        }
        ValidatorSet::new(seats, self.parameters.quorum)
    }

    /// Members that have not endorsed the document.
    #[must_use]
    pub fn missing_endorsements(&self) -> Vec<&MemberId> {
        let endorsed = |m: &&Member| !self.endorsements.iter().any(|e| e.member == m.id.as_str());
        self.members.iter().filter(endorsed).map(|m| &m.id).collect()
    }
}

impl Member {
    /// Parses one member's part.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(m: pb::GenesisMember) -> Result<Self, FieldError> {
        length_in("display_name", m.display_name.chars().count(), 1, 128)?;
        if m.display_name.chars().any(char::is_control) {
            return Err(FieldError::malformed("display_name", "holds control characters"));
        }
        length_in("ca_bundle", m.ca_bundle.len(), 1, CA_BUNDLE_MAX)?;
        for der in &m.ca_bundle {
            length_in("ca_bundle", der.len(), 1, CERTIFICATE_BYTES_MAX)?;
        }
        in_range("stake", m.stake, 1, VOTING_POWER_MAX)?;
        length_in("nodes", m.nodes.len(), 1, GENESIS_NODES_MAX)?;
        let nodes = m.nodes.into_iter().map(Node::parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            id: MemberId::parse("id", &m.id)?,
            display_name: m.display_name,
            ca_bundle: m.ca_bundle,
            stake: m.stake,
            nodes,
        })
    }
}

impl Node {
    fn parse(m: pb::GenesisNode) -> Result<Self, FieldError> {
        let name = NodeName::parse("nodes.name", &m.name)?;
        check_address("nodes.peer_address", &m.peer_address)?;
        check_address("nodes.client_address", &m.client_address)?;
        let point = fixed::<65>("nodes.vote_key", &m.vote_key)?;
        let vote_key = VerifyingKey::from_raw(SignatureAlgorithm::Es256, &point)
            .map_err(|_| FieldError::malformed("nodes.vote_key", "is not an uncompressed P-256 key"))?;
        Ok(Self {
            raft_id: NodeId(m.raft_id),
            name,
            peer_address: m.peer_address,
            client_address: m.client_address,
            vote_key,
        })
    }
}

/// Two nodes that vote with one key could not be told apart.
fn check_vote_keys(members: &[Member]) -> Result<(), FieldError> {
    let mut known = std::collections::BTreeSet::new();
    let distinct = members.iter().flat_map(|m| &m.nodes).all(|node| known.insert(node.vote_key.raw().to_vec()));
    if distinct { Ok(()) } else { Err(FieldError::malformed("genesis.members.nodes.vote_key", "is used by two nodes")) }
}

fn check_raft_ids(members: &[Member]) -> Result<(), FieldError> {
    let ids: Vec<u64> = members.iter().flat_map(|m| m.nodes.iter().map(|n| n.raft_id.0)).collect();
    let expected: Vec<u64> = (1..=ids.len() as u64).collect();
    if ids != expected {
        return Err(FieldError::malformed("genesis.members.nodes.raft_id", "must count from 1 in document order"));
    }
    Ok(())
}

/// Checks an address: `host:port`.
///
/// # Errors
/// If it has another form.
pub fn check_address(field: &str, address: &str) -> Result<(), FieldError> {
    length_in(field, address.len(), 3, 260)?;
    let port_ok = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if port_ok && address.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(FieldError::malformed(field, "must be host:port"))
    }
}
