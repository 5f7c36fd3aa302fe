//! Messages from peers: decode, screen, then Raft.

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};

use super::Core;
use crate::convert::snapshot_from_raft;
use crate::ids::{RaftId, Term};
use crate::log::LogReader;
use crate::mandate::Standpoint;
use crate::output::IncomingSnapshot;
use crate::reject::Reject;
use crate::screen::{Judge, Passed, View, screen};
use crate::wire::{self, WireError};

/// Why a message had no effect. None of these is a fault of this node, except where
/// [`Reject::CommitBeyondLog`] comes from an honest leader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The bytes are not a message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The message is not acceptable. Count these by peer.
    #[error("message from {peer} rejected: {reject}")]
    Rejected {
        /// The sender.
        peer: RaftId,
        /// The reason.
        reject: Reject,
    },
    /// It comes from the leader that this node distrusts in this term, or is a candidacy of one
    /// that it has distrusted.
    #[error("node {leader} is distrusted in term {term}")]
    Distrusted {
        /// The sender.
        leader: RaftId,
        /// This node's term.
        term: Term,
    },
    /// A snapshot is being fetched or installed already.
    #[error("another snapshot is being handled")]
    SnapshotBusy,
    /// An answer from a node that is not in the configuration.
    #[error("{peer} is not in the configuration")]
    NotAMember {
        /// The sender.
        peer: RaftId,
    },
    /// The library refused it.
    #[error("raft refused the message: {0}")]
    Raft(String),
}

impl<R: LogReader> Core<R> {
    /// Takes a message that arrived over the authenticated connection of `from`. Entries that
    /// `judge` does not pass, and those behind them, come neither into the log nor are they
    /// acknowledged.
    ///
    /// # Errors
    /// [`StepError`], all harmless. The message had no effect, but for one with entries that
    /// are not fit: all else that it says is taken.
    pub fn step(&mut self, from: RaftId, bytes: Bytes, judge: &dyn Judge) -> Result<(), StepError> {
        let message = wire::decode(&bytes, self.config.message_bytes_max)?;
        let rejected = |reject| StepError::Rejected { peer: from, reject };
        let Passed { mut message, left_out } = match screen(from, message, &self.screen_view(judge)) {
            Ok(passed) => passed,
            Err(reject) => {
                if let Reject::Overtaken { term } = reject {
                    self.note_overtaken(from, term);
                }
                return Err(rejected(reject));
            }
        };
        self.refuse_distrusted(from, &message)?;
        if message.get_msg_type() == MessageType::MsgSnapshot {
            if self.needs_state(&message) {
                return self.hold_snapshot(from, &message);
            }
            message = self.without_state(&message);
        }
        if let Some(message) = self.keep_back(from, message) {
            self.take(from, message)?;
        }
        while let Some((from, message)) = self.next_released() {
            self.take(from, message)?;
        }
        left_out.map_or(Ok(()), |reject| Err(rejected(reject)))
    }

    /// Takes a message that was screened.
    fn take(&mut self, from: RaftId, mut message: Message) -> Result<(), StepError> {
        let rejected = |reject| StepError::Rejected { peer: from, reject };
        self.examine(from, &mut message).map_err(rejected)?;
        if message.get_msg_type() == MessageType::MsgAppend && !self.fits_log(&mut message).map_err(rejected)? {
            return Ok(());
        }
        let answers = self.answers_leader(&message);
        let due = match message.get_msg_type() {
            MessageType::MsgRequestVoteResponse if !message.reject => {
                self.take_grant(from, message).map_err(rejected)?
            }
            MessageType::MsgRequestPreVoteResponse if !message.reject => self.take_pre_vote(from, message),
            MessageType::MsgAppendResponse if !message.reject && message.term == self.term().0 => {
                self.take_ack(from, &mut message).map_err(rejected)?;
                if self.is_leader() { vec![message] } else { Vec::new() }
            }
            _ => vec![message],
        };
        for message in due {
            self.tell_raft(from, message)?;
            self.raise_reads();
        }
        if answers {
            self.followers.heard(from, self.term(), self.ticks);
        }
        Ok(())
    }

