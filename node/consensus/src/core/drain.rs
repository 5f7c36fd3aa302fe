//! Turning the library's "ready" into an [`Output`].
//!
//! The one rule that everything here serves: no message may promise what a crash can take
//! back. A leader's messages may go before its own write (thesis 10.2.1), once its term and
//! vote are durable; everyone else's wait for the write that they rest on.

use raft::Ready;
use raft::eraftpb::Message;

use super::{Core, PendingPersist};
use crate::convert::{entry_from_raft, hard_state_from_raft, snapshot_from_raft};
use crate::entry::LogEntry;
use crate::ids::RaftId;
use crate::log::{LogError, LogReader};
use crate::output::{Outbound, Output, Persist, PersistSeq};
use crate::wire;

impl<R: LogReader> Core<R> {
    /// The next round of work, or `None` when there is none. Call it after every input, until
    /// it returns `None`.
    ///
    /// # Errors
    /// The log could not be read. This is a fault: drop the instance, do not call it again.
    pub fn take_output(&mut self) -> Result<Option<Output>, LogError> {
        self.settle_office();
        self.seal();
        self.recount();
        // A change of the membership confirms reads, too.
        self.raise_reads();
        let mut output = Output::default();
        if self.raw.has_ready() {
            self.drain_ready(&mut output);
        }
        let heads = std::mem::take(&mut self.heads);
        output.messages.extend(heads.iter().filter_map(encode));
        output.reads = std::mem::take(&mut self.read_outcomes);
        if self.held_is_new {
            self.held_is_new = false;
            output.snapshot_offered = self.held.clone();
        }
        output.snapshot_wanted = self.raw.mut_store().take_wanted().into_iter().collect();
        let leadership = self.current_leadership();
        if leadership != self.leadership {
            self.leadership = leadership;
            output.leadership = Some(leadership);
        }
        match self.fault() {
            Some(error) => Err(error),
            None if output.is_empty() => Ok(None),
            None => Ok(Some(output)),
        }
    }

    fn drain_ready(&mut self, output: &mut Output) {
        let mut ready = self.raw.ready();
        self.ready_number = ready.number();
        self.note_read_states(ready.take_read_states());
        let committed = ready.take_committed_entries().into_iter();
        output.committed = committed.map(entry_from_raft).collect();
        if let Some(last) = output.committed.last() {
            self.handed_out = last.index;
        }
        let (mut persist, overwrites) = self.take_persist(&mut ready);
        // They name what is in this round, too.
        let mut messages = ready.take_messages();
        messages.extend(ready.take_persisted_messages());
        let messages = self.outbound(messages);
        // From here on the library reads what is in this round from our store.
        self.raw.advance_append_async(ready);

        if self.is_leader() && self.vote_durable() {
            // Whoever does not vote in Raft cannot be elected: were it alone to have an entry,
            // it would withhold its power from everybody, and nobody could lead.
            let votes = |message: &Outbound| self.membership.is_voter(message.to);
            (output.messages, persist.messages_after) = messages.into_iter().partition(votes);
        } else {
            persist.messages_after = messages;
        }
        self.issue(persist, overwrites, output);
    }

    /// Takes what is to be written out of `ready`, and into the cache; and whether it replaces
    /// entries that were there before.
    fn take_persist(&mut self, ready: &mut Ready) -> (Persist, bool) {
        let entries: Vec<LogEntry> = ready.take_entries().into_iter().map(entry_from_raft).collect();
        let snapshot = (!ready.snapshot().is_empty()).then(|| snapshot_from_raft(ready.snapshot()));
        let persist = Persist {
            seq: PersistSeq(ready.number()),
            snapshot,
            entries,
            hard_state: ready.hs().map(hard_state_from_raft),
            must_sync: ready.must_sync(),
            messages_after: Vec::new(),
        };
        if let Some(meta) = &persist.snapshot {
            self.raw.mut_store().reset(meta.position());
            self.handed_out = meta.index;
            self.changes.clear();
        }
        let last = self.view().last();
        let overwrites = persist.snapshot.is_some() || persist.entries.first().is_some_and(|entry| entry.index <= last);
        self.note_membership_entries(&persist.entries);
        self.raw.mut_store().append(&persist.entries);
        (persist, overwrites)
    }

    /// Issues the write, unless it would write nothing and nobody has to wait for it.
    fn issue(&mut self, mut persist: Persist, overwrites: bool, output: &mut Output) {
        let empty = persist.snapshot.is_none() && persist.entries.is_empty() && persist.hard_state.is_none();
        if empty && self.pending.is_empty() {
            output.messages.append(&mut persist.messages_after);
            self.hold_commit(|core| core.raw.on_persist_ready(persist.seq.0));
            return;
        }
        // Messages that rest on earlier, unfinished writes wait behind an empty one.
        if empty && persist.messages_after.is_empty() {
            return;
        }
        self.issued = persist.seq;
        self.pending.push_back(PendingPersist {
            seq: persist.seq,
            overwrites,
            vote: (self.term(), RaftId::new(self.raw.raft.vote)),
            snapshot: persist.snapshot.as_ref().map(|meta| meta.index),
        });
        output.persist = Some(persist);
    }

    fn outbound(&mut self, mut messages: Vec<Message>) -> Vec<Outbound> {
        self.ask_voteless(&mut messages);
        self.share_acks(&mut messages);
        let endorsed = messages.into_iter().filter_map(|message| self.endorse(message));
        endorsed.filter_map(|message| encode(&message)).collect()
    }
}

fn encode(message: &Message) -> Option<Outbound> {
    let to = RaftId::new(message.to)?;
    Some(Outbound { to, bytes: wire::encode(message) })
}
