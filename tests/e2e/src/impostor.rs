//! A node's keys in wrong hands: votes for two headers of one height, signed with the
//! real vote key, and anything that a Raft message can say, told to others over the
//! real identity.

use std::fs;

use anyhow::Context;
use bytes::Bytes;
use consilium_grpc::peer_service_client::PeerServiceClient;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, HeaderHash, Height, LedgerId, NodeId, TimeMs};
use consilium_proto::pb;
use consilium_proto::signing::SigningKey;
use consilium_proto::validators::{Validator, ValidatorSet};
use consilium_proto::vote::{Equivocation, Vote, signing_bytes};
use futures::Stream;
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

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
            log_hash: Hash::from_bytes([0; 32]),
        };
        Vote::sign(NodeId(raft_id), &header, key)
    };
    Ok(Equivocation::new(vote(4)?, vote(5)?)?)
}

/// A message of Raft, with the fields that lies are made of (`eraftpb.Message`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftMessage {
    /// 3 append, 4 its answer, 5 vote request, 7 snapshot, 8 heartbeat, 9 its answer, 14 timeout now.
    #[prost(int32, tag = "1")]
    msg_type: i32,
    /// Set when it is sent.
    #[prost(uint64, tag = "2")]
    to: u64,
    /// Set when it is sent.
    #[prost(uint64, tag = "3")]
    from: u64,
    /// The term claimed.
    #[prost(uint64, tag = "4")]
    term: u64,
    /// Term of the entry before.
    #[prost(uint64, tag = "5")]
    log_term: u64,
    /// Index of the entry before.
    #[prost(uint64, tag = "6")]
    index: u64,
    /// Entries.
    #[prost(message, repeated, tag = "7")]
    entries: Vec<RaftEntry>,
    /// The commit claimed.
    #[prost(uint64, tag = "8")]
    commit: u64,
    /// A snapshot: position and membership.
    #[prost(message, optional, tag = "9")]
    snapshot: Option<RaftSnapshot>,
    /// What a candidate or a leader shows.
    #[prost(bytes = "vec", tag = "12")]
    context: Vec<u8>,
}

/// An entry of the log (`eraftpb.Entry`).
#[derive(Clone, PartialEq, prost::Message)]
struct RaftEntry {
    /// 0 a block, 2 a membership change.
    #[prost(int32, tag = "1")]
    entry_type: i32,
    /// Its term.
    #[prost(uint64, tag = "2")]
    term: u64,
    /// Its index.
    #[prost(uint64, tag = "3")]
    index: u64,
    /// Its content.
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
}

/// A snapshot (`eraftpb.Snapshot`).
#[derive(Clone, PartialEq, prost::Message)]
struct RaftSnapshot {
    /// What the entry there commits to.
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    /// What it claims to be.
    #[prost(message, optional, tag = "2")]
    metadata: Option<RaftSnapshotMetadata>,
}

/// Position and membership (`eraftpb.SnapshotMetadata`).
#[derive(Clone, PartialEq, prost::Message)]
struct RaftSnapshotMetadata {
    /// The membership.
    #[prost(message, optional, tag = "1")]
    conf_state: Option<RaftConfState>,
    /// The index.
    #[prost(uint64, tag = "2")]
    index: u64,
    /// The term.
    #[prost(uint64, tag = "3")]
    term: u64,
}

/// A membership (`eraftpb.ConfState`).
#[derive(Clone, PartialEq, prost::Message)]
struct RaftConfState {
    /// Who votes.
    #[prost(uint64, repeated, tag = "1")]
    voters: Vec<u64>,
    /// Who only follows.
    #[prost(uint64, repeated, tag = "2")]
    learners: Vec<u64>,
}

const APPEND: i32 = 3;
const APPEND_RESPONSE: i32 = 4;
const REQUEST_VOTE: i32 = 5;
const VOTE_RESPONSE: i32 = 6;
const SNAPSHOT: i32 = 7;
const HEARTBEAT: i32 = 8;
const HEARTBEAT_RESPONSE: i32 = 9;
const TIMEOUT_NOW: i32 = 14;

/// The keys of a node of the network, in wrong hands.
pub struct Impostor {
    raft_id: u64,
    ledger_id: LedgerId,
    key: SigningKey,
    identity: RawIdentity,
}

impl Impostor {
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

