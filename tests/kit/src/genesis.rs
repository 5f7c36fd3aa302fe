//! Genesis documents: members with a CA "ca", and nodes that count from 1 in
//! the order of the members.

use bytes::Bytes;
use consilium_proto::genesis::Genesis;
use consilium_proto::pb;
use prost::Message;

use crate::keys;

/// A member of a genesis: id, stake, number of nodes.
pub type MemberSpec<'a> = (&'a str, u64, usize);

/// A network of members. Nodes vote with [`keys::vote`] of their raft id.
#[must_use]
pub fn genesis(network: &str, time_ms: u64, parameters: pb::Parameters, members: &[MemberSpec<'_>]) -> Genesis {
    let mut raft_id = 0;
    let mut founder = |name: usize| {
        raft_id += 1;
        pb::GenesisNode { raft_id, ..node(&format!("n{name}"), raft_id) }
    };
    let members = members.iter().map(|(id, stake, nodes)| member(id, *stake, (1..=*nodes).map(&mut founder).collect()));
    let body = pb::Genesis {
        format_version: 1,
        network: network.into(),
        time_ms,
        parameters: Some(parameters),
        members: members.collect(),
    };
    let document = pb::GenesisDocument { body: body.encode_to_vec().into(), endorsements: Vec::new() };
    Genesis::parse(&document.encode_to_vec()).unwrap()
}

/// A member as it describes itself.
#[must_use]
pub fn member(id: &str, stake: u64, nodes: Vec<pb::GenesisNode>) -> pb::GenesisMember {
    let ca_bundle = vec![Bytes::from_static(b"ca")];
    pb::GenesisMember { id: id.into(), display_name: id.into(), ca_bundle, stake, nodes }
}

/// A node without a raft id that votes with a key of [`keys::vote`].
#[must_use]
pub fn node(name: &str, vote_key: u64) -> pb::GenesisNode {
    pb::GenesisNode {
        name: name.into(),
        raft_id: 0,
        peer_address: "h:1".into(),
        client_address: "h:2".into(),
        vote_key: Bytes::copy_from_slice(keys::vote(vote_key).verifying_key().raw()),
    }
}
