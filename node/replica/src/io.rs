//! What goes into a replica and what comes out. Both are plain values that can be
//! compared, so that a test is a list of inputs and the exact list of outputs.
//!
//! **Order.** Outputs are done in the order in which they come. A
//! [`Output::WriteLog`] or [`Output::WriteVote`] may be under way while what comes
//! after it is done: whatever waits for one comes out only after its report.

use std::sync::Arc;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, RaftId, ReadContext, Status as RaftStatus};
use consilium_ledger::Events;
use consilium_proto::ids::{HeaderHash, Height, NodeId, TimeMs};
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::transaction::{Slot, Transaction};
use consilium_proto::vote::CertifiedHeader;

use crate::alarm::{Alarm, AlarmName};
use crate::block::CheckedBlock;
use crate::catch_up::{Audited, Run};
use crate::clocks::Skew;
use crate::disk::{LogWrite, VoteWrite, Written};
use crate::fault::Fault;
use crate::notice::Notice;
use crate::order::reconciliation::Reconciliation;
use crate::peer::PeerMessage;
use crate::submission::{Located, Refused, Submission, WaitFor};
use crate::topology::Topology;

/// A question of somebody outside, chosen by them and used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// An exchange with a peer that this replica began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl CallId {
    pub(crate) fn take(&mut self) -> Self {
        self.0 += 1;
        *self
    }
}

/// Something happened outside.
#[expect(
    clippy::large_enum_variant,
    reason = "under load most inputs are of the large variant, and boxing it would cost an allocation for each"
)]
#[derive(Debug)]
pub enum Input {
    /// A tick of Raft's clock. After a stall one or two, not one for each missed.
    Tick,
    /// Messages over the authenticated connection of a peer, in the order in which
    /// it sent them.
    Peer {
        /// The raft id that the connection proves.
        from: NodeId,
        /// At most [`crate::peer::BATCH_MAX`].
        messages: Vec<PeerMessage>,
    },
    /// A client's transaction, after its signature was looked at.
    Submit {
        /// To be answered.
        request: RequestId,
        /// The transaction.
        submission: Submission,
        /// For what the client waits.
        wait_for: WaitFor,
        /// The answer is of no use after this, on the monotonic clock.
        deadline_ms: u64,
    },
    /// Those who had these transactions submitted wait no more, whatever the reason.
    Gone(Vec<RequestId>),
    /// Transactions that a peer hands to the leader; `None` for one that is
    /// malformed.
    Forwarded {
        /// To be answered by [`Output::ForwardedAnswer`].
        request: RequestId,
        /// In order.
        submissions: Vec<Option<Submission>>,
    },
    /// The answer to [`Output::Forward`]; empty if the leader could not be reached.
    ForwardAnswer {
        /// The call.
        call: CallId,
        /// In order of the transactions.
        results: Vec<ForwardResult>,
    },
    /// The answer to [`Output::Check`].
    Checked {
        /// Of the entry.
        position: LogPosition,
        /// `None` if the entry is no block.
        block: Option<CheckedBlock>,
    },
    /// The report of a write.
    Written(Written),
    /// A linearizable read.
    Read {
        /// To be answered.
        request: RequestId,
        /// Unpredictable, used once.
        context: ReadContext,
    },
    /// An operator wants leadership handed over; `None` lets the replica choose.
    Transfer {
        /// To be answered.
        request: RequestId,
        /// To whom.
        to: Option<RaftId>,
    },
    /// Somebody needs the ledger's time to pass this.
    /// At most one block a second is made for that.
    RequestTimeBlock(TimeMs),
    /// A block in answer to [`Output::Fetch`].
    Fetched {
        /// The call.
        call: CallId,
        /// The block.
        block: Box<pb::FetchBlocksResponse>,
    },
    /// No more blocks come for a call.
    FetchEnded {
        /// The call.
        call: CallId,
        /// Why, if it did not end well.
        problem: Option<String>,
    },
    /// The answer to [`Output::FetchAttachments`]: in order, an empty one for each that the
    /// peer has not either; none at all if it could not be reached.
    AttachmentsFetched {
        /// The call.
        call: CallId,
        /// At most as many as were asked for.
        contents: Vec<Bytes>,
    },
    /// The answer to [`Output::Audit`].
    Audited {
        /// What was asked for.
        run: Run,
        /// What was seen.
        audited: Audited,
    },
    /// A client missed an attachment of a block.
    AttachmentMissed(Height),
    /// Messages to a peer do not arrive.
    Unreachable(NodeId),
    /// The node is to stop: hand leadership over, propose nothing more.
    Stop,
    /// What [`Output::Continue`] asked for.
    Continue,
}

