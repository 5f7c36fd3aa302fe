//! A chain of headers that nobody executed: it fits together and can be
//! certified, and says nothing about any state. For tests of those who check
//! blocks before they execute them.

use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, HeaderHash, Height, LedgerId, NodeId, TimeMs, VotingPower};
use consilium_proto::pb;
use consilium_proto::validators::{Quorum, Validator, ValidatorSet};
use consilium_proto::vote::{BlockCertificate, Vote};

use crate::keys;

/// The newest header of a chain.
#[derive(Clone, Debug)]
pub struct Chain(pub Header);

/// Validators of equal power that vote with [`keys::vote`] of their ids.
#[must_use]
pub fn validators(nodes: &[u64]) -> ValidatorSet {
    let seat = |id: &u64| Validator { id: NodeId(*id), key: keys::vote(*id).verifying_key(), power: VotingPower(1) };
    ValidatorSet::new(nodes.iter().map(seat).collect(), Quorum::new(2, 3).unwrap()).unwrap()
}

/// A certificate with the signatures of these nodes.
#[must_use]
pub fn certificate(header: &Header, nodes: &[u64]) -> BlockCertificate {
    let vote = |id: &u64| (NodeId(*id), Vote::sign(NodeId(*id), header, &keys::vote(*id)).unwrap().signature);
    BlockCertificate::new(header.height, header.hash(), nodes.iter().map(vote).collect())
}

/// A block without transactions as a peer gives it. Its place in the log is its
/// height.
#[must_use]
pub fn fetched(header: &Header, certificate: Option<&BlockCertificate>) -> pb::FetchBlocksResponse {
    pb::FetchBlocksResponse {
        block: Some(pb::Block { header: Some(header.into()), ..pb::Block::default() }),
        raft_index: header.height.0,
        raft_term: 1,
        raft_hash: vec![0; 32].into(),
        certificate: certificate.map(Into::into),
        ..pb::FetchBlocksResponse::default()
    }
}

impl Chain {
    /// A genesis whose next block these nodes certify.
    #[must_use]
    pub fn new(nodes: &[u64]) -> Self {
        let hash = validators(nodes).hash();
        Self(Header {
            ledger_id: LedgerId::from_bytes([7; 32]),
            height: Height::GENESIS,
            previous_hash: HeaderHash::from_bytes([0; 32]),
            time: TimeMs(0),
            epoch: Epoch(0),
            tree_size: 0,
            tree_root: Hash::from_bytes([1; 32]),
            state_root: Hash::from_bytes([2; 32]),
            validators_hash: hash,
            next_validators_hash: hash,
            proposer: NodeId(1),
            log_hash: Hash::from_bytes([0; 32]),
        })
    }

    /// The next header.
    pub fn append(&mut self) -> Header {
        let parent = &self.0;
        self.0 = Header {
            height: parent.height.next(),
            previous_hash: parent.hash(),
            time: TimeMs(parent.time.0 + 1),
            validators_hash: parent.next_validators_hash,
            ..parent.clone()
        };
        self.0.clone()
    }

    /// The next header, which ends its epoch: these nodes certify what follows.
    pub fn boundary(&mut self, next: &[u64]) -> Header {
        self.append();
        self.0.next_validators_hash = validators(next).hash();
        self.0.clone()
    }
}
