//! Checks of what is on disk before the Raft library sees it.
//!
//! The library panics on most of these. A panic tells an operator nothing; each variant here
//! says what is wrong and [`PreflightError::repair`] what to do. Nothing is ever repaired
//! silently: a node that lost acknowledged writes must not vote.

use std::collections::{BTreeSet, VecDeque};

use crate::entry::{EntryKind, LogEntry};
use crate::hard_state::HardState;
use crate::ids::{LogHash, LogIndex, LogPosition, Term};
use crate::log::{LogBounds, LogError, LogReader};
use crate::membership::{Membership, MembershipInvalid};
use crate::term_runs::TermRuns;

/// Bytes of entries read at a time while checking the tail.
const CHUNK_BYTES: usize = 4 << 20;

/// What a node has stored besides its log. For a node that starts for the first time: a default
/// hard state, index 0, and the founding membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initial {
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// The configuration as of `applied`. It need not contain this node (yet).
    pub membership: Membership,
    /// The last index contained in the state machine.
    pub applied: LogIndex,
}

/// What is wrong with the stored state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log ends before it begins.
    #[error("log ends at {last}, before its start after {truncated}")]
    Bounds {
        /// Index before the first entry.
        truncated: LogIndex,
        /// Last index.
        last: LogIndex,
    },
    /// The commit index points outside of the log.
    #[error("commit {commit} is outside of the log ({truncated}..={last})")]
    CommitOutside {
        /// Stored commit index.
        commit: LogIndex,
        /// Index before the first entry.
        truncated: LogIndex,
        /// Last index.
        last: LogIndex,
    },
    /// The state machine is ahead of what is known to be committed.
    #[error("applied {applied} is beyond commit {commit}")]
    AppliedBeyondCommit {
        /// Applied index of the state.
        applied: LogIndex,
        /// Stored commit index.
        commit: LogIndex,
    },
    /// Entries that the state machine still needs are gone.
    #[error("the log starts after {truncated}, but only {applied} is applied")]
    AppliedBehindLog {
        /// Applied index of the state.
        applied: LogIndex,
        /// Index before the first entry.
        truncated: LogIndex,
    },
    /// An entry is not where it should be, or terms fall.
    #[error("log breaks at index {at}: found index {found}, term {term}")]
    NotContiguous {
        /// Where an entry was expected.
        at: LogIndex,
        /// The index found.
        found: LogIndex,
        /// The term found.
        term: Term,
    },
    /// The current term is older than the log.
    #[error("hard state has term {term}, the log has an entry of term {log_term}")]
    TermBehindLog {
        /// Stored term.
        term: Term,
        /// Term of the last entry.
        log_term: Term,
    },
    /// A vote in term zero, where no one can stand.
    #[error("a vote is stored without a term")]
    VoteWithoutTerm,
    /// No usable configuration.
    #[error("stored membership is unusable: {0}")]
    Membership(MembershipInvalid),
}

impl PreflightError {
    /// What an operator can do about it.
    pub fn repair(&self) -> &'static str {
        match self {
            Self::Log(LogError::Io { .. }) => {
                "check the disk and its mount; nothing was changed, start again when it reads"
            }
            Self::Log(LogError::Missing { .. } | LogError::Corrupt { .. })
            | Self::Bounds { .. }
            | Self::NotContiguous { .. }
            | Self::CommitOutside { .. }
            | Self::TermBehindLog { .. }
            | Self::VoteWithoutTerm => {
                "acknowledged log writes were lost or damaged: do not edit the log; remove this \
                 node from the network and let it rejoin with an empty disk under a new raft id"
            }
            Self::AppliedBeyondCommit { .. } => {
                "state and log come from different moments: restore both from one backup, or \
                 rejoin with an empty disk under a new raft id"
            }
            Self::AppliedBehindLog { .. } => {
                "the state is older than the log: take the state from a peer by block sync, or \
                 rejoin with an empty disk under a new raft id"
            }
            Self::Membership(_) => {
                "the membership was not stored with the applied index: restore from one backup, \
                 or rejoin with an empty disk under a new raft id"
            }
        }
    }
}

/// What is known of a stored log that is fit to be used.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) bounds: LogBounds,
    pub(crate) runs: TermRuns,
    /// Of the last entries: the one that was applied last, and all behind it.
    pub(crate) hashes: VecDeque<LogHash>,
    /// Membership entries that are not applied yet.
    pub(crate) changes: BTreeSet<LogIndex>,
}

/// Checks everything.
pub(crate) fn preflight(
    initial: &Initial,
    bounds: LogBounds,
    reader: &impl LogReader,
) -> Result<Stored, PreflightError> {
    check_indices(initial, &bounds)?;
    initial.membership.validate().map_err(PreflightError::Membership)?;
    if initial.hard_state.vote.is_some() && initial.hard_state.term == Term(0) {
        return Err(PreflightError::VoteWithoutTerm);
    }
    let runs = TermRuns::load(reader, &bounds)?;
    let log_term = runs.term(bounds.last);
    if log_term > initial.hard_state.term {
        return Err(PreflightError::TermBehindLog { term: initial.hard_state.term, log_term });
    }
    let mut stored = Stored { bounds, runs, hashes: VecDeque::new(), changes: BTreeSet::new() };
    stored.check_tail(initial.applied.max(bounds.truncated.index), reader)?;
    Ok(stored)
}

fn check_indices(initial: &Initial, bounds: &LogBounds) -> Result<(), PreflightError> {
    let (truncated, last) = (bounds.truncated.index, bounds.last);
    let (commit, applied) = (initial.hard_state.commit, initial.applied);
    if last < truncated {
        return Err(PreflightError::Bounds { truncated, last });
    }
    let LogPosition { index, term, hash: _ } = bounds.truncated;
    if (index == LogIndex(0)) != (term == Term(0)) {
        return Err(PreflightError::NotContiguous { at: index, found: index, term });
    }
    if commit < truncated || commit > last {
        return Err(PreflightError::CommitOutside { commit, truncated, last });
    }
    if applied > commit {
        return Err(PreflightError::AppliedBeyondCommit { applied, commit });
    }
    if applied < truncated {
        return Err(PreflightError::AppliedBehindLog { applied, truncated });
    }
    Ok(())
}

impl Stored {
    /// Reads all entries that are not applied yet: they are about to be used.
    fn check_tail(&mut self, after: LogIndex, reader: &impl LogReader) -> Result<(), PreflightError> {
        let LogBounds { truncated, last } = self.bounds;
        let mut before = if after == truncated.index { truncated.hash } else { reader.position(after)?.hash };
        self.hashes.extend((after > truncated.index).then_some(before));
        let mut at = after.next();
        while at <= last {
            let entries = reader.entries(at, last.next(), CHUNK_BYTES)?;
            if entries.is_empty() {
                return Err(LogError::Missing { index: at }.into());
            }
            for entry in entries {
                let LogPosition { index: found, term, hash } = entry.position();
                if found != at || at > last || term != self.runs.term(at) {
                    return Err(PreflightError::NotContiguous { at, found, term });
                }
                if hash != LogEntry::link(&before, term, at, &entry.kind) {
                    let detail = "it does not follow the entry before it, or is not what was written".to_owned();
                    return Err(LogError::Corrupt { index: at, detail }.into());
                }
                self.hashes.push_back(hash);
                if matches!(entry.kind, EntryKind::ConfChange(_)) {
                    self.changes.insert(at);
                }
                (before, at) = (hash, at.next());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
