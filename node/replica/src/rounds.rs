//! Rounds of Raft on their way to the log, and the messages that vouch for them.
//! A message never leaves before all that it vouches for is durable.
//!
//! A round that only says how far the log is committed promises nothing: it waits for
//! the next one, or for a tick, and costs no write of its own.

use std::collections::VecDeque;

use consilium_consensus::{LogEntry, Outbound, Persist, PersistSeq};
use consilium_proto::vote::Vote;

use crate::disk::LogWrite;
use crate::io::Output;

/// Bytes of entries that wait for the disk. Beyond it, messages that may hold more are
/// not taken: a leader that goes by the rules sends them again.
const UNWRITTEN_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of a message that is always taken: heartbeats, acknowledgements, elections.
const SMALL_BYTES: usize = 4 * 1024;

/// See the module.
#[derive(Default)]
pub(crate) struct Rounds {
    /// Messages by the round that they wait for.
    unsent: VecDeque<(PersistSeq, Vec<Outbound>)>,
    /// Not handed out yet.
    idle: Option<Persist>,
    /// The newest round that was handed out, and the newest that was reported.
    issued: PersistSeq,
    written: PersistSeq,
    /// Votes were handed out that no later write makes durable.
    unsynced: bool,
    /// Bytes of the entries of rounds that were handed out and not reported.
    unwritten: VecDeque<(PersistSeq, usize)>,
    unwritten_bytes: usize,
}

impl Rounds {
    /// Takes a round. Gives the messages that may leave at once.
    #[must_use]
    pub(crate) fn take(&mut self, mut round: Persist, out: &mut Vec<Output>) -> Vec<Outbound> {
        let messages = std::mem::take(&mut round.messages_after);
        let idle = self.idle.take().and_then(|idle| idle.hard_state);
        round.hard_state = round.hard_state.or(idle);
        if promises_nothing(&round) {
            self.idle = Some(round);
        } else {
            self.issue(round, out);
        }
        if self.written >= self.issued {
            return messages;
        }
        self.unsent.push_back((self.issued, messages));
        Vec::new()
    }

    /// Has votes of others remembered. They cost no sync of their own while rounds are
    /// written.
    pub(crate) fn remember(&mut self, votes: Vec<Vote>, out: &mut Vec<Output>) {
        if !votes.is_empty() {
            self.unsynced = true;
            out.push(Output::WriteLog(LogWrite::Votes(votes)));
        } else if std::mem::take(&mut self.unsynced) {
            out.push(Output::WriteLog(LogWrite::Sync));
        }
    }

    /// Hands out what waited for the next round.
    pub(crate) fn flush(&mut self, out: &mut Vec<Output>) {
        if let Some(idle) = self.idle.take() {
            self.issue(idle, out);
        }
    }

    fn issue(&mut self, round: Persist, out: &mut Vec<Output>) {
        self.issued = round.seq;
        self.unsynced &= !round.must_sync;
        let bytes = round.entries.iter().map(LogEntry::data_len).sum();
        self.unwritten.push_back((round.seq, bytes));
        self.unwritten_bytes += bytes;
        out.push(Output::WriteLog(LogWrite::Round(round)));
    }

    /// Whether a message of so many bytes may be taken, whatever is in it.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        bytes <= SMALL_BYTES || self.unwritten_bytes + bytes <= UNWRITTEN_BYTES_MAX
    }

    /// Rounds up to this one are durable. Gives the messages that may leave now.
    #[must_use]
    pub(crate) fn written(&mut self, seq: PersistSeq) -> Vec<Outbound> {
        self.written = self.written.max(seq);
        while let Some((_, bytes)) = self.unwritten.pop_front_if(|(unwritten, _)| *unwritten <= seq) {
            self.unwritten_bytes -= bytes;
        }
        let count = self.unsent.iter().take_while(|(vouched, _)| *vouched <= seq).count();
        self.unsent.drain(..count).flat_map(|(_, messages)| messages).collect()
    }
}

fn promises_nothing(round: &Persist) -> bool {
    round.entries.is_empty() && round.snapshot.is_none() && !round.must_sync
}

#[cfg(test)]
mod tests;
