//! Situations, and the exact step for each.
#![allow(clippy::unwrap_used)]

mod properties;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::ids::{LogIndex, Term};
use crate::membership::Membership;
use crate::membership::MembershipChange::{AddLearner, AddVoter, Remove};
use crate::status::PeerState;

const COMMIT: u64 = 1000;

fn id(value: u64) -> RaftId {
    RaftId::new(value).unwrap()
}

fn ids(values: &[u64]) -> BTreeSet<RaftId> {
    values.iter().copied().map(id).collect()
}

fn desired(voters: &[u64], learners: &[u64]) -> Desired {
    Desired { voters: ids(voters), learners: ids(learners) }
}

fn peer() -> PeerProgress {
    PeerProgress {
        matched: LogIndex(COMMIT),
        state: PeerState::Replicate,
        recently_active: true,
        ticks_since_heard: Some(1),
        ticks_since_declined: None,
    }
}

/// A leader with nothing under way and everyone alive and caught up.
fn leader(me: RaftId, membership: Membership) -> Status {
    let others = membership.voters.union(&membership.learners).filter(|id| **id != me);
    Status {
        id: me,
        role: Role::Leader,
        term: Term(3),
        leader: Some(me),
        commit: LogIndex(COMMIT),
        applied: LogIndex(COMMIT),
        persisted: LogIndex(COMMIT),
        truncated: LogIndex(0),
        last_index: LogIndex(COMMIT),
        peers: others.map(|id| (*id, peer())).collect(),
        membership,
        change_pending: false,
        transferring_to: None,
    }
}

/// The leader 1 of `voters` and `learners`.
struct Situation(Status);

impl Situation {
    fn new(voters: &[u64], learners: &[u64]) -> Self {
        Self(leader(id(1), Membership { voters: ids(voters), learners: ids(learners), ..Membership::default() }))
    }

    fn with(mut self, nodes: &[u64], change: impl Fn(&mut PeerProgress)) -> Self {
        nodes.iter().for_each(|node| change(self.0.peers.get_mut(&id(*node)).unwrap()));
        self
    }

    fn dead(self, nodes: &[u64]) -> Self {
        self.with(nodes, |peer| (peer.recently_active, peer.ticks_since_heard) = (false, Some(99)))
    }

    fn behind(self, nodes: &[u64], entries: u64) -> Self {
        self.with(nodes, |peer| peer.matched = LogIndex(COMMIT - entries))
    }

    fn step(&self, voters: &[u64], learners: &[u64]) -> Step {
        next_step(&desired(voters, learners), &self.0, &Limits::default())
    }
}

fn change<const N: usize>(changes: [MembershipChange; N]) -> Step {
    Step::Change(changes.to_vec())
}

fn tally(available: usize, voters: usize) -> Tally {
    Tally { available, voters }
}

#[test]
fn nothing_to_do() {
    assert_eq!(Situation::new(&[1, 2, 3, 4], &[5, 6]).step(&[1, 2, 3, 4], &[5, 6]), Step::Settled);
    // A node in both sets votes; the dead may stay where they belong.
    let situation = Situation::new(&[1, 2, 3, 4], &[5, 6]).dead(&[4, 6]);
    assert_eq!(situation.step(&[1, 2, 3, 4], &[1, 2, 3, 4, 5, 6]), Step::Settled);
    assert_eq!(Situation::new(&[1], &[]).step(&[1], &[]), Step::Settled);
}

#[test]
fn nothing_while_something_is_under_way() {
    let step = |change: fn(&mut Status)| {
        let mut situation = Situation::new(&[1, 2, 3, 4], &[5]);
        change(&mut situation.0);
        situation.step(&[2, 3, 4, 5], &[])
    };
    assert_eq!(step(|status| status.role = Role::Follower), Step::Wait(WaitReason::NotLeader));
    assert_eq!(step(|status| status.transferring_to = Some(id(2))), Step::Wait(WaitReason::HandingOver { to: id(2) }));
    assert_eq!(step(|status| status.change_pending = true), Step::Wait(WaitReason::ChangePending));
    let joint = |status: &mut Status| {
        status.membership.voters_outgoing = ids(&[1, 2, 3, 5]);
        status.change_pending = true;
    };
    assert_eq!(step(joint), Step::Wait(WaitReason::Joint));
    assert_eq!(Situation::new(&[1, 2], &[]).step(&[], &[1, 2]), Step::Wait(WaitReason::NobodyElected));
}

