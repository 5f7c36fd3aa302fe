//! What certifying is to know, on its way to voting: bounded in number and in bytes, as
//! far as it comes from peers.

use std::collections::{BTreeMap, VecDeque};

use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{CertifiedHeader, Vote};

/// What peers said and nobody had time for; beyond it, they will say it again.
const INPUTS_MAX: usize = 65_536;
/// Bytes of it, as far as it came from peers.
const INPUTS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What certifying is to know.
pub(crate) enum CertifyInput {
    /// This node executed a block.
    Executed {
        /// Its header.
        header: Box<Header>,
        /// Not on blocks taken over as certified.
        votable: bool,
        /// If it ends an epoch.
        next_set: Option<ValidatorSet>,
    },
    /// Nodes or parameters have changed.
    Nodes {
        /// Vote keys of all nodes.
        keys: BTreeMap<NodeId, VerifyingKey>,
        /// The ledger's tolerance of block times.
        clock_skew_max_ms: u64,
    },
    /// A vote: the peer's own, or one passed on.
    Vote {
        /// The peer.
        from: NodeId,
        /// The vote.
        vote: Vote,
    },
    /// A certified header of a peer, or of blocks that were taken over.
    Certificate(Box<CertifiedHeader>),
    /// A peer lacks certificates.
    UncertifiedFrom {
        /// The peer.
        peer: NodeId,
        /// From here on.
        height: Height,
    },
}

impl CertifyInput {
    /// Bytes that it takes, if it is of a peer.
    fn bytes(&self) -> usize {
        match self {
            Self::Executed { .. } | Self::Nodes { .. } => 0,
            Self::Vote { .. } | Self::UncertifiedFrom { .. } => size_of::<Self>(),
            Self::Certificate(certified) => size_of::<Self>() + certified_bytes(certified),
        }
    }
}

/// Bytes that a certified header takes in memory, roughly.
fn certified_bytes(certified: &CertifiedHeader) -> usize {
    size_of::<CertifiedHeader>() + 2 * size_of::<(NodeId, [u8; 64])>() * certified.certificate.signatures().count()
}

/// See the module.
#[derive(Default)]
pub(super) struct Inbox {
    inputs: VecDeque<CertifyInput>,
    /// Of those that are of peers.
    bytes: usize,
}

impl Inbox {
    /// Takes an input. What peers say is dropped while too much waits: they repeat it.
    pub(super) fn push(&mut self, input: CertifyInput) {
        let bytes = input.bytes();
        let fits = self.inputs.len() < INPUTS_MAX && self.bytes + bytes <= INPUTS_BYTES_MAX;
        if bytes == 0 || fits {
            self.bytes += bytes;
            self.inputs.push_back(input);
        }
    }

    pub(super) fn pop(&mut self) -> Option<CertifyInput> {
        let input = self.inputs.pop_front()?;
        self.bytes -= input.bytes();
        Some(input)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }
}

#[cfg(test)]
mod tests;
