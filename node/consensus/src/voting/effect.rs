//! What voting asks of its driver, and the plain types of its inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_proto::ids::{HeaderHash, Height, LedgerId, NodeId, TimeMs};
use consilium_proto::signing::{SigningError, SigningKey, VerifyingKey};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{CertifiedHeader, Equivocation, Vote};

/// What the guard remembers of this node's votes: it is durable before a
/// signature leaves, and survives the loss of everything else (invariant I9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteGuard {
    /// Height of the newest vote; genesis if there is none.
    pub voted_height: Height,
    /// Header of the newest vote; zeros if there is none.
    pub voted_header: HeaderHash,
}

impl VoteGuard {
    /// The guard of a node that has never voted.
    pub const NONE: Self = Self { voted_height: Height::GENESIS, voted_header: HeaderHash::from_bytes([0; 32]) };
}

/// The time, as an argument: nothing here reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The wall clock, which may jump: for the check of block times only.
    pub wall: TimeMs,
    /// Milliseconds since any moment, never going back: for repetitions.
    pub monotonic_ms: u64,
}

/// What a node knows when it starts, all of it from its disk.
pub struct Start {
    /// This node.
    pub me: NodeId,
    /// Signs its votes.
    pub key: Arc<SigningKey>,
    /// The ledger.
    pub ledger_id: LedgerId,
    /// A block whose time is further ahead of the wall clock is not voted on
    /// yet, in milliseconds.
    pub clock_skew_max_ms: u64,
    /// As read from the guard's file.
    pub guard: VoteGuard,
    /// The newest certified header that is stored; `None` if only the genesis is.
    pub certified: Option<CertifiedHeader>,
    /// The set that certifies the height above `certified`.
    pub validators: ValidatorSet,
    /// Vote keys of all active nodes, seated or not.
    pub nodes: BTreeMap<NodeId, VerifyingKey>,
}

/// Why voting cannot go on. Each is a fault of this node, never of a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VotingError {
    /// The key is away (an HSM) or of the wrong kind.
    #[error("cannot sign a vote: {0}")]
    Signing(#[from] SigningError),
    /// An executed header names other validators than this node knows for its
    /// height, or ends an epoch without the set that it commits to.
    #[error("the executed header at height {height} names other validators than were elected here")]
    OtherValidators {
        /// Height of the header.
        height: Height,
    },
    /// The same height was executed with another result.
    #[error("height {height} was executed twice, with different results")]
    Reexecuted {
        /// The height.
        height: Height,
    },
}

/// Why a vote was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteProblem {
    /// It is of another ledger.
    #[error("of another ledger")]
    OtherLedger,
    /// Its signer is no node of the ledger.
    #[error("not by a node of the ledger")]
    Stranger,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Forged,
}

/// What is to be done, in this order. The order carries guarantees: a driver
/// that does effects out of order, or drops one and goes on, breaks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make this durable, then call `remembered`. Signatures are made then and
    /// not before. If the write fails, the node stops.
    WriteGuard(VoteGuard),
    /// Send this node's vote to all peers.
    BroadcastVote(Vote),
    /// Pass another node's vote on to all peers: the nodes disagree about its
    /// height, and whoever signed two headers there is found by comparing.
    RelayVote(Vote),
    /// Send a certified header to a peer that lacks it.
    SendCertificate {
        /// The peer.
        to: NodeId,
        /// The header with its certificate.
        certified: Box<CertifiedHeader>,
    },
    /// As `SendCertificate`, for a height below what is in memory: from the store,
    /// the certified header of the first epoch boundary at or above `from`, or
    /// the newest certified one if no certified boundary is there.
    SendStored {
        /// The peer.
        to: NodeId,
        /// The first height that the peer lacks a certificate for.
        from: Height,
    },
    /// Ask all peers for a certificate at or above a height.
    AskPeers {
        /// The height above the highest that is certified here.
        from: Height,
    },
    /// A header that this node executed is certified, and all below it. Store
    /// the certificate.
    Certified {
        /// The header with its certificate.
        certified: Box<CertifiedHeader>,
        /// The header ends an epoch: the certificate must be durable before the
        /// next effect. This node may now vote above the boundary; had it then
        /// forgotten the certificate, it could neither repeat its vote on the
        /// boundary nor show why that is not needed.
        ends_epoch: bool,
    },
    /// The validators certified something else than this node executed. It has
    /// stopped voting.
    Diverged {
        /// The height.
        height: Height,
        /// What this node computed.
        own: HeaderHash,
        /// What is certified.
        certified: HeaderHash,
    },
    /// A node signed two headers of one height, or a false root; all signatures are verified.
    Evidence(Box<Equivocation>),
    /// A vote was refused.
    Refused {
        /// Who sent it.
        from: NodeId,
        /// Whose vote it claims to be.
        validator: NodeId,
        /// Its height.
        height: Height,
        /// What is wrong.
        problem: VoteProblem,
    },
    /// A vote is withheld while the block's time is too far ahead of the wall
    /// clock; reported once for each height.
    Withheld {
        /// Height of the block.
        height: Height,
        /// How far it is ahead, in milliseconds.
        ahead_ms: u64,
    },
}
