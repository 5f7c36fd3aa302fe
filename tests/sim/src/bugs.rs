//! Known bugs, to be put back one at a time: the test of the simulator itself.
//! Each changes what goes into the replica, what comes out of it, or what its ports
//! do, so that the crates under test have no switch for them.

use crate::swarm::Fault;

/// A bug that a node of this design could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Bug {
    /// The guard is not read after a restart: the node forgets what it voted for.
    SkipVoteGuard,
    /// The writer reports a write before it is synced.
    AckBeforeSync,
    /// A membership is stored with the block after the one that it belongs to.
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
    /// A block with malformed observations counts as no block, on some nodes.
    VoidBlocks,
    /// The cache of the state does not hear of every block.
    StaleCache,
    /// A certificate in a batch with other messages does not arrive.
    CertificateLostInBatch,
    /// Whoever believes to lead answers reads without asking the others.
    ReadOfDeposedLeader,
    /// What clients wait for is not sent again to a new leader.
    LostWithLeadership,
    /// The leader's queue has no limits.
    UnboundedQueue,
    /// Nobody compares the time of a block with his clock.
    TimeUnchecked,
    /// A ledger is rebuilt up to all that the own log held, and nobody votes meanwhile.
    RepairWaitsForItself,
    /// Whoever speaks as a leader is taken for one.
    GrantsUnchecked,
    /// What the leader says is committed is taken for it.
    CommitFromLeader,
    /// An entry is acknowledged by index and term: nobody looks which one it is.
    ChainUnchecked,
    /// A membership comes into force whether or not the elections ask for it.
    MembershipUnchecked,
    /// Attachments that are missing are not noted, and so not looked for.
    MissingForgotten,
    /// Attachments that were missing and are found come into no index.
    FoundUnindexed,
    /// A transaction by which a member protects itself is watched over by the node alone that
    /// it was handed to.
    RightsUnwatched,
    /// As far as the log has ever gone it must go at every later start, committed or not.
    WatermarkOfTheEnd,
    /// Contents are handed out once a request is executed, before its block is certified.
    ReleaseAtOrdered,
    /// Who reads records of its own hospital is given them without an event.
    OwnStaffUnlogged,
    /// The cache keeps a patient's consents for as long as the process runs.
    StaleConsents,
    /// Where a wrap is added an emergency never ends.
    WrapOfEndedEmergency,
    /// Who discloses confirms it, too.
    OnePersonDiscloses,
    /// The event of a disclosure is counted in the log, and stored nowhere.
    DisclosureUnlogged,
    /// The event of an emergency's declaration is counted in the log, and stored nowhere.
    EmergencyUnlogged,
    /// An event names the unit in which its reader was first seen.
    StaleUnits,
    /// A deputy answers ordinary requests, too.
    DeputyForAll,
    /// A permit by label opens what is labelled under a salt that it does not know.
    PermitOfUnknownLabel,
    /// A denial by label does not close that.
    DenialOfKnownLabel,
    /// What a hospital that has left had accepted counts no more.
    AcceptedUntilLeft,
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
            Self::DistrustForever => {
                &[Fault::Loss, Fault::Delay, Fault::PowerCut, Fault::Compaction, Fault::Partition, Fault::OneWay]
            }
            Self::LateConfChange => &[Fault::PowerCut, Fault::Kill, Fault::Nodes],
            Self::VoidBlocks => &[Fault::Garble],
            Self::StaleCache => &[Fault::Kill, Fault::Stake, Fault::Nodes],
            Self::CertificateLostInBatch => &[Fault::Loss, Fault::Partition, Fault::OneWay],
            Self::ReadOfDeposedLeader => &[Fault::Partition, Fault::OneWay],
            Self::LostWithLeadership => &[Fault::Partition, Fault::OneWay, Fault::Kill],
            Self::UnboundedQueue => &[Fault::Overload],
            Self::TimeUnchecked => &[Fault::LieTime],
            Self::RepairWaitsForItself => &[Fault::Unreadable],
            Self::GrantsUnchecked => &[Fault::Usurp],
            Self::CommitFromLeader => &[Fault::FalseCommit],
            Self::ChainUnchecked => &[Fault::Equivocate],
            Self::MembershipUnchecked => &[Fault::Capture, Fault::Kill],
            Self::MissingForgotten | Self::FoundUnindexed => &[Fault::LoseAttachments],
            Self::RightsUnwatched => &[Fault::WithholdRights],
            Self::WatermarkOfTheEnd => &[Fault::CrashPoint, Fault::Partition, Fault::Overload],
            Self::StaleConsents => &[Fault::Kill],
            Self::WrapOfEndedEmergency => &[Fault::Leap],
            Self::AcceptedUntilLeft => &[Fault::Removal],
            Self::CountHeads
            | Self::VotePastBoundary
            | Self::NewSetEarly
            | Self::ReleaseAtOrdered
            | Self::OwnStaffUnlogged
            | Self::OnePersonDiscloses
            | Self::DisclosureUnlogged
            | Self::EmergencyUnlogged
            | Self::StaleUnits
            | Self::DeputyForAll
            | Self::PermitOfUnknownLabel
            | Self::DenialOfKnownLabel => &[],
        }
    }

    /// Whether it shows in few of many deeds, whatever fails.
    #[must_use]
    pub fn wants_deeds(self) -> bool {
        matches!(self, Self::PermitOfUnknownLabel | Self::DenialOfKnownLabel)
    }

    /// All of them.
    pub const ALL: [Self; 40] = [
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
        Self::VoidBlocks,
        Self::StaleCache,
        Self::CertificateLostInBatch,
        Self::ReadOfDeposedLeader,
        Self::LostWithLeadership,
        Self::UnboundedQueue,
        Self::TimeUnchecked,
        Self::RepairWaitsForItself,
        Self::GrantsUnchecked,
        Self::CommitFromLeader,
        Self::ChainUnchecked,
        Self::MembershipUnchecked,
        Self::MissingForgotten,
        Self::FoundUnindexed,
        Self::RightsUnwatched,
        Self::WatermarkOfTheEnd,
        Self::ReleaseAtOrdered,
        Self::OwnStaffUnlogged,
        Self::StaleConsents,
        Self::WrapOfEndedEmergency,
        Self::OnePersonDiscloses,
        Self::DisclosureUnlogged,
        Self::EmergencyUnlogged,
        Self::StaleUnits,
        Self::DeputyForAll,
        Self::PermitOfUnknownLabel,
        Self::DenialOfKnownLabel,
        Self::AcceptedUntilLeft,
    ];
}
