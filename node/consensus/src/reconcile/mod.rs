//! Raft follows the election: how a leader moves the configuration to the elected set.
//!
//! [`next_step`] looks at the elected set and at a leader's [`Status`], and names the one step
//! to take now, or why none is safe. It remembers nothing: whoever leads next, after whatever
//! crash, goes on from the configuration in force. Call it again after each tick or change.
//!
//! The order: hand over if the leader is not elected; add missing nodes as learners; swap a
//! caught-up elected learner for a voter that is not elected, one pair at a time; let retired
//! nodes go. Every step passes a dry run first: the voters available now have to be a majority
//! before it and after it. It must never read a clock, take the leader's own vote, or reduce
//! the voters below three while three are elected.

mod reason;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::ids::RaftId;
use crate::membership::{CHANGES_MAX, MEMBERS_MAX, MembershipChange};
use crate::status::{PeerProgress, Role, Status};

pub use self::reason::{Tally, WaitReason};

/// Below this many voters not one may fail; no step reduces them further unless fewer are elected.
const VOTERS_FLOOR: usize = 3;

/// Where the configuration should be. Nodes in neither set leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The elected nodes: voters.
    pub voters: BTreeSet<RaftId>,
    /// All other nodes of the ledger that take part. A node that is in `voters` too is a voter.
    pub learners: BTreeSet<RaftId>,
}

/// What counts as fit to vote or to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries that a node may be behind the commit and still count as caught up. More: earlier
    /// promotions, and a longer pause while a new voter catches up.
    pub lag_entries_max: u64,
    /// Ticks until a node that did not take leadership is offered it again. Each offer stops
    /// proposals for up to an election timeout, so this is many of those.
    pub handover_retry_ticks: u64,
}

impl Default for Limits {
    /// 64 entries; 400 ticks, ten to twenty election timeouts at the default settings.
    fn default() -> Self {
        Self { lag_entries_max: 64, handover_retry_ticks: 400 }
    }
}

/// What the leader should do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Propose this change with [`crate::Core::propose_membership`].
    Change(Vec<MembershipChange>),
    /// Hand leadership to this voter with [`crate::Core::transfer_leadership`].
    HandOver(RaftId),
    /// Nothing now.
    Wait(WaitReason),
    /// The configuration is as desired.
    Settled,
}

/// The next safe step from the configuration in `status` towards `desired`.
pub fn next_step(desired: &Desired, status: &Status, limits: &Limits) -> Step {
    let view = View { desired, status, limits };
    if let Some(reason) = view.blocked() {
        return Step::Wait(reason);
    }
    if !view.elected(status.id)
        && let Some(successor) = view.successor()
    {
        return Step::HandOver(successor);
    }
    let change = view.additions().or_else(|| view.voter_change()).or_else(|| view.removals());
    match change {
        Some(changes) => Step::Change(changes),
        None => view.unmet().map_or(Step::Settled, Step::Wait),
    }
}

/// Whom to hand leadership to in turn: the next elected voter after this leader, in cyclic order
/// of ids, that is caught up and active. `None` while anything is under way, or without one.
pub fn rotation_target(desired: &Desired, status: &Status, limits: &Limits) -> Option<RaftId> {
    let view = View { desired, status, limits };
    if view.blocked().is_some() { None } else { view.successor() }
}

struct View<'a> {
    desired: &'a Desired,
    status: &'a Status,
    limits: &'a Limits,
}