#[test]
fn missing_nodes_come_as_learners_all_at_once() {
    let step = Situation::new(&[1, 2, 3], &[4]).step(&[1, 2, 3, 5], &[4, 6, 7]);
    assert_eq!(step, change([5, 6, 7].map(id).map(AddLearner)));
    let many: Vec<u64> = (2..200).collect();
    let Step::Change(changes) = Situation::new(&[1], &[]).step(&[1], &many) else { panic!("no change") };
    assert_eq!(changes.len(), CHANGES_MAX);
    // Where there is no room for more, retired nodes go first.
    let crowd: Vec<u64> = (2..=1024).collect();
    let Step::Change(changes) = Situation::new(&[1], &crowd).step(&[1], &[2000]) else { panic!("no change") };
    assert_eq!(changes[..2], [Remove(id(2)), Remove(id(3))]);
    let kept: Vec<u64> = (2..=1025).collect();
    assert_eq!(Situation::new(&[1], &crowd).step(&[1], &kept), Step::Wait(WaitReason::Full));
    assert_eq!(Situation::new(&[1], &crowd).step(&[1, 1025], &crowd), Step::Wait(WaitReason::Full));
}

#[test]
fn voters_are_swapped_one_pair_at_a_time() {
    let situation = Situation::new(&[1, 2, 3, 4], &[5, 6, 7]);
    assert_eq!(situation.step(&[1, 2, 6, 7], &[3, 4, 5]), change([AddVoter(id(6)), AddLearner(id(3))]));
    // The dead go first, then those that are behind.
    let situation = Situation::new(&[1, 2, 3, 4], &[5, 6, 7]).dead(&[4]);
    assert_eq!(situation.step(&[1, 5, 6, 7], &[]), change([AddVoter(id(5)), AddLearner(id(4))]));
    let situation = Situation::new(&[1, 2, 3, 4], &[5, 6, 7]).behind(&[3], 500);
    assert_eq!(situation.step(&[1, 5, 6, 7], &[]), change([AddVoter(id(5)), AddLearner(id(3))]));
    // More seats than before, and fewer.
    assert_eq!(Situation::new(&[1, 2, 3], &[4, 5]).step(&[1, 2, 3, 4, 5], &[]), change([AddVoter(id(4))]));
    assert_eq!(Situation::new(&[1, 2, 3, 4], &[]).step(&[1, 2, 3], &[4]), change([AddLearner(id(4))]));
    // Two voters are too few to swap one.
    assert_eq!(Situation::new(&[1, 2], &[3, 4, 5]).step(&[1, 3, 4, 5], &[2]), change([AddVoter(id(3))]));
    assert_eq!(Situation::new(&[1, 2], &[3]).step(&[1, 3], &[2]), change([AddVoter(id(3)), AddLearner(id(2))]));
}

#[test]
fn only_the_caught_up_are_promoted() {
    let behind = |entries| Situation::new(&[1, 2, 3, 4], &[5]).behind(&[5], entries).step(&[1, 2, 3, 5], &[4]);
    let reason = WaitReason::Behind { id: id(5), entries: 65, entries_max: 64 };
    assert_eq!(reason.to_string(), "elected node 5 is 65 entries behind, 64 are allowed");
    assert_eq!(behind(65), Step::Wait(reason));
    assert_eq!(behind(64), change([AddVoter(id(5)), AddLearner(id(4))]));
    let silent = Situation::new(&[1, 2, 3, 4], &[5]).dead(&[5]);
    let reason = WaitReason::Silent { id: id(5), ticks: Some(99) };
    assert_eq!(reason.to_string(), "elected node 5 has not answered for 99 ticks");
    assert_eq!(silent.step(&[1, 2, 3, 5], &[4]), Step::Wait(reason));
    let reason = WaitReason::Silent { id: id(5), ticks: None };
    assert_eq!(reason.to_string(), "elected node 5 has not answered yet");
    // Another one that is ready does not wait for it.
    let situation = Situation::new(&[1, 2, 3, 4], &[5, 6]).dead(&[5]);
    assert_eq!(situation.step(&[1, 2, 5, 6], &[3, 4]), change([AddVoter(id(6)), AddLearner(id(3))]));
}

#[test]
fn the_dry_run_keeps_a_majority_now_and_after() {
    // 2 of 4 are alive: nothing can be committed.
    let situation = Situation::new(&[1, 2, 3, 4], &[5]).dead(&[3, 4]);
    let reason = WaitReason::NoQuorum { present: tally(2, 4) };
    assert_eq!(reason.to_string(), "no quorum: 2 of 4 voters available, 3 needed");
    assert_eq!(situation.step(&[1, 2, 5], &[]), Step::Wait(reason));
    // Without node 3 the dead node 2 would be needed.
    let situation = Situation::new(&[1, 2, 3], &[]).dead(&[2]);
    let reason = WaitReason::NoQuorumAfter { demoted: id(3), after: tally(1, 2) };
    assert_eq!(reason.to_string(), "no quorum without the vote of 3: 1 of 2 voters available, 2 needed");
    assert_eq!(situation.step(&[1, 2], &[3]), Step::Wait(reason));
    // A voter that is alive and far behind does not help to commit.
    let situation = Situation::new(&[1, 2, 3], &[]).behind(&[2], 65);
    assert_eq!(
        situation.step(&[1, 2], &[3]),
        Step::Wait(WaitReason::NoQuorumAfter { demoted: id(3), after: tally(1, 2) })
    );
}

