//! What a leader that lies must remember: which other log it told whom, so that its hashes
//! fit, and what it is told in return.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_consensus::{LogHash, LogPosition, RaftId, Seal, Signer};
use consilium_proto::ids::NodeId;

use crate::raft_wire::{Links, acknowledged, sealed, with_hash};

/// A hash as it was told, and the traitor's own at that index.
#[derive(Clone, Copy, Debug)]
struct Pair {
    told: LogHash,
    own: LogHash,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Forks {
    told: BTreeMap<NodeId, BTreeMap<u64, Pair>>,
}

impl Forks {
    /// An append as it goes out, with the hash that its receiver has at its index. `own` is
    /// what the traitor's honest code says.
    #[must_use]
    pub fn told(&mut self, signer: &Signer, (from, to): (NodeId, NodeId), own: &[u8], other: Bytes) -> Bytes {
        let (Some(from_own), Some(from_other)) = (Links::of_append(own), Links::of_append(&other)) else {
            return other;
        };
        let pairs = self.told.entry(to).or_default();
        let known = pairs.get(&from_own.index).filter(|pair| pair.own == from_own.before);
        let before = known.map_or(from_own.before, |pair| pair.told);
        let own = from_own.behind(from_own.before);
        for ((index, own), (_, told)) in own.zip(from_other.behind(before)) {
            pairs.insert(index, Pair { told, own });
        }
        let seal = |position: &LogPosition| Seal::sign(signer, RaftId::new(from.0)?, position);
        let told = with_hash(&other, &before).and_then(|told| sealed(&told, before, seal));
        told.unwrap_or(other)
    }

    /// An acknowledgement of the traitor's honest code, of what its receiver was told instead.
    #[must_use]
    pub fn acknowledged(&self, to: NodeId, message: Bytes) -> Bytes {
        let pair = acknowledged(&message).and_then(|(index, hash)| {
            let pair = self.told.get(&to)?.get(&index)?;
            (pair.own == hash).then_some(pair)
        });
        pair.and_then(|pair| with_hash(&message, &pair.told)).unwrap_or(message)
    }

    /// An acknowledgement as the traitor's honest code would have it.
    #[must_use]
    pub fn heard(&self, from: NodeId, message: Bytes) -> Bytes {
        let pair = acknowledged(&message).and_then(|(index, hash)| {
            let pair = self.told.get(&from)?.get(&index)?;
            (pair.told == hash).then_some(pair)
        });
        pair.and_then(|pair| with_hash(&message, &pair.own)).unwrap_or(message)
    }
}