    fn tell_raft(&mut self, from: RaftId, message: Message) -> Result<(), StepError> {
        let lease = self.lift_lease(from, &message);
        let told = self.hold_commit(|core| core.raw.step(message));
        self.restore_lease(lease);
        told.map_err(|error| match error {
            raft::Error::StepPeerNotFound => StepError::NotAMember { peer: from },
            other => StepError::Raft(other.to_string()),
        })
    }

    /// Whether the message shows that its sender follows this leader now.
    fn answers_leader(&self, message: &Message) -> bool {
        let answer =
            matches!(message.get_msg_type(), MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse);
        answer && self.is_leader() && message.term == self.term().0
    }

    fn screen_view<'a>(&'a self, judge: &'a dyn Judge) -> View<'a> {
        View {
            me: self.config.id,
            role: self.role(),
            term: self.term(),
            leader: self.leader(),
            last: crate::ids::LogIndex(self.raw.raft.raft_log.last_index()),
            commit: self.commit(),
            held: self.said_to_be_held(),
            log_durable: self.log_durable(),
            vote_durable: self.vote_durable(),
            membership: &self.membership,
            known: &self.known,
            electorate: &self.office.electorate,
            proven: self.office.proven(),
            reads: &self.reads,
            reads_pending: self.raw.raft.pending_read_count(),
            reads_max: self.config.reads_max,
            entry_bytes_max: self.config.entry_bytes_max,
            judge,
            may_lead: self.stands(),
        }
    }

    /// Whether a restart would remember this node's own vote in this term.
    pub(super) fn vote_durable(&self) -> bool {
        self.durable_vote == (self.term(), Some(self.config.id))
    }

    fn refuse_distrusted(&mut self, from: RaftId, message: &Message) -> Result<(), StepError> {
        let stands = matches!(message.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        if stands && self.shunned.contains(&from) {
            return Err(StepError::Distrusted { leader: from, term: self.term() });
        }
        let Some((leader, term)) = self.distrusted else { return Ok(()) };
        if term != self.term() {
            self.distrusted = None;
            return Ok(());
        }
        let leads = matches!(
            message.get_msg_type(),
            MessageType::MsgAppend
                | MessageType::MsgHeartbeat
                | MessageType::MsgSnapshot
                | MessageType::MsgTimeoutNow
                | MessageType::MsgReadIndexResp
        );
        // Nor may it have itself elected again at once.
        let renews = message.get_msg_type() == MessageType::MsgRequestVote && Standpoint::hands_over(&message.context);
        if from == leader && ((leads && message.term == term.0) || renews) {
            return Err(StepError::Distrusted { leader, term });
        }
        Ok(())
    }

    /// Whether the snapshot goes beyond what this log holds; otherwise Raft only moves the
    /// commit, or answers where it is.
    fn needs_state(&self, message: &Message) -> bool {
        let meta = snapshot_from_raft(message.get_snapshot());
        let log = &self.raw.raft.raft_log;
        let has = log.match_term(meta.index.0, meta.term.0) && self.hash_at(meta.index) == Some(meta.hash);
        meta.index.0 > log.committed && !has
    }

    /// What a snapshot says of a log that holds as much: where the leader's log matches. That
    /// all of it is committed would be the leader's word.
    fn without_state(&self, message: &Message) -> Message {
        let meta = snapshot_from_raft(message.get_snapshot());
        Message {
            msg_type: MessageType::MsgAppend as i32,
            from: message.from,
            to: message.to,
            term: message.term,
            index: meta.index.0,
            log_term: meta.term.0,
            context: meta.hash.as_bytes().to_vec(),
            ..Message::default()
        }
    }

    fn hold_snapshot(&mut self, from: RaftId, message: &Message) -> Result<(), StepError> {
        if self.held.is_some() || self.installing_snapshot() {
            return Err(StepError::SnapshotBusy);
        }
        let meta = snapshot_from_raft(message.get_snapshot());
        self.held = Some(IncomingSnapshot { from, meta });
        self.held_is_new = true;
        self.held_term = Term(message.term);
        Ok(())
    }
}
