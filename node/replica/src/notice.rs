//! What operators may want to know: alarms, which stay until they are cleared,
//! and notices for the log. Facts only, never the content of a record.

use std::fmt;

use consilium_consensus::{LogIndex, LogPosition, Membership, MembershipChange, RaftId, Role, SealedPosition, Term};
use consilium_proto::ids::{HeaderHash, Height, NodeId, TransactionId};
use consilium_proto::vote::Equivocation;

use crate::clocks::Skew;

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// Blocks are executed and not certified.
    CertificatesStalled {
        /// The newest executed height.
        applied: Height,
        /// The newest certified one.
        certified: Height,
    },
    /// This node was replaced or taken out.
    NodeRetired(NodeId),
    /// This node's state is not what is certified.
    StateDiverged {
        /// First height known to differ.
        height: Height,
        /// What this node computed.
        own: HeaderHash,
        /// What is certified.
        certified: HeaderHash,
    },
    /// A node signed two headers of one height.
    Equivocation(Box<Equivocation>),
    /// This node's clock is off.
    ClockApart(Skew),
    /// Nodes are elected, and Raft does not count their votes.
    SeatsWithoutVote(Vec<NodeId>),
    /// Nobody leads, or what is proposed is not acknowledged: nothing is written.
    NoQuorum {
        /// Validators that say nothing to this node.
        unheard: Vec<NodeId>,
        /// Their share of the voting power, in percent.
        percent: u128,
    },
    /// Two entries of one term stand at one index of the log.
    LogSplit(Split),
    /// Attachments that blocks commit to are not here, and no peer gave them.
    AttachmentsMissing {
        /// How many.
        count: usize,
        /// There may be more: it was counted no further.
        at_least: bool,
        /// For so long they are looked for.
        seconds: u64,
    },
    /// Most of the newest writes to this node's log took long.
    SlowLog(SlowLog),
}

/// How slow this node's log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowLog {
    /// Writes that took long.
    pub slow: usize,
    /// Of so many.
    pub writes: usize,
    /// The longest of them.
    pub longest_ms: u64,
}

/// Where a log is split, as far as this node sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The index.
    pub index: LogIndex,
    /// The term of both entries.
    pub term: Term,
    /// Who has another entry there than this node.
    pub peer: NodeId,
    /// Who led that term, if that is known.
    pub leader: Option<NodeId>,
    /// Both entries, if the leader's seal under each is here.
    pub proof: Option<Box<[SealedPosition; 2]>>,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, term, peer, leader, proof } = self;
        write!(f, "two entries of term {term} stand at index {index} of the log, one here and one at node {peer}: ")?;
        match (leader, proof) {
            (Some(leader), Some(proof)) => {
                let [one, two] = proof.map(|sealed| sealed.position.hash);
                write!(f, "node {leader}, which led that term, has signed both, {one} and {two}")?;
            }
            (Some(leader), None) => {
                write!(
                    f,
                    "node {leader}, which leads that term, has given out both, or node {peer} says what is not so"
                )?;
            }
            (None, _) => {
                write!(f, "whoever led that term has given out both, or node {peer} says what is not so")?;
            }
        }
        f.write_str("; see docs/operations.md, \"A log that is split\"")
    }
}

/// Names of alarms, stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmName {
    /// [`Alarm::CertificatesStalled`].
    CertificatesStalled,
    /// [`Alarm::NodeRetired`].
    NodeRetired,
    /// [`Alarm::StateDiverged`].
    StateDiverged,
    /// [`Alarm::Equivocation`].
    Equivocation,
    /// [`Alarm::ClockApart`].
    ClockApart,
    /// [`Alarm::SeatsWithoutVote`].
    SeatsWithoutVote,
    /// [`Alarm::NoQuorum`].
    NoQuorum,
    /// [`Alarm::LogSplit`].
    LogSplit,
    /// [`Alarm::AttachmentsMissing`].
    AttachmentsMissing,
    /// [`Alarm::SlowLog`].
    SlowLog,
}

impl AlarmName {
    /// As in status, metrics and rules for alerts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CertificatesStalled => "certificates_stalled",
            Self::NodeRetired => "node_retired",
            Self::StateDiverged => "state_diverged",
            Self::Equivocation => "equivocation",
            Self::ClockApart => "clock_apart",
            Self::SeatsWithoutVote => "seats_without_vote",
            Self::NoQuorum => "no_quorum",
            Self::LogSplit => "log_split",
            Self::AttachmentsMissing => "attachments_missing",
            Self::SlowLog => "slow_log",
        }
    }
}

