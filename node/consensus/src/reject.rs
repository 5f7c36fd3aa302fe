//! Why the screen refuses a message: one variant per rule, with the facts an operator needs.

use crate::ids::{LogIndex, RaftId, Term};
use crate::membership::MembershipInvalid;

/// Why a message was not given to Raft.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// `from` is not the peer that the connection is authenticated as.
    #[error("message claims to be from {claimed}, the peer is {peer}")]
    NotThePeer {
        /// Raft id in the message.
        claimed: u64,
        /// Raft id bound to the connection.
        peer: RaftId,
    },
    /// Addressed to another node.
    #[error("message is for {to}")]
    NotForMe {
        /// The addressee.
        to: u64,
    },
    /// Neither in the configuration nor among the known peers.
    #[error("node {peer} is not known")]
    UnknownPeer {
        /// The sender.
        peer: RaftId,
    },
    /// What the entry says is not to be acknowledged.
    #[error("entry {index}: {reason}")]
    Unfit {
        /// Its index.
        index: LogIndex,
        /// What is wrong.
        reason: &'static str,
    },
    /// A type that is never sent over the network, or not known at all.
    #[error("message type {number} is not accepted")]
    Type {
        /// Its protobuf number.
        number: i32,
    },
    /// A field that this type of message does not carry, or of the wrong shape.
    #[error("field {name} is out of place")]
    Field {
        /// Its name.
        name: &'static str,
    },
    /// A term that is zero, too far ahead, or higher than the message's own.
    #[error("{name} {value} is out of range (current term {current})")]
    TermRange {
        /// Which field.
        name: &'static str,
        /// Its value.
        value: u64,
        /// This node's term.
        current: Term,
    },
    /// An index beyond any log.
    #[error("{name} {value} is out of range")]
    IndexRange {
        /// Which field.
        name: &'static str,
        /// Its value.
        value: u64,
    },
    /// A message of a term that has passed, where that is of no use.
    #[error("term {term} has passed")]
    StaleTerm {
        /// The message's term.
        term: Term,
    },
    /// Acts as leader in a term that has another one.
    #[error("node {peer} is not the leader of term {term}")]
    NotLeader {
        /// The sender.
        peer: RaftId,
        /// The term.
        term: Term,
    },
    /// Acts as leader of a term, and nothing shows that it was elected: ask it for its mandate.
    #[error("nothing shows that node {peer} was elected in term {term}")]
    NoMandate {
        /// The sender.
        peer: RaftId,
        /// The term.
        term: Term,
    },
    /// An answer from a later term, which alone moves nobody.
    #[error("the sender is in term {term}")]
    Overtaken {
        /// Its term.
        term: Term,
    },
    /// Stands for election, or votes, or asks for a vote, without having one.
    #[error("node {node} has no vote")]
    NoVote {
        /// Who has none.
        node: RaftId,
    },
    /// Asks for a vote, and this node does not know yet what it has promised to others.
    #[error("this node does not know yet what it granted before")]
    Unrecalled,
    /// A signature that is not by the sender's vote key, or over something else.
    #[error("the signature is not of the sender")]
    Signature,
    /// Only a leader answers this, and this node is none.
    #[error("this node does not lead")]
    NotLeading,
    /// Entries that do not follow one another.
    #[error("expected entry {expected}, found {found}")]
    Gap {
        /// Where an entry was expected.
        expected: LogIndex,
        /// The index found.
        found: u64,
    },
    /// An entry that no leader of ours writes.
    #[error("entry {index} is not acceptable: {reason}")]
    Entry {
        /// Its index.
        index: LogIndex,
        /// What is wrong.
        reason: &'static str,
    },
    /// A heartbeat commits what this log does not have. From an honest leader it means that
    /// **this disk lost acknowledged entries**.
    #[error("commit {commit} is beyond the log, which ends at {last}")]
    CommitBeyondLog {
        /// The commit claimed.
        commit: u64,
        /// The last index here.
        last: LogIndex,
    },
    /// An append contradicts what is committed here.
    #[error("append at {index} of term {log_term} contradicts commit {commit} of term {commit_term}")]
    ContradictsCommit {
        /// Index before the entries.
        index: u64,
        /// Term claimed for it.
        log_term: u64,
        /// Our commit index.
        commit: LogIndex,
        /// The term of our entry there.
        commit_term: Term,
    },
    /// An acknowledgement of what this leader does not have.
    #[error("acknowledges {index}, the log ends at {last}")]
    AckBeyondLog {
        /// The index claimed.
        index: u64,
        /// The last index here.
        last: LogIndex,
    },
    /// A vote before this node's own candidacy is durable: nobody can have been asked.
    #[error("a vote for a candidacy that is not durable")]
    VoteTooEarly,
    /// A snapshot without a usable membership.
    #[error("snapshot membership: {0}")]
    SnapshotMembership(MembershipInvalid),
    /// A snapshot for a group that this node is not in.
    #[error("snapshot membership does not contain this node")]
    SnapshotWithoutMe,
    /// A snapshot that contradicts what is committed here.
    #[error("snapshot at {index} of term {term} contradicts commit {commit}")]
    SnapshotContradicts {
        /// Its index.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// Our commit index.
        commit: LogIndex,
    },
    /// Asked to stand for election while that is not possible.
    #[error("cannot stand for election while writes are outstanding")]
    NotReadyToLead,
    /// Too many reads wait already.
    #[error("{pending} reads are waiting")]
    TooManyReads {
        /// How many.
        pending: usize,
    },
    /// The answer to a read that was not asked, or was given up.
    #[error("no such read")]
    UnknownRead,
    /// The leader has not signed an entry of its term.
    #[error("entry {index} is not sealed by its leader")]
    Unsealed {
        /// Its index.
        index: LogIndex,
    },
    /// Another entry stands here, and must stay: who led that term had two.
    #[error("another entry stands at {index}: the leader of term {term} had two")]
    Split {
        /// Where.
        index: LogIndex,
        /// Whose leader had both.
        term: Term,
    },
    /// A candidate names another membership than was in force there.
    #[error("the candidate's membership as of {applied} is another one here")]
    FalseMembership {
        /// Up to where it has applied its log.
        applied: LogIndex,
    },
}

impl Reject {
    /// Whether honest peers say such things, too: they do not know yet what this node knows, or
    /// it does not know what they do.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        matches!(self, Self::NoMandate { .. } | Self::Overtaken { .. } | Self::NoVote { .. } | Self::Unrecalled)
    }
}
