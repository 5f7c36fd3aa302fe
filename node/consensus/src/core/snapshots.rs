//! Snapshots in both directions. Only positions pass through here; the node moves the state.
//!
//! Receiving: an offer is held, not stepped. The node fetches the state, verifies it against
//! certificates, and only then calls `install_snapshot`; the next output carries a `Persist`
//! that replaces the log. Sending: a follower is served once the node has put a state on offer.

use raft::eraftpb::{Message, MessageType};
use raft::{ProgressState, SnapshotStatus};

use super::Core;
use crate::convert::snapshot_to_raft;
use crate::ids::{LogIndex, RaftId, Term};
use crate::log::LogReader;
use crate::membership::MembershipInvalid;
use crate::output::IncomingSnapshot;
use crate::snapshot::SnapshotMeta;
use crate::status::Role;

/// What became of a verified snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The next output carries the write that puts it in place.
    Persisting,
    /// The log caught up meanwhile; drop the fetched state.
    NotNeeded,
}

/// Why a snapshot was not installed. It is no longer held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// No snapshot, or another one, was offered.
    #[error("this snapshot is not the one on offer")]
    NotHeld,
    /// The term has moved on and no leader is known yet; a new offer will follow.
    #[error("the offer is from term {offered}, the current term is {current}")]
    Stale {
        /// Term of the offer.
        offered: Term,
        /// Current term.
        current: Term,
    },
    /// This node leads and needs no snapshot.
    #[error("this node leads")]
    Leading,
    /// The library did not take it.
    #[error("raft refused the snapshot")]
    Refused,
}

/// Why a state cannot be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Beyond what this node has applied.
    #[error("{index} is not applied yet (applied {applied})")]
    NotApplied {
        /// Index of the state.
        index: LogIndex,
        /// The applied index.
        applied: LogIndex,
    },
    /// Entries after it are gone, so a follower could not go on from it.
    #[error("the log starts after {truncated}, beyond {index}")]
    TooOld {
        /// Index of the state.
        index: LogIndex,
        /// Index before the first entry.
        truncated: LogIndex,
    },
    /// Not the term of the entry at that index.
    #[error("the entry at this index has term {expected}, not {found}")]
    WrongTerm {
        /// Term of the entry.
        expected: Term,
        /// Term given.
        found: Term,
    },
    /// Not the entry at that index.
    #[error("another entry stands at {index}")]
    WrongEntry {
        /// The index.
        index: LogIndex,
    },
    /// Not a usable configuration.
    #[error("snapshot membership: {0}")]
    Membership(MembershipInvalid),
}

impl<R: LogReader> Core<R> {
    /// Puts the state at `meta` on offer for followers that need one. It stays on offer until
    /// replaced, or until the log after it is compacted.
    ///
    /// # Errors
    /// [`OfferError`]; the former offer stays.
    pub fn offer_snapshot(&mut self, meta: SnapshotMeta) -> Result<(), OfferError> {
        let applied = LogIndex(self.raw.raft.raft_log.applied);
        let (index, found) = (meta.index, meta.term);
        if index > applied || index == LogIndex(0) {
            return Err(OfferError::NotApplied { index, applied });
        }
        let truncated = self.view().truncated().index;
        if index < truncated {
            return Err(OfferError::TooOld { index, truncated });
        }
        let expected = Term(self.raw.raft.raft_log.term(index.0).unwrap_or_default());
        if expected != found {
            return Err(OfferError::WrongTerm { expected, found });
        }
        if self.hash_at(index) != Some(meta.hash) {
            return Err(OfferError::WrongEntry { index });
        }
        meta.membership.validate().map_err(OfferError::Membership)?;
        self.raw.mut_store().offer(meta);
        Ok(())
    }

    /// How the transfer of a snapshot to `peer` ended. Report success only after the follower
    /// acknowledged the installation, and failure always: until a report, or
    /// `snapshot_ticks_max`, the follower gets nothing else.
    pub fn report_snapshot(&mut self, peer: RaftId, ok: bool) {
        let status = if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(peer.get(), status);
        self.snapshot_ages.remove(&peer);
    }

    /// Installs the snapshot on offer, after the node fetched and verified its state: it
    /// vouches for index, term and membership. The state goes into place with the `Persist`
    /// of the next output, not before.
    ///
    /// # Errors
    /// [`InstallError`]; drop the fetched state, or keep it for the next offer.
    pub fn install_snapshot(&mut self, meta: &SnapshotMeta) -> Result<Installed, InstallError> {
        let held = self.held.take().filter(|held| held.meta == *meta);
        let held = held.ok_or(InstallError::NotHeld)?;
        if self.role() == Role::Leader {
            return Err(InstallError::Leading);
        }
        if !meta.membership.contains(self.config.id) {
            return Err(InstallError::Refused);
        }
        let (current, offered) = (self.term(), self.held_term);
        // What is verified does not depend on who offered it; in a later term its leader is
        // the one to answer to.
        let from = match self.leader() {
            Some(leader) if offered <= current => leader,
            None if offered < current => return Err(InstallError::Stale { offered, current }),
            Some(_) | None => held.from,
        };
        let message = Message {
            msg_type: MessageType::MsgSnapshot as i32,
            from: from.get(),
            to: self.config.id.get(),
            term: offered.max(current).0,
            snapshot: Some(snapshot_to_raft(meta)),
            ..Message::default()
        };
        self.drop_other_tail(meta);
        let (before, leader) = (self.raw.raft.raft_log.committed, self.leader());
        self.raw.step(message).map_err(|_| InstallError::Refused)?;
        // Whoever gave it leads only if that was known before.
        if leader.is_none() && self.office.proven() != Some((self.term(), from)) {
            self.raw.raft.leader_id = raft::INVALID_ID;
        }
        if self.raw.raft.raft_log.unstable_snapshot().is_some() {
            self.membership = meta.membership.clone();
            self.membership_since = meta.index;
            return Ok(Installed::Persisting);
        }
        let committed = self.raw.raft.raft_log.committed;
        if meta.index.0 <= before.max(committed) {
            return Ok(Installed::NotNeeded);
        }
        Err(InstallError::Refused)
    }

    /// Takes a state that certificates vouch for as if it had been offered: who leads, or
    /// whether anybody does, is of no account.
    pub fn hold_certified(&mut self, from: RaftId, meta: SnapshotMeta) {
        self.held = Some(IncomingSnapshot { from, meta });
        self.held_term = self.term();
    }

    /// Drops the snapshot on offer: its state could not be fetched, or did not verify.
    pub fn refuse_snapshot(&mut self) {
        self.held = None;
        self.held_is_new = false;
    }

    pub(super) fn age_snapshots(&mut self) {
        if !self.is_leader() {
            self.snapshot_ages.clear();
            return;
        }
        let waiting = |id: &RaftId| {
            let progress = self.raw.raft.prs().get(id.get());
            progress.is_some_and(|progress| progress.state == ProgressState::Snapshot)
        };
        let members = self.membership.voters.iter();
        let members = members.chain(&self.membership.learners);
        let members = members.chain(&self.membership.voters_outgoing);
        let ages: std::collections::BTreeMap<_, _> = members
            .filter(|id| waiting(id))
            .map(|id| (*id, self.snapshot_ages.get(id).map_or(1, |age| age + 1)))
            .collect();
        self.snapshot_ages = ages;
        let overdue = |(id, age): (&RaftId, &u32)| (*age > self.config.snapshot_ticks_max).then_some(*id);
        let overdue: Vec<_> = self.snapshot_ages.iter().filter_map(overdue).collect();
        for id in overdue {
            self.report_snapshot(id, false);
        }
    }
}
