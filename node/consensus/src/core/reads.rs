//! Linearizable reads by read index: confirmed by a quorum, never by a lease.
//!
//! Raft drops a read silently when it knows no leader, when the leader has committed nothing in
//! its term, and when leadership changes. Every read is therefore counted here, and answered or
//! reported as dropped.

use raft::eraftpb::MessageType;

use super::Core;
use crate::ids::{LogIndex, RaftId};
use crate::log::LogReader;
use crate::output::{ReadContext, ReadOutcome};
use crate::screen::{READ_CONTEXT_LEN, split_read_context};

/// Why a read was not started. Try again with a fresh context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader is known.
    #[error("no leader is known")]
    NoLeader,
    /// This leader has not committed anything in its term yet.
    #[error("the leader has not committed in its term yet")]
    NotReady,
    /// Too many reads are waiting.
    #[error("{waiting} reads are waiting")]
    Overloaded {
        /// How many.
        waiting: usize,
    },
    /// The context is in use.
    #[error("a read with this context is waiting")]
    Duplicate,
}

impl<R: LogReader> Core<R> {
    /// Asks from which index on a read is linearizable. Works on every node that knows a leader;
    /// the answer comes as a [`ReadOutcome`] within `read_ticks_max` ticks.
    ///
    /// # Errors
    /// [`ReadError`]; no outcome will follow.
    pub fn read_index(&mut self, context: ReadContext) -> Result<(), ReadError> {
        let waiting = self.reads.len();
        if waiting >= self.config.reads_max {
            return Err(ReadError::Overloaded { waiting });
        }
        if self.reads.contains_key(&context) {
            return Err(ReadError::Duplicate);
        }
        if self.leader().is_none() {
            return Err(ReadError::NoLeader);
        }
        if self.is_leader() && !self.raw.raft.commit_to_current_term() {
            return Err(ReadError::NotReady);
        }
        self.reads.insert(context, self.config.read_ticks_max);
        self.raw.read_index(wire_context(self.config.id, context));
        self.raise_reads();
        Ok(())
    }

    pub(super) fn age_reads(&mut self) {
        for ticks in self.reads.values_mut() {
            *ticks = ticks.saturating_sub(1);
        }
        let outcomes = &mut self.read_outcomes;
        self.reads.retain(|context, ticks| {
            if *ticks == 0 {
                outcomes.push(ReadOutcome::Dropped { context: *context });
            }
            *ticks > 0
        });
    }

    /// Reads that a quorum has confirmed to this leader are linearizable behind all that is in
    /// its log: others may have counted, and told a client, what this node has not heard
    /// acknowledged yet.
    pub(super) fn raise_reads(&mut self) {
        if !self.is_leader() {
            return;
        }
        let raft = &mut self.raw.raft;
        let last = raft.raft_log.last_index();
        for state in &mut raft.read_states {
            state.index = state.index.max(last);
        }
        for message in raft.msgs.iter_mut().filter(|m| m.get_msg_type() == MessageType::MsgReadIndexResp) {
            message.index = message.index.max(last);
        }
    }

    pub(super) fn note_read_states(&mut self, states: Vec<raft::ReadState>) {
        for state in states {
            let Some((_, context)) = split_read_context(&state.request_ctx) else { continue };
            // One that was given up meanwhile was reported already.
            if self.reads.remove(&context).is_some() {
                let index = LogIndex(state.index);
                self.read_outcomes.push(ReadOutcome::Ready { context, index });
            }
        }
    }
}

fn wire_context(me: RaftId, context: ReadContext) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(READ_CONTEXT_LEN);
    bytes.extend(me.get().to_be_bytes());
    bytes.extend(context.0);
    bytes
}
