//! Whom to connect to: the nodes and CA bundles of the genesis document, and
//! those of an invitation where members have joined or rotated their CAs since.
//!
//! An invitation is not proven. Whoever names one in a profile trusts it as far
//! as connections go; what comes over them is verified from the genesis
//! document all the same.

use std::collections::BTreeMap;
use std::path::Path;

use consilium_certs::CaBundle;
use consilium_certs::tls::{MemberTrust, StaticTrust};
use consilium_proto::genesis::{self, Genesis, check_address};
use consilium_proto::ids::LedgerId;
use consilium_proto::pb::{JoinInvitation, MemberState, MemberStatus, NodeState, NodeStatus};
use prost::Message;

use crate::error::ClientError;
use crate::files;

/// Bytes of an invitation.
const INVITATION_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Members and nodes of an invitation (invitation.proto).
#[derive(Debug, Clone)]
pub struct Trust {
    members: BTreeMap<String, Standing>,
    nodes: Vec<NodeState>,
}

/// A member as the invitation has it.
#[derive(Debug, Clone)]
enum Standing {
    Member(CaBundle),
    Suspended(CaBundle),
    Removed,
}

impl Trust {
    /// Reads an encoded `JoinInvitation` of a ledger.
    ///
    /// # Errors
    /// [`ClientError::File`], also for one of another ledger.
    pub fn load(path: &Path, ledger: LedgerId) -> Result<Self, ClientError> {
        let bytes = files::read(path, INVITATION_BYTES_MAX)?;
        Self::parse(&bytes, ledger).map_err(|cause| ClientError::file(path, cause))
    }

    fn parse(bytes: &[u8], ledger: LedgerId) -> Result<Self, String> {
        let message = JoinInvitation::decode(bytes).map_err(|_| "is not an invitation")?;
        let genesis = Genesis::parse(&message.genesis).map_err(|e| e.to_string())?;
        if genesis.ledger_id != ledger {
            return Err(format!("is of ledger {}, not of {ledger}", genesis.ledger_id));
        }
        let members = message.members.into_iter().map(standing).collect::<Result<_, String>>()?;
        let serves = |node: &NodeState| node.status != NodeStatus::Retired as i32;
        let nodes: Vec<_> = message.nodes.into_iter().filter(serves).collect();
        for node in &nodes {
            check_address("nodes.client_address", &node.client_address).map_err(|e| e.to_string())?;
        }
        Ok(Self { members, nodes })
    }
}

fn standing(member: MemberState) -> Result<(String, Standing), String> {
    let bundle = CaBundle::from_ders(&member.ca_bundle).map_err(|e| format!("CA bundle of {}: {e}", member.id));
    let standing = match member.status() {
        MemberStatus::Active => Standing::Member(bundle?),
        MemberStatus::Suspended => Standing::Suspended(bundle?),
        MemberStatus::Removed => Standing::Removed,
        MemberStatus::Unspecified => return Err(format!("does not say whether {} is a member", member.id)),
    };
    Ok((member.id, standing))
}

/// Whose servers are believed to be nodes. For a member that the invitation
/// knows, the invitation alone counts: a CA that was rotated away may be lost.
pub(crate) fn server_trust(genesis: &Genesis, trust: Option<&Trust>) -> Result<StaticTrust, ClientError> {
    let mut members = BTreeMap::new();
    for member in &genesis.members {
        let bundle = CaBundle::from_ders(&member.ca_bundle)
            .map_err(|e| ClientError::contradiction(format!("CA bundle of {}: {e}", member.id)))?;
        members.insert(member.id.as_str().to_owned(), Standing::Member(bundle));
    }
    members.extend(trust.into_iter().flat_map(|t| t.members.clone()));
    let trusted = |(bundle, suspended)| MemberTrust { bundle, crls: Vec::new(), suspended };
    let members = members.into_values().filter_map(|standing| match standing {
        Standing::Member(bundle) => Some(trusted((bundle, false))),
        Standing::Suspended(bundle) => Some(trusted((bundle, true))),
        Standing::Removed => None,
    });
    Ok(StaticTrust::new(members))
}

/// host:port of the nodes: of the own member first, and those that the
/// invitation knows before those of the genesis document.
pub(crate) fn endpoints(genesis: &Genesis, trust: Option<&Trust>, own: &str) -> Vec<String> {
    let newer = trust.into_iter().flat_map(|t| &t.nodes);
    let newer = newer.map(|node| (node.raft_id, node.member.as_str(), node.client_address.as_str()));
    let founding = genesis.nodes().map(founding_node);
    // Of two addresses of one node the newer counts.
    let mut seen = std::collections::BTreeSet::new();
    let mut nodes: Vec<_> = newer.chain(founding).filter(|(id, ..)| seen.insert(*id)).collect();
    nodes.sort_by_key(|(_, member, _)| *member != own);
    let mut addresses = Vec::new();
    for (.., address) in nodes {
        if !addresses.iter().any(|known| known == address) {
            addresses.push(address.to_owned());
        }
    }
    addresses
}

