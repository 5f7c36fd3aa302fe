//! What happened, for the log of a node. Facts only, never the content of a record. What stays
//! until it is cleared is an [alarm](crate::alarm).

use std::fmt;

use consilium_consensus::{LogIndex, LogPosition, Membership, MembershipChange, RaftId, Role, SealedPosition, Term};
use consilium_proto::ids::{Height, NodeId, TransactionId};

/// How loud a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For those who look for something.
    Debug,
    /// Part of a normal life.
    Info,
    /// Worth a look.
    Warning,
    /// Wrong, though the node goes on.
    Error,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Leader, term or role changed.
    Leadership {
        /// The leader, if one is known.
        leader: Option<RaftId>,
        /// The term.
        term: Term,
        /// This node's role.
        role: Role,
    },
    /// A Raft message was refused: it is not one that an honest peer sends.
    RaftRejected {
        /// The peer.
        peer: NodeId,
        /// Why.
        reject: String,
    },
    /// A peer showed a mandate that proves nothing here.
    MandateRefused {
        /// The peer.
        peer: NodeId,
        /// Why.
        problem: consilium_consensus::MandateError,
    },
    /// A Raft message was of no use.
    RaftIgnored {
        /// The peer.
        peer: NodeId,
        /// Why.
        problem: String,
    },
    /// A peer sent what is none of its own.
    ForeignVote {
        /// The peer.
        peer: NodeId,
        /// Whose vote it claims to be.
        validator: NodeId,
    },
    /// A block was proposed.
    Proposed {
        /// Its place in the log.
        index: LogIndex,
        /// How many transactions are in it.
        transactions: usize,
    },
    /// A block was not taken by Raft; its transactions went back to the queue.
    NotProposed(String),
    /// A membership change was proposed.
    MembershipProposed(Vec<MembershipChange>),
    /// It was not taken.
    MembershipNotProposed(String),
    /// A membership came into force.
    MembershipChanged {
        /// The entry.
        index: LogIndex,
        /// From here on.
        membership: Box<Membership>,
    },
    /// A membership entry that does not fit.
    MembershipRefused(String),
    /// Leadership is being handed over.
    HandingOver(RaftId),
    /// Because this node's turn is over.
    Rotating(RaftId),
    /// Because this node's log is slower than those of the others.
    LogIsSlow(RaftId),
    /// It cannot be.
    NotHandedOver(String),
    /// This node waits for another leader.
    LeaderDistrusted(RaftId),
    /// A transaction by which a member protects itself came into no block in time.
    RightLeftOut {
        /// The leader, which had it.
        leader: NodeId,
        /// The transaction.
        transaction: TransactionId,
    },
    /// And listens to it again.
    LeaderTrusted,
    /// A log entry is no block: the leader is faulty.
    EntryIsNoBlock(LogIndex),
    /// The log is being cut.
    CompactionNotTaken(String),
    /// This node catches up by certified blocks.
    CatchingUp {
        /// From whom.
        from: RaftId,
        /// Up to here.
        index: LogIndex,
    },
    /// It has.
    CaughtUp(LogIndex),
    /// It has not; it will be tried again.
    NotCaughtUp(String),
    /// A state cannot be offered to followers that need one.
    SnapshotNotOffered(String),
    /// Others have told what this node promised before it started.
    Recalled {
        /// So many others.
        answers: usize,
        /// The vote that the guard had lost.
        vote: Option<Height>,
        /// How far the log must reach before this node votes and grants.
        owed: Option<LogPosition>,
    },
    /// A leader has sealed two entries for one place of the log.
    SplitProven(Box<[SealedPosition; 2]>),
    /// Missing attachments came from a peer.
    AttachmentsFound {
        /// The peer.
        peer: NodeId,
        /// How many.
        count: usize,
    },
    /// What a peer gave for an attachment is not what its block commits to.
    AttachmentRefused {
        /// The peer.
        peer: NodeId,
        /// The block.
        height: Height,
    },
    /// Attachments of a block are not on this disk any more, or are not what they were.
    AttachmentsLost {
        /// The block.
        height: Height,
        /// How many.
        count: usize,
    },
    /// A vote was refused.
    VoteRefused {
        /// Whose it claims to be.
        validator: NodeId,
        /// Its height.
        height: Height,
        /// Why.
        problem: String,
    },
    /// What a peer signs is dropped: it sends more than any honest node, or forgeries.
    PeerRationed(NodeId),
    /// A vote is held back: the block's time is ahead of the clock.
    VoteWithheld {
        /// The block.
        height: Height,
        /// How far ahead.
        ahead_ms: u64,
    },
}

