//! What holds in every situation, and where repeated steps lead.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;
use crate::ids::LogIndex;
use crate::membership::Membership;

const NODES: u64 = 9;

/// A whole situation: who votes and learns, who should, who is dead or behind.
#[derive(Clone, Debug)]
struct World {
    me: RaftId,
    membership: Membership,
    desired: Desired,
    dead: BTreeSet<RaftId>,
    behind: BTreeSet<RaftId>,
    declining: BTreeSet<RaftId>,
}

impl World {
    fn status(&self) -> Status {
        let mut status = leader(self.me, self.membership.clone());
        for (id, peer) in &mut status.peers {
            peer.recently_active = !self.dead.contains(id);
            peer.matched = LogIndex(COMMIT - if self.behind.contains(id) { 100 } else { 3 });
            peer.ticks_since_declined = self.declining.contains(id).then_some(7);
        }
        status
    }

    fn step(&self) -> Step {
        next_step(&self.desired, &self.status(), &Limits::default())
    }

    fn alive_majority(&self, voters: &BTreeSet<RaftId>) -> bool {
        let alive = voters.iter().filter(|id| **id == self.me || !self.dead.contains(id)).count();
        alive > voters.len() / 2
    }

    /// The configuration after `changes`, the joint one already left.
    fn after(&self, changes: &[MembershipChange]) -> Membership {
        let Membership { mut voters, mut learners, .. } = self.membership.clone();
        for change in changes {
            let (MembershipChange::AddVoter(id) | MembershipChange::AddLearner(id) | MembershipChange::Remove(id)) =
                *change;
            voters.remove(&id);
            learners.remove(&id);
            match change {
                MembershipChange::AddVoter(_) => voters.insert(id),
                MembershipChange::AddLearner(_) => learners.insert(id),
                MembershipChange::Remove(_) => true,
            };
        }
        Membership { voters, learners, ..Membership::default() }
    }

    /// Does as the step says, until there is nothing to do. Checks each on the way.
    fn run(&mut self) -> Result<Step, TestCaseError> {
        // One pair or hand-over a step, learners in and out in one each.
        for _ in 0..2 * NODES + 8 {
            match self.step() {
                Step::Change(changes) => {
                    self.check(&changes)?;
                    self.membership = self.after(&changes);
                }
                Step::HandOver(to) => {
                    self.check_successor(to)?;
                    self.me = to;
                    // The new leader has a term of its own, in which nobody has declined.
                    self.declining.clear();
                }
                last @ (Step::Wait(_) | Step::Settled) => return Ok(last),
            }
        }
        Err(TestCaseError::fail(format!("no end: {self:?}")))
    }

    fn check_successor(&self, to: RaftId) -> Result<(), TestCaseError> {
        prop_assert!(!self.desired.voters.contains(&self.me), "an elected leader stays");
        prop_assert!(self.desired.voters.contains(&to) && self.membership.voters.contains(&to));
        prop_assert!(to != self.me && !self.dead.contains(&to) && !self.behind.contains(&to));
        prop_assert!(!self.declining.contains(&to));
        Ok(())
    }

    fn check(&self, changes: &[MembershipChange]) -> Result<(), TestCaseError> {
        let (old, new) = (&self.membership, self.after(changes));
        prop_assert!(!changes.is_empty() && changes.len() <= CHANGES_MAX);
        prop_assert!(new != *old && new.validate().is_ok());
        prop_assert!(self.alive_majority(&old.voters), "{changes:?} cannot be committed");
        prop_assert!(self.alive_majority(&new.voters), "{changes:?} stops the group");
        prop_assert!(new.voters.contains(&self.me), "{changes:?} takes the leader's vote");
        // Quorums overlap even without the joint step, and the count does not dip.
        let promoted: Vec<_> = new.voters.difference(&old.voters).collect();
        let demoted: Vec<_> = old.voters.difference(&new.voters).collect();
        prop_assert!(promoted.len() <= 1 && demoted.len() <= 1, "{changes:?}");
        let floor = self.desired.voters.len().min(3);
        prop_assert!(new.voters.len() >= floor.min(old.voters.len()), "{changes:?} leaves too few");
        for id in promoted {
            prop_assert!(self.desired.voters.contains(id) && old.learners.contains(id));
            prop_assert!(!self.dead.contains(id) && !self.behind.contains(id), "{id} is not ready");
        }
        for id in demoted {
            prop_assert!(!self.desired.voters.contains(id) && new.learners.contains(id));
            let shrinks_alive = !self.dead.contains(id) && new.voters.len() < old.voters.len();
            prop_assert!(!shrinks_alive || new.voters.len() >= self.desired.voters.len());
        }
        let wanted: BTreeSet<_> = self.desired.voters.union(&self.desired.learners).copied().collect();
        for gone in old.learners.iter().filter(|id| !new.contains(**id)) {
            prop_assert!(!wanted.contains(gone), "{gone} takes part");
        }
        Ok(())
    }

