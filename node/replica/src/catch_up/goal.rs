//! What catching up is to reach, and from whom.

use consilium_consensus::IncomingSnapshot;
use consilium_proto::ids::{Height, NodeId};

use super::CertifiedBlock;
use crate::io::Applied;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A state that the leader offers, to go on with its log from there.
    Offer(IncomingSnapshot),
    /// A block that is certified, whatever the own log has in its place.
    Certified {
        /// Who is asked.
        from: NodeId,
        /// Its height.
        height: Height,
    },
}

impl Goal {
    pub(crate) fn from(&self) -> NodeId {
        match self {
            Self::Offer(offer) => NodeId(offer.from.get()),
            Self::Certified { from, .. } => *from,
        }
    }

    pub(crate) fn is_reached(&self, applied: Applied) -> bool {
        match self {
            Self::Offer(offer) => applied.index >= offer.meta.index,
            Self::Certified { height, .. } => applied.height >= *height,
        }
    }

    /// Whether a block is behind what was offered: the log goes on from there.
    pub(crate) fn is_passed(&self, block: &CertifiedBlock) -> bool {
        match self {
            Self::Offer(offer) => block.position.index > offer.meta.index,
            Self::Certified { .. } => false,
        }
    }
}