impl Alarm {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> AlarmName {
        match self {
            Self::CertificatesStalled { .. } => AlarmName::CertificatesStalled,
            Self::NodeRetired(_) => AlarmName::NodeRetired,
            Self::StateDiverged { .. } => AlarmName::StateDiverged,
            Self::Equivocation(_) => AlarmName::Equivocation,
            Self::ClockApart(_) => AlarmName::ClockApart,
            Self::SeatsWithoutVote(_) => AlarmName::SeatsWithoutVote,
            Self::NoQuorum { .. } => AlarmName::NoQuorum,
            Self::LogSplit(_) => AlarmName::LogSplit,
            Self::AttachmentsMissing { .. } => AlarmName::AttachmentsMissing,
            Self::SlowLog(_) => AlarmName::SlowLog,
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificatesStalled { applied, certified } => write!(
                f,
                "blocks up to {applied} are executed, but only {certified} is certified: validators with more than a \
                 third of the voting power are away or disagree; see `consilium status --all`"
            ),
            Self::NodeRetired(id) => write!(
                f,
                "raft id {id} is retired: this node was replaced or taken out; it can be switched off when the \
                 leader's `consilium status` says `settled`; see docs/membership.md"
            ),
            Self::StateDiverged { height, own, certified } => write!(
                f,
                "this node computed header {own} at height {height}, the validators certified {certified}: it has \
                 stopped voting and serving, and takes the certified chain from its peers"
            ),
            Self::Equivocation(evidence) => {
                let Equivocation { first, second } = &**evidence;
                write!(
                    f,
                    "node {} signed two headers of height {}: {} and {}",
                    first.validator, first.height, first.header_hash, second.header_hash
                )
            }
            Self::ClockApart(skew) => write!(
                f,
                "this node's clock is {skew}: it does not lead and takes no transactions until its clock is right; see \
                 docs/operations.md, \"Clocks\""
            ),
            Self::SeatsWithoutVote(nodes) => write!(
                f,
                "elected, and not voters of Raft: {}; see what the leader's `consilium status` says of it, and whether \
                 these nodes run",
                list(nodes)
            ),
            Self::NoQuorum { unheard, .. } if unheard.is_empty() => write!(
                f,
                "nothing is written, though all validators are heard here: nobody leads, or too few acknowledge what \
                 the leader proposes; see `consilium status --all` for what the others hear"
            ),
            Self::AttachmentsMissing { count, at_least, seconds } => write!(
                f,
                "{}{count} attachments (payloads, key wraps) that blocks commit to are not on this node, which has looked \
                 for them at all others for {seconds} s: nothing is wrong with the blocks, but records read from this node \
                 lack them; see docs/operations.md, \"Missing attachments\"",
                if *at_least { "at least " } else { "" }
            ),
            Self::LogSplit(split) => split.fmt(f),
            Self::SlowLog(SlowLog { slow, writes, longest_ms }) => write!(
                f,
                "this node's disk is slow: {slow} of the last {writes} writes to the log took longer than 100 ms, one \
                 {longest_ms} ms; while others are faster this node does not keep the lead"
            ),
            Self::NoQuorum { unheard, percent } => write!(
                f,
                "nothing is written: validators {} with {percent} % of the voting power are not heard here, and \
                 whatever is written needs more than two thirds; it goes on when enough of these nodes, or the network \
                 to them, are back",
                list(unheard)
            ),
        }
    }
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

fn list(nodes: &[NodeId]) -> String {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(", ")
}

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
            Self::Leadership { leader, term, role } => match leader {
                Some(leader) => write!(f, "leadership: node {leader} leads in term {term}, this node is {role:?}"),
                None => write!(f, "leadership: no leader is known in term {term}, this node is {role:?}"),
            },
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
            Self::RightLeftOut { leader, transaction } => write!(
                f,
                "node {leader} leads, was given transaction {transaction}, by which a member protects itself, and has \
                 put it into no block"
            ),
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
            Self::VoteWithheld { height, ahead_ms } => {
                write!(
                    f,
                    "withholding a vote at height {height}: the block is {ahead_ms} ms ahead of this node's clock"
                )
            }
        }
    }
}
