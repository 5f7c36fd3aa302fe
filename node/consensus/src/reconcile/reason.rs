//! Why a leader takes no step now: for the operator who asks, with the arithmetic.

use std::fmt;

use crate::ids::RaftId;

/// How many of a set of voters are alive and caught up now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Voters that are alive and caught up, the leader included.
    pub available: usize,
    /// Voters in the set.
    pub voters: usize,
}

impl Tally {
    /// Voters that make a majority.
    pub fn needed(&self) -> usize {
        self.voters / 2 + 1
    }

    /// Whether the available ones are enough.
    pub fn is_majority(&self) -> bool {
        self.available >= self.needed()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} voters available, {} needed", self.available, self.voters, self.needed())
    }
}

/// Why nothing is done now. Displays as a sentence for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitReason {
    /// Only the leader moves the configuration.
    #[error("not the leader")]
    NotLeader,
    /// Leadership is on its way to another node.
    #[error("leadership is being handed to {to}")]
    HandingOver {
        /// The next leader.
        to: RaftId,
    },
    /// A joint configuration is in force and will be left.
    #[error("the group is between two configurations")]
    Joint,
    /// A change is proposed and not applied, or may be.
    #[error("a membership change is under way")]
    ChangePending,
    /// No step could lead to an empty set of voters.
    #[error("nobody is elected")]
    NobodyElected,
    /// No change would be committed now.
    #[error("no quorum: {present}")]
    NoQuorum {
        /// The voters in force.
        present: Tally,
    },
    /// A node is not elected, and without its vote there would be no majority.
    #[error("no quorum without the vote of {demoted}: {after}")]
    NoQuorumAfter {
        /// The node that keeps its vote for now.
        demoted: RaftId,
        /// The voters without it.
        after: Tally,
    },
    /// An elected learner does not answer.
    #[error("elected node {id} has not answered{}", since(.ticks))]
    Silent {
        /// The learner.
        id: RaftId,
        /// Ticks since it last answered this leader, if it ever did.
        ticks: Option<u64>,
    },
    /// An elected learner is still fetching the log.
    #[error("elected node {id} is {entries} entries behind, {entries_max} are allowed")]
    Behind {
        /// The learner.
        id: RaftId,
        /// Entries between its log and the commit.
        entries: u64,
        /// The limit.
        entries_max: u64,
    },
    /// This leader is not elected, and no elected voter is fit to take over.
    #[error("no elected voter is fit to take over leadership")]
    NoSuccessor,
    /// The configuration holds as many nodes as it may.
    #[error("the configuration is full")]
    Full,
}

fn since(ticks: &Option<u64>) -> String {
    ticks.map_or_else(|| " yet".to_owned(), |ticks| format!(" for {ticks} ticks"))
}
