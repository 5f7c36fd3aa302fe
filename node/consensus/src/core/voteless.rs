//! A seat that has no vote in Raft yet: its power counts, and it cannot be elected.
//!
//! Were it alone to hold an entry, it would have to refuse its power to every candidate without
//! that entry, and where the power is needed nobody could lead. A leader that lies can give such
//! an entry to it alone. So it takes entries only after others: when a majority of the voters
//! hold them, or so many that they are a quorum by power together with it. Of these at least one
//! is honest, unless this node alone has a third of the power; and the first honest one of
//! all that took them has a vote, and can stand.
//!
//! What waits is bounded; what is dropped, the leader sends again.

use std::collections::{BTreeSet, VecDeque};

use consilium_proto::ids::NodeId;
use raft::eraftpb::{Message, MessageType};

use super::Core;
use crate::ids::{LogIndex, RaftId};
use crate::log::LogReader;

/// Entries that wait for others to hold them.
#[derive(Default)]
pub(super) struct Waiting {
    appends: VecDeque<(RaftId, Message)>,
    bytes: usize,
}

impl<R: LogReader> Core<R> {
    /// Keeps an append back that must wait; gives back one that may go on.
    pub(super) fn keep_back(&mut self, from: RaftId, message: Message) -> Option<Message> {
        let appends = message.get_msg_type() == MessageType::MsgAppend && message.term == self.term().0;
        if !appends || (self.waiting.appends.is_empty() && self.may_take(&message)) {
            return Some(message);
        }
        let bytes = bytes_of(&message);
        if self.waiting.bytes + bytes <= self.config.message_bytes_max {
            self.waiting.bytes += bytes;
            self.waiting.appends.push_back((from, message));
        }
        None
    }

    /// The next of those that waited, if it may go on by now.
    pub(super) fn next_released(&mut self) -> Option<(RaftId, Message)> {
        while let Some((from, message)) = self.waiting.appends.front() {
            let followed = self.leader() == Some(*from) && self.distrusted != Some((*from, self.term()));
            let current = followed && message.term == self.term().0;
            if current && !self.may_take(message) {
                return None;
            }
            let (from, message) = self.waiting.appends.pop_front()?;
            self.waiting.bytes -= bytes_of(&message);
            if current {
                return Some((from, message));
            }
        }
        None
    }

    fn may_take(&self, message: &Message) -> bool {
        let me = self.config.id;
        if self.membership.is_voter(me) || !self.office.electorate.has_seat(me) {
            return true;
        }
        let Some(last) = message.entries.last() else { return true };
        let reach = LogIndex(last.index);
        let heads = self.tally.heads.iter().filter(|(_, head)| **head >= reach).map(|(peer, _)| *peer);
        let ahead = self.tally.ahead.iter().filter(|(_, acked)| acked.range(reach..).next().is_some());
        let holders: BTreeSet<RaftId> = heads.chain(ahead.map(|(peer, _)| *peer)).collect();
        let with_me = holders.iter().chain([&me]).map(|id| NodeId(id.get())).collect();
        self.membership.has_majority(&holders) || self.office.electorate.is_quorum(&with_me)
    }
}

fn bytes_of(message: &Message) -> usize {
    message.entries.iter().map(|entry| entry.data.len() + entry.context.len() + 64).sum::<usize>() + 64
}
