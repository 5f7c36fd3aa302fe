//! Known bugs, to be put back one at a time: the test of the simulator itself.
//! Each lives in the simulator's wiring of a node, so that the crates under
//! test have no switch for them.

use crate::swarm::Fault;

/// A bug that a node of this design could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Bug {
    /// The guard is not read after a restart: the node forgets what it voted for.
    SkipVoteGuard,
    /// The writer reports a write before it is synced.
    AckBeforeSync,
    /// A membership change comes into force after the entries behind it.
    LateConfChange,
    /// A certificate needs two thirds of the validators, not of their power.
    CountHeads,
    /// The sender of a Raft message is believed to be whom it says it is.
    StrangerMessage,
    /// A node with a wiped disk goes on under its old raft id.
    ReuseRaftId,
    /// A node votes above an epoch boundary that is not certified.
    VotePastBoundary,
    /// The next validators certify the boundary itself.
    NewSetEarly,
    /// Raft's membership is stored apart from the applied index that it belongs to.
    MembershipApart,
    /// The log is replaced before the blocks that it is replaced by are durable.
    LogBeforeLedger,
    /// A retired node is refused although the boundary still needs its vote.
    RetiredAtOnce,
    /// A leader that is distrusted is so for the rest of its term.
    DistrustForever,
}

impl Bug {
    /// Faults without which it cannot show. Runs with the bug always have them.
    #[must_use]
    pub fn needs(self) -> &'static [Fault] {
        match self {
            Self::SkipVoteGuard => &[Fault::Kill],
            Self::AckBeforeSync => &[Fault::PowerCut, Fault::SlowDisk],
            Self::StrangerMessage => &[Fault::HostileRaft],
            Self::ReuseRaftId => &[Fault::Wipe],
            Self::MembershipApart => &[Fault::PowerCut, Fault::Nodes],
            Self::LogBeforeLedger => &[Fault::PowerCut, Fault::Compaction, Fault::Partition],
            Self::RetiredAtOnce => &[Fault::Nodes, Fault::Wipe, Fault::PowerCut],
            Self::DistrustForever => &[Fault::Loss, Fault::Delay, Fault::PowerCut, Fault::Compaction, Fault::Partition],
            Self::LateConfChange | Self::CountHeads | Self::VotePastBoundary | Self::NewSetEarly => &[],
        }
    }

    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::SkipVoteGuard,
        Self::AckBeforeSync,
        Self::LateConfChange,
        Self::CountHeads,
        Self::StrangerMessage,
        Self::ReuseRaftId,
        Self::VotePastBoundary,
        Self::NewSetEarly,
        Self::MembershipApart,
        Self::LogBeforeLedger,
        Self::RetiredAtOnce,
        Self::DistrustForever,
    ];
}