impl View<'_> {
    /// What has to end before any step makes sense.
    fn blocked(&self) -> Option<WaitReason> {
        let Status { role, transferring_to, membership, change_pending, .. } = self.status;
        let present = self.tally(&membership.voters);
        if *role != Role::Leader {
            Some(WaitReason::NotLeader)
        } else if let Some(to) = *transferring_to {
            Some(WaitReason::HandingOver { to })
        } else if membership.is_joint() {
            Some(WaitReason::Joint)
        } else if *change_pending {
            Some(WaitReason::ChangePending)
        } else if self.desired.voters.is_empty() {
            Some(WaitReason::NobodyElected)
        } else if !present.is_majority() {
            // No change would be committed.
            Some(WaitReason::NoQuorum { present })
        } else {
            None
        }
    }

    fn elected(&self, id: RaftId) -> bool {
        self.desired.voters.contains(&id)
    }

    fn peer(&self, id: RaftId) -> Option<&PeerProgress> {
        self.status.peers.get(&id)
    }

    fn active(&self, id: RaftId) -> bool {
        id == self.status.id || self.peer(id).is_some_and(|peer| peer.recently_active)
    }

    /// Entries that `id` is behind the commit; `None` for nodes that do not replicate.
    fn lag(&self, id: RaftId) -> Option<u64> {
        if id == self.status.id {
            return Some(0);
        }
        self.peer(id).map(|peer| self.status.commit.0.saturating_sub(peer.matched.0))
    }

    /// Whether `id` can help to commit the next entry: alive, and not far behind. A voter that
    /// is alive and still fetching the log would be counted in vain.
    fn available(&self, id: RaftId) -> bool {
        self.active(id) && self.lag(id).is_some_and(|lag| lag <= self.limits.lag_entries_max)
    }

    fn tally(&self, voters: &BTreeSet<RaftId>) -> Tally {
        let available = voters.iter().filter(|id| self.available(**id)).count();
        Tally { available, voters: voters.len() }
    }

    /// The next voter in cyclic order that is elected, available and not known to decline.
    fn successor(&self) -> Option<RaftId> {
        let fit = |id: &&RaftId| {
            let declined = self.peer(**id).and_then(|peer| peer.ticks_since_declined);
            let declines = declined.is_some_and(|ticks| ticks < self.limits.handover_retry_ticks);
            self.elected(**id) && self.available(**id) && !declines
        };
        let (me, voters) = (self.status.id, &self.status.membership.voters);
        let after = voters.iter().filter(|id| **id > me);
        let before = voters.iter().filter(|id| **id < me);
        after.chain(before).find(fit).copied()
    }

    /// Nodes that should take part and do not, as learners.
    fn additions(&self) -> Option<Vec<MembershipChange>> {
        let membership = &self.status.membership;
        let room = MEMBERS_MAX.saturating_sub(membership.voters.len() + membership.learners.len());
        let wanted = self.desired.voters.union(&self.desired.learners);
        let missing = wanted.filter(|id| !membership.contains(**id)).take(room.min(CHANGES_MAX));
        some_changes(missing.map(|id| MembershipChange::AddLearner(*id)).collect())
    }

    /// Learners that no longer take part. Retired voters are made learners before.
    fn removals(&self) -> Option<Vec<MembershipChange>> {
        let kept = |id: &RaftId| self.elected(*id) || self.desired.learners.contains(id);
        let retired = self.status.membership.learners.iter().filter(|id| !kept(id)).take(CHANGES_MAX);
        some_changes(retired.map(|id| MembershipChange::Remove(*id)).collect())
    }

    /// A swap, or else a promotion, or else a demotion.
    fn voter_change(&self) -> Option<Vec<MembershipChange>> {
        let (promotion, demotion) = (self.promotion(), self.demotion());
        let steps = [(promotion, demotion), (promotion, None), (None, demotion)];
        let (promoted, demoted) = steps.into_iter().find(|(promoted, demoted)| self.allowed(*promoted, *demoted))?;
        let promoted = promoted.map(MembershipChange::AddVoter);
        some_changes(promoted.into_iter().chain(demoted.map(MembershipChange::AddLearner)).collect())
    }

    /// The elected learner to promote next: the lowest id that is caught up and active.
    fn promotion(&self) -> Option<RaftId> {
        let learners = &self.status.membership.learners;
        self.desired.voters.intersection(learners).copied().find(|id| self.available(*id))
    }

    /// The voter to demote next, never the leader: the dead first, since they only count
    /// against a majority, then those behind, then the lowest id.
    fn demotion(&self) -> Option<RaftId> {
        let due = self.status.membership.voters.iter().copied();
        let due = due.filter(|id| !self.elected(*id) && *id != self.status.id);
        due.min_by_key(|id| (self.active(*id), self.available(*id), *id))
    }

    fn voters_after(&self, promoted: Option<RaftId>, demoted: Option<RaftId>) -> BTreeSet<RaftId> {
        let mut voters = self.status.membership.voters.clone();
        voters.extend(promoted);
        voters.retain(|id| Some(*id) != demoted);
        voters
    }

    /// The dry run: whether the voters that a step leads to are enough, and have a majority now.
    fn allowed(&self, promoted: Option<RaftId>, demoted: Option<RaftId>) -> bool {
        let (before, after) = (&self.status.membership.voters, self.voters_after(promoted, demoted));
        let elected = self.desired.voters.len();
        // A live voter stays until its successor is ready, so that the count does not dip; a
        // dead one goes earlier, because without it a smaller majority suffices.
        let shrinks_alive = promoted.is_none() && demoted.is_some_and(|id| self.active(id));
        let least = if shrinks_alive { elected } else { elected.min(VOTERS_FLOOR) };
        let enough = after.len() >= least || after.len() > before.len();
        enough && self.tally(&after).is_majority()
    }

    /// What is not as desired and cannot be changed now.
    fn unmet(&self) -> Option<WaitReason> {
        let membership = &self.status.membership;
        let waiting = self.desired.voters.iter().find(|id| !membership.voters.contains(id));
        if let Some(&id) = waiting {
            return Some(self.not_promoted(id));
        }
        if let Some(demoted) = self.demotion() {
            let after = self.tally(&self.voters_after(None, Some(demoted)));
            return Some(WaitReason::NoQuorumAfter { demoted, after });
        }
        if !self.elected(self.status.id) {
            return Some(WaitReason::NoSuccessor);
        }
        let outside = self.desired.learners.iter().any(|id| !membership.contains(*id));
        outside.then_some(WaitReason::Full)
    }

    fn not_promoted(&self, id: RaftId) -> WaitReason {
        match self.lag(id) {
            None => WaitReason::Full,
            Some(_) if !self.active(id) => {
                WaitReason::Silent { id, ticks: self.peer(id).and_then(|peer| peer.ticks_since_heard) }
            }
            Some(entries) => WaitReason::Behind { id, entries, entries_max: self.limits.lag_entries_max },
        }
    }
}

fn some_changes(changes: Vec<MembershipChange>) -> Option<Vec<MembershipChange>> {
    (!changes.is_empty()).then_some(changes)
}
