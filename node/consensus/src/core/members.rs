//! Changing who takes part.
//!
//! Changes are proposed by the leader, one at a time, and take effect where they are applied.
//! More than one step at once goes through a joint configuration, which the leader leaves by
//! itself with an *empty* membership entry.

use std::collections::BTreeSet;

use raft::Changer;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, EntryType};

use super::{ApplyError, Core, ProposeError};
use crate::convert::{decode_change, membership_from_raft, membership_steps};
use crate::entry::{EntryKind, LogEntry};
use crate::ids::{LogIndex, LogPosition};
use crate::log::LogReader;
use crate::membership::{CHANGES_MAX, MEMBERS_MAX, Membership, MembershipChange};

/// Why a membership change was not proposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// As for any proposal.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// Another change is not applied yet, or the configuration is joint. Raft would answer "ok"
    /// and append an empty entry instead.
    #[error("another membership change is under way")]
    ChangePending,
    /// The change does not fit the present configuration.
    #[error("membership change does not fit: {0}")]
    Invalid(String),
    /// The leader would lose its vote: hand over leadership first.
    #[error("the change takes the leader's own vote")]
    RemovesLeader,
}

/// What became of a membership entry. The same on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipOutcome {
    /// It is in force; store the membership in the same batch as the applied index.
    Applied(Membership),
    /// It does not fit: a faulty leader proposed it, or the ledger has moved on. It has no
    /// effect.
    Refused {
        /// Why.
        reason: String,
    },
}

impl<R: LogReader> Core<R> {
    /// Proposes to change the configuration.
    ///
    /// # Errors
    /// [`MembershipError`]; nothing was proposed.
    pub fn propose_membership(&mut self, changes: &[MembershipChange]) -> Result<LogPosition, MembershipError> {
        self.check_proposer()?;
        if self.change_pending() {
            return Err(MembershipError::ChangePending);
        }
        let change = conf_change(changes);
        let next = preview(self.raw.raft.prs(), &change).map_err(MembershipError::Invalid)?;
        if !next.voters.contains(&self.config.id) {
            return Err(MembershipError::RemovesLeader);
        }
        let before = self.raw.raft.raft_log.last_index();
        if self.raw.propose_conf_change(Vec::new(), change).is_err() {
            let uncommitted_bytes = self.raw.raft.uncommitted_size();
            return Err(ProposeError::Overloaded { uncommitted_bytes }.into());
        }
        self.seal();
        let position = self.appended_after(before).ok_or(ProposeError::NotAppended)?;
        let last = self.raw.raft.raft_log.unstable_entries().last();
        if last.map(|entry| entry.get_entry_type()) != Some(EntryType::EntryConfChangeV2) {
            return Err(MembershipError::ChangePending);
        }
        Ok(position)
    }

    /// Puts a committed membership entry into force, if `fits` says so of each of its steps and
    /// the membership before it. To be called in log order, before [`Core::applied`] for its
    /// index; `fits` must say the same on every node.
    ///
    /// # Errors
    /// [`ApplyError`] when `entry` is not the next membership entry given out: a mistake of the
    /// driver, or an entry that a snapshot has overtaken.
    pub fn apply_membership(
        &mut self,
        entry: &LogEntry,
        fits: impl Fn(MembershipChange, &Membership) -> Result<(), &'static str>,
    ) -> Result<MembershipOutcome, ApplyError> {
        let expected = self.first_unapplied_change();
        let EntryKind::ConfChange(data) = &entry.kind else {
            return Err(ApplyError::NotNextMembership { index: entry.index, expected });
        };
        if expected != Some(entry.index) {
            return Err(ApplyError::NotNextMembership { index: entry.index, expected });
        }
        self.changes.pop_first();
        self.membership_since = entry.index;
        let judged = membership_steps(data)
            .and_then(|steps| steps.into_iter().try_for_each(|step| fits(step, &self.membership)).map_err(Into::into));
        Ok(match judged.and_then(|()| self.change_membership(data)) {
            Ok(()) => MembershipOutcome::Applied(self.membership.clone()),
            Err(reason) => MembershipOutcome::Refused { reason },
        })
    }

    fn change_membership(&mut self, data: &[u8]) -> Result<(), String> {
        let change = decode_change(data)?;
        preview(self.raw.raft.prs(), &change)?;
        let state = self.hold_commit(|core| core.raw.apply_conf_change(&change)).map_err(|error| error.to_string())?;
        self.membership = membership_from_raft(&state);
        // A leader without a vote stays leader in the library and panics on its next write.
        if self.is_leader() && !self.membership.is_voter(self.config.id) {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        Ok(())
    }

    /// Entries come into the log, in place of those that were there.
    pub(super) fn note_membership_entries(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        self.changes.split_off(&first.index);
        let changes = entries.iter().filter(|entry| matches!(entry.kind, EntryKind::ConfChange(_)));
        self.changes.extend(changes.map(|entry| entry.index));
    }

    /// The next membership entry, if it was given out.
    pub(super) fn first_unapplied_change(&self) -> Option<LogIndex> {
        self.changes.first().copied().filter(|change| *change <= self.handed_out)
    }
}

fn conf_change(changes: &[MembershipChange]) -> ConfChangeV2 {
    let single = |change: &MembershipChange| {
        let (change_type, node) = match *change {
            MembershipChange::AddVoter(id) => (ConfChangeType::AddNode, id),
            MembershipChange::AddLearner(id) => (ConfChangeType::AddLearnerNode, id),
            MembershipChange::Remove(id) => (ConfChangeType::RemoveNode, id),
        };
        ConfChangeSingle { change_type: change_type as i32, node_id: node.get() }
    };
    // The transition stays "auto": one step is simple, more become joint with auto-leave.
    ConfChangeV2 { changes: changes.iter().map(single).collect(), ..ConfChangeV2::default() }
}

/// The configuration that `change` leads to, or why it does not fit. Depends only on replicated
/// state, so all nodes agree.
fn preview(tracker: &raft::ProgressTracker, change: &ConfChangeV2) -> Result<Membership, String> {
    if change.changes.len() > CHANGES_MAX {
        return Err(format!("{} steps exceed {CHANGES_MAX}", change.changes.len()));
    }
    let ids: BTreeSet<u64> = change.changes.iter().map(|single| single.node_id).collect();
    if ids.len() != change.changes.len() || ids.contains(&0) {
        return Err("a node is named twice, or none".to_owned());
    }
    let mut changer = Changer::new(tracker);
    let result = if change.leave_joint() {
        changer.leave_joint()
    } else if let Some(auto_leave) = change.enter_joint() {
        changer.enter_joint(auto_leave, &change.changes)
    } else {
        changer.simple(&change.changes)
    };
    let (configuration, _) = result.map_err(|error| error.to_string())?;
    let next = membership_from_raft(&configuration.to_conf_state());
    let members = next.voters.len() + next.learners.len() + next.voters_outgoing.len();
    if members > MEMBERS_MAX {
        return Err(format!("{members} members exceed {MEMBERS_MAX}"));
    }
    next.validate().map_err(|error| error.to_string())?;
    Ok(next)
}
