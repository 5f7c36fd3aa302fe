//! Proposals and the hand-over of leadership.

use bytes::Bytes;

use super::Core;
use crate::ids::{LogIndex, LogPosition, RaftId, Term};
use crate::log::LogReader;

/// Why a proposal was not taken. It will certainly not be committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Only the leader takes proposals; nothing is forwarded.
    #[error("not the leader")]
    NotLeader {
        /// Who is, if known.
        leader: Option<RaftId>,
    },
    /// Too much is waiting to be committed. Try again later.
    #[error("{uncommitted_bytes} bytes wait to be committed")]
    Overloaded {
        /// Content that is not committed yet, in bytes.
        uncommitted_bytes: usize,
    },
    /// Leadership is being handed over. Try the next leader soon.
    #[error("leadership is being handed to {to}")]
    Transferring {
        /// The next leader.
        to: RaftId,
    },
    /// No entry may be empty: an empty one opens a term.
    #[error("proposal is empty")]
    Empty,
    /// Larger than an entry may be.
    #[error("proposal of {len} bytes exceeds {max}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The library answered "ok" and did something else.
    #[error("raft did not append the proposal")]
    NotAppended,
}

impl ProposeError {
    /// Whether the same proposal may succeed later, here or at another node.
    pub fn retryable(&self) -> bool {
        match self {
            Self::NotLeader { .. } | Self::Overloaded { .. } | Self::Transferring { .. } | Self::NotAppended => true,
            Self::Empty | Self::TooLarge { .. } => false,
        }
    }
}

/// Why leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can.
    #[error("not the leader")]
    NotLeader {
        /// Who is, if known.
        leader: Option<RaftId>,
    },
    /// The node has no vote in the coming configuration, or is this node.
    #[error("{to} cannot lead")]
    NotEligible {
        /// The node asked for.
        to: RaftId,
    },
    /// No other voter was heard from lately.
    #[error("no voter to hand over to")]
    NoCandidate,
}

impl<R: LogReader> Core<R> {
    /// Appends a command to the leader's log, and gives where it stands there. It is decided
    /// only when an entry is committed at that index: the same one, or another, and then the
    /// proposal is lost. While neither has happened its outcome is *unknown*, also after
    /// leadership is lost.
    ///
    /// # Errors
    /// [`ProposeError`]; the command is not in the log.
    pub fn propose(&mut self, command: Bytes) -> Result<LogPosition, ProposeError> {
        if command.is_empty() {
            return Err(ProposeError::Empty);
        }
        let (len, max) = (command.len(), self.config.entry_bytes_max);
        if len > max {
            return Err(ProposeError::TooLarge { len, max });
        }
        self.check_proposer()?;
        let before = self.raw.raft.raft_log.last_index();
        if self.raw.propose(Vec::new(), command.to_vec()).is_err() {
            let uncommitted_bytes = self.raw.raft.uncommitted_size();
            return Err(ProposeError::Overloaded { uncommitted_bytes });
        }
        self.seal();
        self.appended_after(before).ok_or(ProposeError::NotAppended)
    }

    pub(super) fn check_proposer(&self) -> Result<(), ProposeError> {
        if !self.is_leader() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        match self.transferring_to().or(self.renewal_waits().then_some(self.config.id)) {
            Some(to) => Err(ProposeError::Transferring { to }),
            None => Ok(()),
        }
    }

    /// The position after `before`, if exactly that was appended, in the current term.
    pub(super) fn appended_after(&self, before: u64) -> Option<LogPosition> {
        let log = &self.raw.raft.raft_log;
        let entry = log.unstable_entries().last()?;
        let index = LogIndex(entry.index);
        let expected = entry.index == before + 1 && entry.term == self.raw.raft.term;
        let hash = expected.then(|| self.hash_at(index)).flatten()?;
        Some(LogPosition { index, term: Term(entry.term), hash })
    }

    /// Starts to hand leadership to `to`, or to the most caught-up voter that was heard from
    /// (the lowest id among equals). Proposals are refused until it is done or an election
    /// timeout has passed. Returns whom it goes to.
    ///
    /// # Errors
    /// [`TransferError`]; leadership stays.
    pub fn transfer_leadership(&mut self, to: Option<RaftId>) -> Result<RaftId, TransferError> {
        if !self.is_leader() {
            return Err(TransferError::NotLeader { leader: self.leader() });
        }
        let to = match to {
            Some(to) => self.eligible(to).then_some(to).ok_or(TransferError::NotEligible { to })?,
            None => self.most_caught_up().ok_or(TransferError::NoCandidate)?,
        };
        self.raw.transfer_leader(to.get());
        Ok(to)
    }

    fn eligible(&self, to: RaftId) -> bool {
        to != self.config.id && self.membership.voters.contains(&to)
    }

    fn most_caught_up(&self) -> Option<RaftId> {
        let progress = |id: RaftId| self.raw.raft.prs().get(id.get());
        let voters = self.membership.voters.iter().copied().filter(|id| self.eligible(*id));
        let active = voters.filter(|id| self.recently_active(*id));
        // The last of equal maxima wins, hence from the highest id to the lowest.
        active.rev().max_by_key(|id| progress(*id).map(|peer| peer.matched))
    }
}