/// Something is to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a message to a peer. It may be lost; order between two messages to one
    /// peer is kept, and none of a batch replaces another.
    Send {
        /// The peer.
        to: NodeId,
        /// The message.
        message: PeerMessage,
    },
    /// Write to the log.
    WriteLog(LogWrite),
    /// Write what votes wait for.
    WriteVote(VoteWrite),
    /// Decode an entry and look at its signatures; at most
    /// [`crate::entries::CHECKS_MAX`] at a time.
    Check {
        /// Of the entry.
        position: LogPosition,
        /// Its data.
        entry: Bytes,
    },
    /// Hand transactions to the leader.
    Forward {
        /// To be answered by [`Input::ForwardAnswer`].
        call: CallId,
        /// The leader.
        to: NodeId,
        /// In order.
        transactions: Vec<Transaction>,
    },
    /// Fetch certified blocks of a peer.
    Fetch {
        /// To be answered by [`Input::Fetched`] and [`Input::FetchEnded`].
        call: CallId,
        /// The peer.
        from: NodeId,
        /// The first height wanted.
        first: Height,
    },
    /// The rest of the blocks is not wanted.
    StopFetch(CallId),
    /// Fetch attachments of a peer; one call at a time.
    FetchAttachments {
        /// To be answered by [`Input::AttachmentsFetched`].
        call: CallId,
        /// The peer.
        from: NodeId,
        /// At most [`crate::catch_up::ATTACHMENTS_MAX`].
        slots: Vec<Slot>,
    },
    /// Look at the attachments of blocks ([`crate::catch_up::audit`]); one run at a time, to be
    /// answered by [`Input::Audited`].
    Audit(Run),
    /// What became of a transaction.
    Answer {
        /// Who asked.
        request: RequestId,
        /// Where it is, or why it will not be executed from here.
        result: Result<Located, Refused>,
    },
    /// The answer to [`Input::Forwarded`].
    ForwardedAnswer {
        /// Who asked.
        request: RequestId,
        /// In order.
        results: Vec<ForwardResult>,
    },
    /// A read is linearizable now, or must be asked for again.
    ReadAnswer {
        /// Who asked.
        request: RequestId,
        /// Whether the state of this node may be read now.
        ready: bool,
    },
    /// To whom leadership is being handed over, or why not.
    TransferAnswer {
        /// Who asked.
        request: RequestId,
        /// The next leader.
        result: Result<RaftId, consilium_consensus::TransferError>,
    },
    /// A block was executed and stored.
    Executed(Box<ExecutedBlock>),
    /// The applied index has moved; once for all blocks of a turn.
    Applied(Applied),
    /// A header is certified, and all below it.
    Certified(Arc<CertifiedHeader>),
    /// Nodes, validators or parameters have changed.
    Topology(Arc<Topology>),
    /// Another leader, or none.
    Leader(Option<NodeId>),
    /// The replica's picture of itself, with every tick.
    Status(Box<Status>),
    /// Something needs attention.
    Raise(Alarm),
    /// It does not any more.
    Clear(AlarmName),
    /// For the operator's log and for counters.
    Notice(Notice),
    /// There is more to do: give [`Input::Continue`] after what waits already.
    Continue,
    /// A turn is wanted in so many milliseconds, though nothing comes in until then.
    TurnIn {
        /// From the time that the replica was told with its inputs.
        ms: u64,
    },
    /// The replica cannot go on. It takes no input any more.
    Halt(Fault),
}

/// How far a replica has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Raft index.
    pub index: LogIndex,
    /// Newest block.
    pub height: Height,
    /// Its time.
    pub time: TimeMs,
    /// Its header.
    pub header_hash: HeaderHash,
}

/// What a block came to.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutedBlock {
    /// Its header, with what the tree was before it.
    pub header: consilium_proto::header::Header,
    /// Where it stood in the log.
    pub position: LogPosition,
    /// Whether this node votes on it: not on blocks taken over as certified.
    pub votable: bool,
    /// Leaves, in ledger order.
    pub leaves: Vec<(u64, consilium_proto::header::Leaf)>,
    /// What consumers may need to know.
    pub events: Events,
}

/// A replica's picture of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Raft's.
    pub raft: RaftStatus,
    /// Transactions in the leader's queue here.
    pub queued: usize,
    /// Transactions that clients wait for here.
    pub waiting: usize,
    /// Transactions that a leader must not leave out, under watch here.
    pub watched: usize,
    /// How far this node's clock is off; `None` if it is right for all that is known.
    pub skew: Option<Skew>,
    /// What the leader does about Raft's voters; `None` at the others.
    pub reconciliation: Option<Reconciliation>,
    /// Newest voted height of each node, as heard here.
    pub voted: Vec<(NodeId, Height)>,
}
