//! What can happen, and when.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::ids::{Height, NodeId, TimeMs, TransactionId};
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::transaction::Slot;
use consilium_replica::CallId;
use consilium_replica::catch_up::Run;
use consilium_replica::peer::PeerMessage;

/// Index of a machine. Twins are two machines with one raft id.
pub type MachineId = usize;

/// What machines send each other.
#[derive(Clone, Debug)]
pub enum Packet {
    /// Messages of the stream between two nodes, as one batch.
    Messages(Vec<PeerMessage>),
    /// Transactions for the leader.
    Forward {
        /// Names the answer.
        call: CallId,
        /// In order.
        transactions: Vec<pb::SignedTransaction>,
    },
    /// What became of them.
    ForwardAnswer {
        /// What it answers.
        call: CallId,
        /// In order.
        results: Vec<ForwardResult>,
    },
    /// Certified blocks are wanted from a height on.
    FetchBlocks {
        /// The first one.
        first: Height,
        /// Names the answer.
        call: CallId,
    },
    /// Certified blocks.
    Blocks {
        /// In order.
        blocks: Vec<pb::FetchBlocksResponse>,
        /// What they answer.
        call: CallId,
    },
    /// Attachments are wanted.
    FetchAttachments {
        /// Which.
        slots: Vec<Slot>,
        /// Names the answer.
        call: CallId,
    },
    /// Attachments.
    Attachments {
        /// In order.
        contents: Vec<Bytes>,
        /// What they answer.
        call: CallId,
    },
    /// The ledger's time must pass a moment.
    RequestTimeBlock(TimeMs),
}

impl Packet {
    /// Its kind, for the trace.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Messages(_) => "messages",
            Self::Forward { .. } => "forward",
            Self::ForwardAnswer { .. } => "forward-answer",
            Self::FetchBlocks { .. } => "fetch",
            Self::Blocks { .. } => "blocks",
            Self::FetchAttachments { .. } => "fetch-attachments",
            Self::Attachments { .. } => "attachments",
            Self::RequestTimeBlock(_) => "time-block",
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
    /// The replica's thread runs.
    Turn,
    /// The log's batch is on disk.
    LogWriter,
    /// What votes wait for is to be written, or is on disk.
    VoteWriter,
    /// A verifier is done with an entry.
    Verifier,
    /// A call to the leader was not answered.
    Call(CallId),
    /// A look at the attachments of a block is done.
    Audit(Run),
    /// A rebuilding looks at the time.
    Rebuild,
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
    /// A node that was told to stop has stopped, if it is still that one.
    Stopped {
        /// Where.
        at: MachineId,
        /// Which.
        incarnation: u64,
    },
    /// A client submits something new.
    Submit,
    /// A client reads.
    Read,
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
