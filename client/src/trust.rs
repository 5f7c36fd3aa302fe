//! Where to connect: the addresses of nodes in the genesis document, and in an
//! invitation where nodes have joined since.
//!
//! An invitation is not proven and says nothing about whom to believe: who
//! answers at an address is judged by the ledger ([`crate::standing`]).

use std::path::Path;

use consilium_certs::contract::invitation::{INVITATION_BYTES_MAX, Invitation};
use consilium_proto::genesis::{self, Genesis};
use consilium_proto::ids::LedgerId;
use consilium_proto::names::MemberId;
use consilium_proto::pb::NodeState;

use crate::error::ClientError;
use crate::files;
use crate::nodes_of::NodesOf;

/// Nodes of an invitation (invitation.proto).
#[derive(Debug, Clone)]
pub struct Trust {
    nodes: Vec<NodeState>,
}

impl Trust {
    /// Reads an encoded `JoinInvitation` of a ledger.
    ///
    /// # Errors
    /// [`ClientError::File`], also for one of another ledger.
    pub fn load(path: &Path, ledger: LedgerId) -> Result<Self, ClientError> {
        let bytes = files::read(path, INVITATION_BYTES_MAX as u64)?;
        Self::parse(&bytes, ledger).map_err(|cause| ClientError::file(path, cause))
    }

    fn parse(bytes: &[u8], ledger: LedgerId) -> Result<Self, String> {
        let invitation = Invitation::parse(bytes).map_err(|e| e.to_string())?;
        if invitation.genesis.ledger_id != ledger {
            return Err(format!("is of ledger {}, not of {ledger}", invitation.genesis.ledger_id));
        }
        Ok(Self { nodes: invitation.message.nodes })
    }
}

/// host:port of the nodes of members that are talked to: of the own member
/// first, and those that the invitation knows before those of the genesis document.
pub(crate) fn endpoints(genesis: &Genesis, trust: Option<&Trust>, own: &MemberId, allowed: &NodesOf) -> Vec<String> {
    let newer = trust.into_iter().flat_map(|t| &t.nodes);
    let newer = newer.map(|node| (node.raft_id, node.member.as_str(), node.client_address.as_str()));
    let founding = genesis.nodes().map(founding_node);
    // Of two addresses of one node the newer counts.
    let mut seen = std::collections::BTreeSet::new();
    let mut nodes: Vec<_> = newer.chain(founding).filter(|(id, ..)| seen.insert(*id)).collect();
    nodes.retain(|(_, member, _)| allowed.allows(own, member));
    nodes.sort_by_key(|(_, member, _)| *member != own.as_str());
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
    use consilium_proto::pb::{JoinInvitation, MemberState, MemberStatus};
    use prost::Message;

    use super::*;
    use crate::fixture::government::{description, node_state};
    use crate::fixture::{MEMBER, Member, Network};

    const JOINED: &str = "joined.example";

    fn member(member: &Member, status: MemberStatus) -> MemberState {
        let ca_bundle = member.ca.ca().bundle().to_ders().into_iter().map(Into::into).collect();
        MemberState { id: member.id.clone(), ca_bundle, status: status.into(), ..Default::default() }
    }

    fn node(network: &Network, raft_id: u64, member: &str, address: &str) -> NodeState {
        let vote_key = network.later_vote_keys[0].verifying_key().raw().to_vec().into();
        let node = node_state(raft_id, member, description("n9", vote_key), 0);
        NodeState { client_address: address.to_owned(), ..node }
    }

    /// For node 9 of the first of the members.
    fn invitation(network: &Network, members: Vec<MemberState>, nodes: Vec<NodeState>) -> JoinInvitation {
        let node = Some(node(network, 9, &members[0].id, "nine:1"));
        JoinInvitation { genesis: network.document.clone(), node, nodes, members, height: 1 }
    }

    #[test]
    fn nodes_of_the_invitation_come_before_those_of_the_genesis() {
        let network = Network::endorsed();
        let joined = Member::new(network.folder.path(), JOINED, 1);
        let members = vec![member(&joined, MemberStatus::Active), member(&network.member, MemberStatus::Active)];
        let nodes = vec![node(&network, 5, JOINED, "five:1"), node(&network, 2, MEMBER, "two:1")];
        let invitation = invitation(&network, members, nodes).encode_to_vec();
        let trust = Trust::parse(&invitation, network.genesis.ledger_id).unwrap();
        let order = |own: &str| endpoints(&network.genesis, Some(&trust), &own.parse().unwrap(), &NodesOf::Any);
        assert_eq!(order(JOINED), ["five:1", "two:1", "127.0.0.1:2", "127.0.0.1:6"]);
        assert_eq!(order(MEMBER), ["two:1", "127.0.0.1:2", "127.0.0.1:6", "five:1"]);
        let of_own = |own: &str| endpoints(&network.genesis, Some(&trust), &own.parse().unwrap(), &NodesOf::Own);
        assert_eq!(of_own(JOINED), ["five:1"]);
        assert_eq!(of_own(MEMBER), ["two:1", "127.0.0.1:2", "127.0.0.1:6"]);
        assert!(of_own("nobody.example").is_empty());
    }

    #[test]
    fn invitations_of_other_ledgers_and_malformed_ones_are_refused() {
        let (network, other) = (Network::endorsed(), Network::endorsed());
        let members = vec![member(&other.member, MemberStatus::Active)];
        let good = invitation(&other, members, vec![node(&other, 1, MEMBER, "one:1")]);
        let ledger = network.genesis.ledger_id;
        assert!(Trust::parse(&good.encode_to_vec(), ledger).unwrap_err().contains("is of ledger"));
        assert_eq!(Trust::parse(&[0xff], ledger).unwrap_err(), "is not an invitation");
        let cut = JoinInvitation { nodes: Vec::new(), ..good };
        assert_eq!(Trust::parse(&cut.encode_to_vec(), ledger).unwrap_err(), "names no node that serves");
    }
}
