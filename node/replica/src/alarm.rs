//! What needs an operator's attention, and stays until it is cleared. Facts only, never the
//! content of a record.

use std::fmt;

use consilium_consensus::{LogIndex, SealedPosition, Term};
use consilium_proto::ids::{HeaderHash, Height, NodeId};
use consilium_proto::vote::{Contradiction, Equivocation};

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
                let (node, height, first) = (evidence.validator(), evidence.height(), &evidence.first);
                match &evidence.second {
                    Contradiction::Vote(second) if second.header_hash != first.header_hash => write!(
                        f,
                        "node {node} signed two headers of height {height}: {} and {}",
                        first.header_hash, second.header_hash
                    ),
                    Contradiction::Vote(second) => write!(
                        f,
                        "node {node} signed two tree roots of one header of height {height}: {} and {}",
                        first.tree_root, second.tree_root
                    ),
                    Contradiction::Header(header) => write!(
                        f,
                        "node {node} signed a false tree root of height {height}: {}, and the header has {}",
                        first.tree_root, header.tree_root
                    ),
                }
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
            Self::NoQuorum { unheard, percent } => tell_quorum(f, unheard, *percent),
        }
    }
}

fn tell_quorum(f: &mut fmt::Formatter<'_>, unheard: &[NodeId], percent: u128) -> fmt::Result {
    if unheard.is_empty() {
        return f.write_str(
            "nothing is written, though all validators are heard here: nobody leads, or too few acknowledge what the \
             leader proposes; see `consilium status --all` for what the others hear",
        );
    }
    write!(
        f,
        "nothing is written: validators {} with {percent} % of the voting power are not heard here, and whatever is \
         written needs more than two thirds; it goes on when enough of these nodes, or the network to them, are back",
        list(unheard)
    )
}

fn list(nodes: &[NodeId]) -> String {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(", ")
}
