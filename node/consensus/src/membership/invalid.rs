//! What can be wrong with a membership.

use crate::ids::RaftId;

/// Nodes in one configuration, all roles together.
pub(crate) const MEMBERS_MAX: usize = 1024;

/// Which rule a membership breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipInvalid {
    /// Nobody could ever commit anything.
    #[error("no voters")]
    NoVoters,
    /// A learner that also votes.
    #[error("node {id} is learner and voter")]
    LearnerVotes {
        /// The node.
        id: RaftId,
    },
    /// A future learner that is not an outgoing voter, or stays a voter.
    #[error("node {id} cannot become a learner")]
    LearnerNext {
        /// The node.
        id: RaftId,
    },
    /// Joint attributes on a configuration that is not joint.
    #[error("auto-leave outside of a joint configuration")]
    NotJoint,
    /// More nodes than [`Membership`] may hold.
    #[error("{count} nodes exceed the limit of {MEMBERS_MAX}")]
    TooMany {
        /// Nodes counted.
        count: usize,
    },
}
