//! A validator that lies: votes for two headers of one height, signed with its
//! real vote key, told to others over its real identity.

use std::fs;

use anyhow::Context;
use consilium_grpc::peer_service_client::PeerServiceClient;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, HeaderHash, Height, LedgerId, NodeId, TimeMs};
use consilium_proto::pb;
use consilium_proto::signing::SigningKey;
use consilium_proto::vote::{Equivocation, Vote};
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::network::Network;
use crate::raw::{Dial, RawIdentity};

/// Two votes by one key for two made-up headers of one height.
///
/// # Errors
/// If the key cannot sign.
pub fn two_votes(ledger_id: LedgerId, raft_id: u64, height: u64, key: &SigningKey) -> anyhow::Result<Equivocation> {
    let vote = |state: u8| {
        let header = Header {
            ledger_id,
            height: Height(height),
            previous_hash: HeaderHash::from_bytes([1; 32]),
            time: TimeMs(1),
            epoch: Epoch(0),
            tree_size: 2,
            tree_root: Hash::from_bytes([2; 32]),
            state_root: Hash::from_bytes([state; 32]),
            validators_hash: Hash::from_bytes([3; 32]),
            next_validators_hash: Hash::from_bytes([3; 32]),
            proposer: NodeId(raft_id),
        };
        Vote::sign(NodeId(raft_id), &header, key)
    };
    Ok(Equivocation::new(vote(4)?, vote(5)?)?)
}

/// The keys of a node of the network, in wrong hands.
pub struct DoubleSigner {
    raft_id: u64,
    ledger_id: LedgerId,
    key: SigningKey,
    identity: RawIdentity,
}

impl DoubleSigner {
    /// Takes a node's certificate and keys from its folder.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn with_keys_of(network: &Network, node: usize) -> anyhow::Result<Self> {
        let node = &network.nodes[node];
        let read = |name: &str| fs::read_to_string(node.dir.join(name)).with_context(|| name.to_owned());
        let identity = RawIdentity::from_pem(&read("node-n1.pem")?, &read("node-n1.key")?)?;
        Ok(Self {
            raft_id: node.raft_id(),
            ledger_id: network.genesis.ledger_id,
            key: SigningKey::from_pem(&read("vote.key")?)?,
            identity,
        })
    }

    /// Two votes for one height.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn two_votes(&self, height: u64) -> anyhow::Result<Equivocation> {
        two_votes(self.ledger_id, self.raft_id, height, &self.key)
    }

    /// Tells a node of the network one vote, as its peer.
    ///
    /// # Errors
    /// If it does not listen to this identity.
    pub async fn tell(&self, network: &Network, node: usize, vote: &Vote) -> anyhow::Result<()> {
        let channel = Dial::new(&network.genesis, &self.identity)?.connect(network.nodes[node].peer).await?;
        let vote = pb::peer_message::Message::Vote(vote.into());
        let batch = pb::ExchangeRequest { messages: vec![pb::PeerMessage { message: Some(vote) }] };
        let mut request = Request::new(futures::stream::iter([batch]));
        let metadata = request.metadata_mut();
        metadata.insert("consilium-ledger-id", MetadataValue::try_from(self.ledger_id.to_string())?);
        metadata.insert("consilium-raft-id", MetadataValue::from(self.raft_id));
        PeerServiceClient::new(channel).exchange(request).await?;
        Ok(())
    }
}