    /// A vote for a header, with another root than it has.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn false_root(&self, header: &Header) -> anyhow::Result<Vote> {
        let (ledger_id, height, header_hash) = (self.ledger_id, header.height, header.hash());
        let tree_root = Hash::from_bytes([0x66; 32]);
        let signed = signing_bytes(&self.key.verifying_key(), &ledger_id, height, &header_hash, &tree_root);
        let signature = self.key.sign(&signed)?;
        Ok(Vote { ledger_id, validator: NodeId(self.raft_id), height, header_hash, tree_root, signature })
    }

    /// Tells a node of the network one vote, as its peer.
    ///
    /// # Errors
    /// If it does not listen to this identity.
    pub async fn tell(&self, network: &Network, node: usize, vote: &Vote) -> anyhow::Result<()> {
        self.say(network, node, vec![pb::peer_message::Message::Vote(vote.into())]).await
    }

    /// Tells a node of the network Raft messages.
    ///
    /// # Errors
    /// If it does not listen to this identity.
    pub async fn tell_raft(&self, network: &Network, node: usize, messages: &[RaftMessage]) -> anyhow::Result<()> {
        let to = network.nodes[node].raft_id();
        let raft = messages.iter().map(|message| {
            let message = RaftMessage { from: self.raft_id, to, ..message.clone() };
            pb::peer_message::Message::Raft(message.encode_to_vec().into())
        });
        self.say(network, node, raft.collect()).await
    }

    /// What a usurper could say to a node that is where `status` shows: that it leads, that
    /// something is committed, who votes, that a term has passed.
    #[must_use]
    pub fn lies(&self, status: &pb::GetStatusResponse) -> Vec<RaftMessage> {
        let (index, term, me) = (status.last_index, status.term, self.raft_id);
        let claims = |msg_type, term| {
            let hashed = [APPEND, APPEND_RESPONSE].contains(&msg_type);
            RaftMessage { msg_type, term, context: vec![7; if hashed { 32 } else { 0 }], ..RaftMessage::default() }
        };
        let entry =
            |entry_type, term, data: &[u8]| RaftEntry { entry_type, term, index: index + 1, data: data.to_vec() };
        let append = |claimed, entry| RaftMessage {
            log_term: term,
            index,
            entries: vec![entry],
            commit: index + 1,
            ..claims(APPEND, claimed)
        };
        // ConfChangeV2: AddNode me, RemoveNode 1.
        let capture = [0x12, 0x04, 0x08, 0x00, 0x10, me as u8, 0x12, 0x04, 0x08, 0x01, 0x10, 0x01];
        let membership = RaftConfState { voters: vec![me], learners: (1..=5).filter(|id| *id != me).collect() };
        let metadata = RaftSnapshotMetadata { conf_state: Some(membership), index: index + 1_000, term: term + 3 };
        let snapshot = Some(RaftSnapshot { data: vec![7; 32], metadata: Some(metadata) });
        let candidate = |context: &[u8]| RaftMessage {
            log_term: term,
            index: index + 1_000,
            context: context.to_vec(),
            ..claims(REQUEST_VOTE, term + 5)
        };
        vec![
            claims(HEARTBEAT, term + 1),
            claims(HEARTBEAT, term),
            RaftMessage { commit: index, ..claims(HEARTBEAT, term + 1) },
            append(term + 1, entry(0, term + 1, b"")),
            append(term + 1, entry(0, term, b"planted")),
            append(term, entry(0, term, b"planted")),
            append(term + 2, entry(2, term + 2, &capture)),
            RaftMessage { snapshot, ..claims(SNAPSHOT, term + 3) },
            claims(APPEND_RESPONSE, term + 7),
            claims(HEARTBEAT_RESPONSE, term + 7),
            claims(VOTE_RESPONSE, term + 7),
            candidate(b""),
            candidate(b"CampaignTransfer"),
            candidate(&[7; 80]),
            RaftMessage { context: vec![7; 64], ..claims(TIMEOUT_NOW, term) },
            claims(HEARTBEAT, term + 1_000),
        ]
    }

    /// A mandate for a term with the one grant that these keys can give.
    ///
    /// # Errors
    /// If the key cannot sign, or the validators are not known.
    pub fn own_mandate(&self, validators: &ValidatorSet, term: u64) -> anyhow::Result<pb::Mandate> {
        let mut signed = b"consilium/grant/v1".to_vec();
        signed.extend_from_slice(self.ledger_id.as_bytes());
        [0, term, self.raft_id, 1 << 20, term - 1, 0]
            .iter()
            .for_each(|n: &u64| signed.extend_from_slice(&n.to_be_bytes()));
        // It alone votes: version, no joint change to leave, one voter, three empty lists.
        let mut membership = vec![1, 0, 0, 0, 0, 1];
        membership.extend_from_slice(&self.raft_id.to_be_bytes());
        membership.extend_from_slice(&[0; 12]);
        signed.extend_from_slice(&[7; 32]);
        signed.extend_from_slice(&membership);
        let signature = Bytes::copy_from_slice(&self.key.sign(&signed)?);
        // The same signature in the name of all the others.
        let grant = |seat: &Validator| pb::Grant { validator: seat.id.0, signature: signature.clone() };
        Ok(pb::Mandate {
            term,
            leader: self.raft_id,
            last_index: 1 << 20,
            last_term: term - 1,
            applied: 0,
            membership: membership.into(),
            last_hash: vec![7; 32].into(),
            validators_hash: validators.hash().to_bytes(),
            grants: validators.seats().iter().map(grant).collect(),
        })
    }

    /// Tells a node of the network anything.
    ///
    /// # Errors
    /// If it does not listen to this identity.
    pub async fn say(
        &self,
        network: &Network,
        node: usize,
        messages: Vec<pb::peer_message::Message>,
    ) -> anyhow::Result<()> {
        let messages = messages.into_iter().map(|message| pb::PeerMessage { message: Some(message) }).collect();
        let batch = pb::ExchangeRequest { messages };
        self.exchange(network, node, futures::stream::iter([batch])).await??;
        Ok(())
    }

    /// Opens a stream to a node of the network, says all of it, and waits for its end.
    ///
    /// # Errors
    /// If there is no connection; the inner one is the node's.
    pub async fn exchange(
        &self,
        network: &Network,
        node: usize,
        batches: impl Stream<Item = pb::ExchangeRequest> + Send + 'static,
    ) -> anyhow::Result<Result<(), Status>> {
        let channel = Dial::new(&network.genesis, &self.identity)?.connect(network.nodes[node].peer).await?;
        let mut request = Request::new(batches);
        let metadata = request.metadata_mut();
        metadata.insert("consilium-ledger-id", MetadataValue::try_from(self.ledger_id.to_string())?);
        metadata.insert("consilium-raft-id", MetadataValue::from(self.raft_id));
        let mut client = PeerServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        Ok(client.exchange(request).await.map(drop))
    }
}