impl Notice {
    /// How loud it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::RaftIgnored { .. }
            | Self::Proposed { .. }
            | Self::NotProposed(_)
            | Self::SnapshotNotOffered(_)
            | Self::LeaderTrusted => Severity::Debug,
            Self::Leadership { .. }
            | Self::MembershipProposed(_)
            | Self::MembershipChanged { .. }
            | Self::HandingOver(_)
            | Self::Rotating(_)
            | Self::LogIsSlow(_)
            | Self::CatchingUp { .. }
            | Self::CaughtUp(_)
            | Self::AttachmentsFound { .. } => Severity::Info,
            Self::Recalled { vote: None, owed: None, .. } => Severity::Info,
            Self::Recalled { .. } => Severity::Warning,
            Self::RaftRejected { .. }
            | Self::MandateRefused { .. }
            | Self::ForeignVote { .. }
            | Self::MembershipNotProposed(_)
            | Self::MembershipRefused(_)
            | Self::NotHandedOver(_)
            | Self::LeaderDistrusted(_)
            | Self::RightLeftOut { .. }
            | Self::CompactionNotTaken(_)
            | Self::NotCaughtUp(_)
            | Self::AttachmentRefused { .. }
            | Self::AttachmentsLost { .. }
            | Self::VoteRefused { .. }
            | Self::PeerRationed(_)
            | Self::VoteWithheld { .. } => Severity::Warning,
            Self::EntryIsNoBlock(_) | Self::SplitProven(_) => Severity::Error,
        }
    }
}

