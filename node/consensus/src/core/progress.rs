//! Reports of what is written and what is applied, and compaction.

use super::Core;
use crate::ids::{LogIndex, LogPosition};
use crate::log::LogReader;
use crate::output::PersistSeq;

/// A report about a write that was never asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersistError {
    /// The number is beyond the last one issued.
    #[error("write {seq:?} was never issued, the last one is {issued:?}")]
    NeverIssued {
        /// The number reported.
        seq: PersistSeq,
        /// The last one issued.
        issued: PersistSeq,
    },
}

/// A report about applying that cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Entries that were never given out.
    #[error("{index} was never given out, the last index was {handed_out}")]
    NotHandedOut {
        /// The index reported.
        index: LogIndex,
        /// The last one given out.
        handed_out: LogIndex,
    },
    /// A membership entry at or below the index was not put into force first; the joint
    /// configuration would never be left.
    #[error("membership entry {change} comes before {index}")]
    MembershipPending {
        /// The index reported.
        index: LogIndex,
        /// The membership entry.
        change: LogIndex,
    },
    /// Not the membership entry that is next.
    #[error("entry {index} is not the next membership entry ({expected:?})")]
    NotNextMembership {
        /// The index given.
        index: LogIndex,
        /// The index expected, if any.
        expected: Option<LogIndex>,
    },
}

/// Why the log was not compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// Entries that are not applied may still be needed.
    #[error("{index} is not applied yet (applied {applied})")]
    NotApplied {
        /// The index asked for.
        index: LogIndex,
        /// The applied index.
        applied: LogIndex,
    },
    /// The entry there cannot be read: a fault, which [`Core::fault`] tells.
    #[error("the entry at {index} cannot be read")]
    Unreadable {
        /// The index asked for.
        index: LogIndex,
    },
    /// It is gone already.
    #[error("the log starts after {truncated} already")]
    Compacted {
        /// Index before the first entry.
        truncated: LogIndex,
    },
}

impl<R: LogReader> Core<R> {
    /// The write `seq`, and all before it, are durable. Its `messages_after` may now go.
    ///
    /// # Errors
    /// [`PersistError`] for a number that was never issued.
    pub fn persisted(&mut self, seq: PersistSeq) -> Result<(), PersistError> {
        if seq > self.issued {
            return Err(PersistError::NeverIssued { seq, issued: self.issued });
        }
        self.acknowledged = self.acknowledged.max(seq);
        // While entries on disk are about to be replaced by a later write, a crash would bring
        // back the earlier ones; until then nothing counts as durable.
        let open = |persist: &super::PendingPersist| persist.seq > self.acknowledged;
        if self.pending.iter().any(|persist| open(persist) && persist.overwrites) {
            return Ok(());
        }
        let mut newest = None;
        let mut snapshot = None;
        while self.pending.front().is_some_and(|persist| persist.seq <= self.acknowledged) {
            let Some(persist) = self.pending.pop_front() else { break };
            snapshot = persist.snapshot.or(snapshot);
            self.durable_vote = persist.vote;
            newest = Some(persist.seq);
        }
        if let Some(newest) = newest {
            // Later rounds without a write are covered as soon as nothing else is under way.
            let number = if self.pending.is_empty() { self.ready_number } else { newest.0 };
            self.hold_commit(|core| core.raw.on_persist_ready(number));
        }
        if let Some(index) = snapshot {
            self.snapshot_is_applied(index);
        }
        let durable = LogIndex(self.raw.raft.raft_log.persisted);
        self.raw.mut_store().evict(durable);
        if self.renewal_waits() {
            self.renew_mandate();
        }
        Ok(())
    }

    /// An installed snapshot is the applied state. Raft needs to know before the next election,
    /// which reads the entries after the applied index.
    fn snapshot_is_applied(&mut self, index: LogIndex) {
        let log = &self.raw.raft.raft_log;
        if index.0 > log.applied && index.0 <= log.committed.min(log.persisted) {
            self.raw.advance_apply_to(index.0);
        }
    }

    /// Entries up to `index` are applied. Lower indices than before are ignored, so that
    /// reports may arrive late.
    ///
    /// # Errors
    /// [`ApplyError`] if that cannot be, or if a membership entry was passed over.
    pub fn applied(&mut self, index: LogIndex) -> Result<(), ApplyError> {
        let log = &self.raw.raft.raft_log;
        if index.0 <= log.applied {
            return Ok(());
        }
        let bound = self.handed_out.min(LogIndex(log.committed.min(log.persisted)));
        if index > bound {
            return Err(ApplyError::NotHandedOut { index, handed_out: bound });
        }
        if let Some(change) = self.first_unapplied_change().filter(|change| *change <= index) {
            return Err(ApplyError::MembershipPending { index, change });
        }
        self.raw.advance_apply_to(index.0);
        Ok(())
    }

    /// Forgets entries up to `index`; followers that lack them get a snapshot. The node deletes
    /// them from disk afterwards, storing the returned position as the new truncation point in
    /// the same batch.
    ///
    /// # Errors
    /// [`CompactError`]; nothing changed.
    pub fn compact_to(&mut self, index: LogIndex) -> Result<LogPosition, CompactError> {
        let applied = LogIndex(self.raw.raft.raft_log.applied);
        if index > applied || self.installing_snapshot() {
            return Err(CompactError::NotApplied { index, applied });
        }
        let truncated = self.view().truncated().index;
        if index <= truncated {
            return Err(CompactError::Compacted { truncated });
        }
        self.raw.mut_store().compact_to(index).ok_or(CompactError::Unreadable { index })
    }
}
