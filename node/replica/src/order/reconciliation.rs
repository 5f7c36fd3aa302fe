//! What a leader does so that Raft's voters become the elected validators.

use std::fmt;

use consilium_consensus::reconcile::WaitReason;
use consilium_consensus::{MembershipChange, RaftId};

/// What a leader does about Raft's voters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciliation {
    /// They are the elected ones.
    Settled,
    /// The last block of the epoch before is not certified yet; nobody moves.
    AwaitingBoundary,
    /// The next step must wait.
    Waiting(WaitReason),
    /// The leader is not elected.
    HandingOver(RaftId),
    /// A change is under way.
    Proposed(Vec<MembershipChange>),
}

impl fmt::Display for Reconciliation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("settled"),
            Self::AwaitingBoundary => {
                f.write_str("waiting for the certificate of the header that ended the last epoch")
            }
            Self::Waiting(reason) => write!(f, "waiting: {reason}"),
            Self::HandingOver(to) => write!(f, "handing leadership to node {to}, which is elected"),
            Self::Proposed(changes) => write!(f, "proposed: {changes:?}"),
        }
    }
}