fn founding_node<'a>((member, node): (&'a genesis::Member, &'a genesis::Node)) -> (u64, &'a str, &'a str) {
    (node.raft_id.0, member.id.as_str(), &node.client_address)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixture::{MEMBER, Member, Network};

    fn member(member: &Member, status: MemberStatus) -> MemberState {
        let ca_bundle = member.ca.ca().bundle().to_ders().into_iter().map(Into::into).collect();
        MemberState { id: member.id.clone(), ca_bundle, status: status.into(), ..Default::default() }
    }

    fn node(raft_id: u64, member: &str, address: &str, status: NodeStatus) -> NodeState {
        let (member, client_address) = (member.to_owned(), address.to_owned());
        NodeState { raft_id, member, client_address, status: status.into(), ..Default::default() }
    }

    fn parse(network: &Network, members: Vec<MemberState>, nodes: Vec<NodeState>) -> Result<Trust, String> {
        let invitation = JoinInvitation { genesis: network.document.clone(), members, nodes, ..Default::default() };
        Trust::parse(&invitation.encode_to_vec(), network.genesis.ledger_id)
    }

    fn trusts(network: &Network, trust: &Trust, member: &str) -> Option<bool> {
        use consilium_certs::tls::TrustSource;
        let source = server_trust(&network.genesis, Some(trust)).unwrap();
        source.member(&member.parse().unwrap()).map(|found| found.suspended)
    }

    #[test]
    fn an_invitation_adds_and_replaces_members() {
        let network = Network::new();
        let joined = Member::new(network.folder.path(), "joined.example", 1);
        let trust = parse(&network, vec![member(&joined, MemberStatus::Active)], Vec::new()).unwrap();
        assert_eq!(trusts(&network, &trust, "joined.example"), Some(false));
        assert_eq!(trusts(&network, &trust, MEMBER), Some(false), "the genesis still counts");
        for (status, expected) in [(MemberStatus::Suspended, Some(true)), (MemberStatus::Removed, None)] {
            let trust = parse(&network, vec![member(&network.member, status)], Vec::new()).unwrap();
            assert_eq!(trusts(&network, &trust, MEMBER), expected);
        }
    }

    #[test]
    fn a_rotated_ca_takes_the_place_of_the_one_in_the_genesis() {
        use consilium_certs::tls::TrustSource;
        let network = Network::new();
        let rotated = Member::new(&network.folder.path().join("rotated"), MEMBER, 1);
        let trust = parse(&network, vec![member(&rotated, MemberStatus::Active)], Vec::new()).unwrap();
        let source = server_trust(&network.genesis, Some(&trust)).unwrap();
        let found = source.member(&MEMBER.parse().unwrap()).unwrap();
        assert_eq!(found.bundle.to_ders(), rotated.ca.ca().bundle().to_ders());
    }

    #[test]
    fn nodes_of_the_invitation_come_before_those_of_the_genesis() {
        let network = Network::new();
        let nodes = vec![
            node(5, "joined.example", "five:1", NodeStatus::Active),
            node(2, MEMBER, "two:1", NodeStatus::Active),
            node(4, MEMBER, "four:1", NodeStatus::Retired),
        ];
        let trust = parse(&network, Vec::new(), nodes).unwrap();
        let order = |own: &str| endpoints(&network.genesis, Some(&trust), own);
        assert_eq!(order("joined.example"), ["five:1", "two:1", "127.0.0.1:2", "127.0.0.1:6"]);
        assert_eq!(order(MEMBER), ["two:1", "127.0.0.1:2", "127.0.0.1:6", "five:1"]);
        assert_eq!(endpoints(&network.genesis, None, MEMBER), ["127.0.0.1:2", "127.0.0.1:4", "127.0.0.1:6"]);
    }

    #[test]
    fn invitations_of_other_ledgers_and_malformed_ones_are_refused() {
        let (network, other) = (Network::new(), Network::new());
        let foreign = JoinInvitation { genesis: other.document, ..Default::default() }.encode_to_vec();
        assert!(Trust::parse(&foreign, network.genesis.ledger_id).unwrap_err().contains("is of ledger"));
        assert_eq!(Trust::parse(&[0xff], network.genesis.ledger_id).unwrap_err(), "is not an invitation");
        let unsaid = member(&network.member, MemberStatus::Unspecified);
        assert!(parse(&network, vec![unsaid], Vec::new()).unwrap_err().contains("does not say whether"));
        let node = node(5, MEMBER, "no port", NodeStatus::Active);
        assert!(parse(&network, Vec::new(), vec![node]).unwrap_err().contains("nodes.client_address"));
    }
}
