//! What can happen, and when.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::ids::{Height, NodeId, TransactionId};
use consilium_proto::pb;
use consilium_proto::vote::{CertifiedHeader, Vote};

/// Index of a machine. Twins are two machines with one raft id.
pub type MachineId = usize;

/// What machines send each other.
#[derive(Clone, Debug)]
pub enum Packet {
    /// A message of Raft.
    Raft(Bytes),
    /// A vote, the sender's own or one passed on.
    Vote(Vote),
    /// A certified header.
    Certificate(Box<CertifiedHeader>),
    /// The sender lacks certificates from a height on.
    AskCertificate(Height),
    /// A transaction for the leader.
    Forward(Box<pb::SignedTransaction>),
    /// Certified blocks are wanted from a height on.
    FetchBlocks {
        /// The first one.
        from: Height,
        /// Names the answer.
        request: u64,
    },
    /// Certified blocks.
    Blocks {
        /// In order.
        blocks: Vec<pb::FetchBlocksResponse>,
        /// What they answer.
        request: u64,
    },
    /// A starting node asks for its own newest vote.
    AskOwnVote,
    /// The newest vote of the node that asked.
    OwnVote(Box<Option<Vote>>),
}

impl Packet {
    /// Its kind, for the trace.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Raft(_) => "raft",
            Self::Vote(_) => "vote",
            Self::Certificate(_) => "certificate",
            Self::AskCertificate(_) => "ask",
            Self::Forward(_) => "forward",
            Self::FetchBlocks { .. } => "fetch",
            Self::Blocks { .. } => "blocks",
            Self::AskOwnVote => "ask-own-vote",
            Self::OwnVote(_) => "own-vote",
        }
    }
}

/// A packet under way: whose it is by its authenticated connection, and the
/// machine that it is really from.
#[derive(Clone, Debug)]
pub struct Send {
    /// The machine.
    pub machine: MachineId,
    /// The raft id that the connection proves.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What.
    pub packet: Packet,
}

/// Timers of a machine; they die with its incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The machine's tick.
    Tick,
    /// The writer's batch is on disk.
    Writer,
    /// The applier is free for its next job.
    Applier,
    /// The certifier's write is on disk.
    Certifier,
    /// Answers about own votes are in, or late.
    OwnVotes,
    /// Blocks that were asked for did not come.
    Fetch(u64),
    /// A repair asks again.
    Repair,
}

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// A packet arrives at a machine.
    Arrive {
        /// Where.
        at: MachineId,
        /// The machine that sent it.
        from: MachineId,
        /// The raft id that the connection proves.
        proven: NodeId,
        /// What.
        packet: Box<Packet>,
    },
    /// A timer of a machine.
    Timer {
        /// Whose.
        at: MachineId,
        /// It dies with this incarnation.
        incarnation: u64,
        /// Which.
        timer: Timer,
    },
    /// A machine starts.
    Start(MachineId),
    /// A client submits something new.
    Submit,
    /// A client tries again.
    Retry(TransactionId),
    /// The operators look at the network.
    Operate,
    /// A fault is due.
    Fault,
    /// The routes to twins are drawn again.
    Routes,
    /// A partition ends.
    Heal,
    /// A slow disk is fast again.
    FastDisk(MachineId),
}

/// Events by time, then by order of scheduling.
#[derive(Default)]
pub struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
}

impl Queue {
    /// Schedules an event.
    pub fn push(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    /// The next event with its time.
    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// Drops events that `keep` refuses.
    pub fn retain(&mut self, keep: impl Fn(&Event) -> bool) {
        self.events.retain(|_, event| keep(event));
    }
}