/// Without a dead voter a smaller majority suffices, so it goes before its successor is ready;
/// a live one stays, so that the count does not dip.
#[test]
fn dead_voters_go_early() {
    let situation = Situation::new(&[1, 2, 3, 4], &[5]).dead(&[4, 5]);
    assert_eq!(situation.step(&[1, 2, 3, 5], &[4]), change([AddLearner(id(4))]));
    let situation = Situation::new(&[1, 2, 3, 4], &[5]).dead(&[5]);
    assert_eq!(situation.step(&[1, 2, 3, 5], &[4]), Step::Wait(WaitReason::Silent { id: id(5), ticks: Some(99) }));
    // Never fewer than three while three are elected.
    let situation = Situation::new(&[1, 2, 3], &[4]).dead(&[3, 4]);
    assert_eq!(situation.step(&[1, 2, 4], &[3]), Step::Wait(WaitReason::Silent { id: id(4), ticks: Some(99) }));
    assert_eq!(situation.step(&[1, 2], &[3, 4]), change([AddLearner(id(3))]));
}

#[test]
fn a_leader_that_is_not_elected_hands_over_first() {
    let situation = Situation::new(&[1, 2, 3, 4], &[5]);
    assert_eq!(situation.step(&[2, 3, 4, 5], &[1, 9]), Step::HandOver(id(2)));
    assert_eq!(situation.step(&[2, 3, 4, 5], &[]), Step::HandOver(id(2)), "also one that retires");
    assert_eq!(Situation::new(&[1, 2, 3, 4], &[5]).dead(&[2]).step(&[2, 3, 4, 5], &[1]), Step::HandOver(id(3)));
    // Nobody elected has a vote yet: one gets it, and the leader keeps its own.
    let step = Situation::new(&[1, 2, 3, 4], &[5, 6, 7]).step(&[5, 6, 7], &[]);
    assert_eq!(step, change([AddVoter(id(5)), AddLearner(id(2))]));
    assert_eq!(Situation::new(&[1], &[2]).step(&[2], &[1]), change([AddVoter(id(2))]));
    assert_eq!(Situation::new(&[1, 2], &[]).step(&[2], &[1]), Step::HandOver(id(2)));
}

#[test]
fn who_declines_leadership_is_passed_over_for_a_while() {
    let declined = |ticks| {
        let situation = Situation::new(&[1, 2, 3, 4], &[]);
        situation.with(&[2], |peer| peer.ticks_since_declined = Some(ticks)).step(&[2, 3, 4], &[1])
    };
    assert_eq!(declined(399), Step::HandOver(id(3)));
    assert_eq!(declined(400), Step::HandOver(id(2)));
    let all = Situation::new(&[1, 2, 3], &[]).with(&[2, 3], |peer| peer.ticks_since_declined = Some(0));
    assert_eq!(all.step(&[2, 3], &[1]), Step::Wait(WaitReason::NoSuccessor));
}

#[test]
fn retired_nodes_leave_last_and_as_learners() {
    let situation = Situation::new(&[1, 2, 3, 4], &[5, 6]);
    assert_eq!(situation.step(&[1, 2, 3, 5], &[]), change([AddVoter(id(5)), AddLearner(id(4))]));
    let situation = Situation::new(&[1, 2, 3, 5], &[4, 6]);
    assert_eq!(situation.step(&[1, 2, 3, 5], &[]), change([Remove(id(4)), Remove(id(6))]));
    // They do not wait for a node that may never come.
    let situation = Situation::new(&[1, 2, 3], &[4, 6]).dead(&[4]);
    assert_eq!(situation.step(&[1, 2, 3, 4], &[]), change([Remove(id(6))]));
}

#[test]
fn leadership_rotates_among_the_elected() {
    let target = |me, situation: Situation| {
        let mut status = situation.0;
        let old = std::mem::replace(&mut status.id, id(me));
        if old != id(me) {
            status.peers.remove(&id(me));
            status.peers.insert(old, peer());
        }
        rotation_target(&desired(&[1, 2, 4, 5], &[]), &status, &Limits::default())
    };
    let situation = || Situation::new(&[1, 2, 3, 4], &[5]);
    assert_eq!(target(1, situation()), Some(id(2)));
    assert_eq!(target(2, situation()), Some(id(4)), "3 is not elected");
    assert_eq!(target(4, situation()), Some(id(1)), "5 has no vote yet");
    assert_eq!(target(1, situation().dead(&[2])), Some(id(4)));
    assert_eq!(target(1, situation().behind(&[2], 65)), Some(id(4)));
    assert_eq!(target(1, Situation::new(&[1, 3], &[])), None);
    let mut pending = situation();
    pending.0.change_pending = true;
    assert_eq!(target(1, pending), None);
}

#[test]
fn peers_that_are_not_tracked_are_not_counted() {
    let mut situation = Situation::new(&[1, 2, 3], &[]);
    situation.0.peers = BTreeMap::new();
    assert_eq!(situation.step(&[1], &[]), Step::Wait(WaitReason::NoQuorum { present: tally(1, 3) }));
}