impl Notice {
    /// The metric that counts its kind, if one does.
    #[must_use]
    pub fn counter(&self) -> Option<&'static str> {
        match self {
            Self::RaftRejected { .. } => Some("consilium_raft_rejected_total"),
            Self::VoteRefused { .. } => Some("consilium_votes_refused_total"),
            Self::RightLeftOut { .. } => Some("consilium_rights_left_out_total"),
            Self::PeerRationed(_) => Some("consilium_peers_rationed_total"),
            Self::Leadership { .. }
            | Self::RaftIgnored { .. }
            | Self::MandateRefused { .. }
            | Self::ForeignVote { .. }
            | Self::Proposed { .. }
            | Self::NotProposed(_)
            | Self::MembershipProposed(_)
            | Self::MembershipNotProposed(_)
            | Self::MembershipChanged { .. }
            | Self::MembershipRefused(_)
            | Self::HandingOver(_)
            | Self::Rotating(_)
            | Self::LogIsSlow(_)
            | Self::NotHandedOver(_)
            | Self::LeaderDistrusted(_)
            | Self::LeaderTrusted
            | Self::EntryIsNoBlock(_)
            | Self::CompactionNotTaken(_)
            | Self::CatchingUp { .. }
            | Self::CaughtUp(_)
            | Self::NotCaughtUp(_)
            | Self::SnapshotNotOffered(_)
            | Self::Recalled { .. }
            | Self::SplitProven(_)
            | Self::AttachmentsFound { .. }
            | Self::AttachmentRefused { .. }
            | Self::AttachmentsLost { .. }
            | Self::VoteWithheld { .. } => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leadership { leader, term, role } => tell_leadership(f, *leader, *term, *role),
            Self::RaftRejected { peer, reject } => write!(f, "raft message of node {peer} rejected: {reject}"),
            Self::MandateRefused { peer, problem } => write!(f, "mandate shown by node {peer}: {problem}"),
            Self::RaftIgnored { peer, problem } => write!(f, "raft message of node {peer} ignored: {problem}"),
            Self::ForeignVote { peer, validator } => {
                write!(f, "node {peer} sent a vote of node {validator} as its own")
            }
            Self::Proposed { index, transactions } => write!(f, "proposed {transactions} transactions at {index}"),
            Self::NotProposed(why) => write!(f, "proposal not taken: {why}"),
            Self::MembershipProposed(changes) => write!(f, "changing the membership: {changes:?}"),
            Self::MembershipNotProposed(why) => write!(f, "membership change not proposed: {why}"),
            Self::MembershipChanged { index, membership } => {
                write!(f, "membership in force from {index} on: {membership:?}")
            }
            Self::MembershipRefused(why) => write!(f, "membership change refused: {why}"),
            Self::HandingOver(to) => write!(f, "handing leadership over to node {to}"),
            Self::Rotating(to) => write!(f, "the turn is over: handing leadership over to node {to}"),
            Self::LogIsSlow(to) => {
                write!(f, "the log is slower here than at others: handing leadership over to node {to}")
            }
            Self::NotHandedOver(why) => write!(f, "leadership not handed over: {why}"),
            Self::LeaderDistrusted(leader) => {
                write!(f, "node {leader} is not followed any more: waiting for another leader")
            }
            Self::RightLeftOut { leader, transaction } => tell_left_out(f, *leader, transaction),
            Self::LeaderTrusted => write!(f, "listening to the leader again"),
            Self::EntryIsNoBlock(index) => write!(f, "log entry {index} is no block: the leader is faulty"),
            Self::CompactionNotTaken(why) => write!(f, "compaction was not taken: {why}"),
            Self::CatchingUp { from, index } => {
                write!(f, "catching up by certified blocks of node {from}, up to {index}")
            }
            Self::CaughtUp(index) => write!(f, "caught up by certified blocks, up to {index}"),
            Self::NotCaughtUp(why) => write!(f, "catching up failed, it will be offered again: {why}"),
            Self::SnapshotNotOffered(why) => write!(f, "snapshot not offered: {why}"),
            Self::Recalled { answers, vote, owed } => tell_recalled(f, *answers, *vote, *owed),
            Self::SplitProven(proof) => tell_proof(f, proof),
            Self::AttachmentsFound { peer, count } => write!(f, "node {peer} gave {count} missing attachments"),
            Self::AttachmentRefused { peer, height } => {
                write!(f, "what node {peer} gave for an attachment of block {height} is not what that commits to")
            }
            Self::AttachmentsLost { height, count } => {
                write!(f, "{count} attachments of block {height} are not on this disk as they were stored")
            }
            Self::VoteRefused { validator, height, problem } => {
                write!(f, "vote of node {validator} at height {height} refused: {problem}")
            }
            Self::PeerRationed(peer) => write!(
                f,
                "node {peer} sends more votes and certificates than any honest node, or forged ones: what is beyond its \
                 ration is dropped, and its part in the log goes on"
            ),
            Self::VoteWithheld { height, ahead_ms } => {
                write!(
                    f,
                    "withholding a vote at height {height}: the block is {ahead_ms} ms ahead of this node's clock"
                )
            }
        }
    }
}

fn tell_leadership(f: &mut fmt::Formatter<'_>, leader: Option<RaftId>, term: Term, role: Role) -> fmt::Result {
    match leader {
        Some(leader) => write!(f, "leadership: node {leader} leads in term {term}, this node is {role:?}"),
        None => write!(f, "leadership: no leader is known in term {term}, this node is {role:?}"),
    }
}

fn tell_left_out(f: &mut fmt::Formatter<'_>, leader: NodeId, transaction: &TransactionId) -> fmt::Result {
    write!(
        f,
        "node {leader} leads, was given transaction {transaction}, by which a member protects itself, and has put it \
         into no block"
    )
}

fn tell_proof(f: &mut fmt::Formatter<'_>, proof: &[SealedPosition; 2]) -> fmt::Result {
    let [SealedPosition { position, seal }, _] = proof;
    write!(f, "node {} has signed two entries of term {} for index {}:", seal.leader, position.term, position.index)?;
    for SealedPosition { position, seal } in proof {
        write!(f, " {} by ", position.hash)?;
        seal.signature.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
    }
    Ok(())
}

fn tell_recalled(
    f: &mut fmt::Formatter<'_>,
    answers: usize,
    vote: Option<Height>,
    owed: Option<LogPosition>,
) -> fmt::Result {
    write!(f, "{answers} others have told what they hold of this node")?;
    if let Some(height) = vote {
        write!(f, "; its guard had lost a vote for height {height}, and has it again")?;
    }
    let Some(LogPosition { index, .. }) = owed else { return Ok(()) };
    write!(
        f,
        "; its log had lost what it acknowledged up to {index}: it neither votes nor grants before it is there again"
    )
}