    fn reached(&self) -> bool {
        let learners: BTreeSet<_> = self.desired.learners.difference(&self.desired.voters).copied().collect();
        self.membership.voters == self.desired.voters && self.membership.learners == learners
    }
}

fn some_ids(least: usize) -> impl Strategy<Value = BTreeSet<RaftId>> {
    btree_set((1..=NODES).prop_map(id), least..=NODES as usize)
}

fn world() -> impl Strategy<Value = World> {
    let sets = (some_ids(1), some_ids(0), some_ids(1), some_ids(0));
    let faults = (btree_set((1..=NODES).prop_map(id), 0..5), btree_set((1..=NODES).prop_map(id), 0..3), some_ids(0));
    (sets, faults, any::<prop::sample::Index>()).prop_map(|(sets, (mut dead, behind, declining), index)| {
        let (voters, learners, elected, others) = sets;
        let all: Vec<RaftId> = voters.iter().copied().collect();
        let me = *index.get(&all);
        dead.remove(&me);
        let learners = learners.difference(&voters).copied().collect();
        let membership = Membership { voters, learners, ..Membership::default() };
        World { me, membership, desired: Desired { voters: elected, learners: others }, dead, behind, declining }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever is dead or behind: each step is safe, and the steps come to an end.
    #[test]
    fn every_step_is_safe(mut world in world()) {
        let end = world.run()?;
        prop_assert!(end != Step::Settled || world.reached(), "not there: {world:?}");
        prop_assert_eq!(world.step(), end, "the same question, another answer");
    }

    #[test]
    fn with_everyone_alive_the_elected_become_the_voters(mut world in world()) {
        (world.dead, world.behind, world.declining) = Default::default();
        prop_assert_eq!(world.run()?, Step::Settled);
        prop_assert!(world.reached(), "not there: {world:?}");
    }

    /// The dead among those not elected hold up nothing, as long as a quorum is left.
    #[test]
    fn only_the_elected_have_to_be_alive(mut world in world()) {
        let elected = world.desired.voters.clone();
        (world.behind, world.declining) = Default::default();
        world.dead.retain(|id| !elected.contains(id));
        prop_assume!(world.alive_majority(&world.membership.voters));
        prop_assert_eq!(world.run()?, Step::Settled);
        prop_assert!(world.reached(), "not there: {world:?}");
    }

    /// Once the faults are over, wherever they left the group, it gets there.
    #[test]
    fn recovery_goes_on_from_anywhere(mut world in world()) {
        world.run()?;
        (world.dead, world.behind, world.declining) = Default::default();
        prop_assert_eq!(world.run()?, Step::Settled);
        prop_assert!(world.reached(), "not there: {world:?}");
    }

    #[test]
    fn the_rotation_visits_every_elected_voter(mut world in world()) {
        (world.dead, world.behind, world.declining) = Default::default();
        world.run()?;
        let mut seen = BTreeSet::new();
        for _ in 0..world.desired.voters.len() {
            seen.insert(world.me);
            let next = rotation_target(&world.desired, &world.status(), &Limits::default());
            prop_assert_eq!(next.is_none(), world.desired.voters.len() == 1);
            world.me = next.unwrap_or(world.me);
        }
        prop_assert_eq!(seen, world.desired.voters);
    }
}
