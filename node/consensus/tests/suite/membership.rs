//! Membership changes: joint, auto-leave, one at a time, leaders that lose their vote.

use consilium_consensus::{
    ApplyError, Electorate, EntryKind, LogIndex, Membership, MembershipChange as Change, MembershipError, ProposeError,
    RaftId, Role,
};

use crate::cluster::{Cluster, equals, id};

fn voters(ids: &[u64]) -> Membership {
    Membership::new(ids.iter().copied().map(id), [])
}

/// Waits until all of `nodes` have applied `expected`.
fn settle(cluster: &mut Cluster, nodes: &[RaftId], expected: &Membership) {
    cluster.until(300, "membership does not settle", |cluster| {
        nodes.iter().all(|node| cluster.nodes[node].store.membership == *expected)
    });
}

fn change(cluster: &mut Cluster, changes: &[Change]) -> LogIndex {
    let leader = cluster.elect();
    let proposed = cluster.core(leader).propose_membership(changes).unwrap();
    cluster.pump(leader);
    proposed.index
}

/// Taken for an empty command, it would leave the group joint for ever: the joint configuration is left by an empty membership entry.
#[test]
fn a_joint_change_leaves_by_itself_with_an_empty_entry() {
    let mut cluster = Cluster::new(3, 1);
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    cluster.add_node(id(4), voters(&[1, 2, 3]));
    let index = change(&mut cluster, &[Change::AddVoter(id(4)), Change::Remove(id(3))]);
    settle(&mut cluster, &[id(1), id(2), id(4)], &voters(&[1, 2, 4]));
    let store = &cluster.nodes[&id(1)].store;
    let leave = store.entry(LogIndex(index.0 + 1)).unwrap();
    assert_eq!(leave.kind, EntryKind::ConfChange(Default::default()));
    cluster.commit("b", &[id(1), id(2), id(4)]);
    assert_eq!(cluster.machine(id(4)), ["a", "b"]);
}

#[test]
fn learner_promotion_and_demotion() {
    let mut cluster = Cluster::new(3, 2);
    cluster.add_node(id(4), voters(&[1, 2, 3]));
    change(&mut cluster, &[Change::AddLearner(id(4))]);
    let with_learner = Membership::new([1, 2, 3].map(id), [id(4)]);
    let everyone = cluster.everyone();
    settle(&mut cluster, &everyone, &with_learner);
    // Swap a voter and a learner: the demoted one stays outgoing until the end.
    change(&mut cluster, &[Change::AddVoter(id(4)), Change::AddLearner(id(3))]);
    settle(&mut cluster, &everyone, &Membership::new([1, 2, 4].map(id), [id(3)]));
}

/// The second change is refused instead of silently becoming an empty entry.
#[test]
fn a_second_change_is_refused_while_one_is_pending() {
    let mut cluster = Cluster::new(3, 3);
    let leader = cluster.elect();
    let core = cluster.core(leader);
    let first = core.propose_membership(&[Change::AddLearner(id(4))]).unwrap();
    let second = core.propose_membership(&[Change::AddLearner(id(5))]);
    assert_eq!(second, Err(MembershipError::ChangePending));
    assert_eq!(core.status().last_index, first.index, "nothing was appended");
    cluster.pump(leader);
    cluster.ticks(10);
    let core = cluster.core(leader);
    assert!(core.propose_membership(&[Change::AddLearner(id(5))]).is_ok());
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let mut cluster = Cluster::new(3, 4);
    let leader = cluster.elect();
    let follower = cluster.core(id(2)).propose_membership(&[Change::Remove(id(3))]);
    assert_eq!(follower, Err(MembershipError::Propose(ProposeError::NotLeader { leader: Some(leader) })));
    let core = cluster.core(leader);
    assert_eq!(core.propose_membership(&[Change::Remove(leader)]), Err(MembershipError::RemovesLeader));
    assert_eq!(core.propose_membership(&[Change::AddLearner(leader)]), Err(MembershipError::RemovesLeader));
    for bad in [
        &[][..],
        &[Change::Remove(id(1)), Change::Remove(id(2)), Change::Remove(id(3))],
        &[Change::AddVoter(id(4)), Change::Remove(id(4))],
    ] {
        let refused = core.propose_membership(bad);
        assert!(matches!(refused, Err(MembershipError::Invalid(_))), "{bad:?}: {refused:?}");
    }
}

/// A leader can come to apply its own removal, proposed by the leader before it. The library
/// would panic on its next write; it has to step down instead.
#[test]
fn a_leader_that_loses_its_vote_steps_down() {
    let mut cluster = Cluster::new(3, 5);
    let first = cluster.elect();
    assert_eq!(first, id(1));
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    // The change reaches the others, but nobody hears that it did: the leader's own write
    // takes long.
    cluster.tells_heads = false;
    for (from, to) in [(2, 1), (3, 1), (2, 3), (3, 2)] {
        cluster.net.links.cut(id(from), id(to));
    }
    cluster.write_steps_max = 1_000;
    cluster.core(first).propose_membership(&[Change::Remove(id(3))]).unwrap();
    cluster.pump(first);
    cluster.write_steps_max = 4;
    cluster.ticks(2);
    cluster.crash(first);
    cluster.net.links.heal();
    // Node 3 asks first after the lease of node 1 is over: it leads, commits the change, and
    // is out.
    cluster.until(200, "node 3 never leads", |cluster| cluster.core(id(3)).status().role == Role::Leader);
    cluster.until(6, "node 3 stays leader", |cluster| cluster.core(id(3)).status().role == Role::Follower);
    assert_eq!(cluster.core(id(3)).status().membership, voters(&[1, 2]));
    cluster.start(first);
    cluster.commit("b", &[id(1), id(2)]);
    assert_eq!(cluster.machine(id(2)), ["a", "b"]);
}

/// The leader that entered the joint configuration crashes; the next one leaves it.
#[test]
fn a_new_leader_leaves_the_joint_configuration() {
    for crash_after_steps in (0..60).step_by(3) {
        let mut cluster = Cluster::new(3, crash_after_steps);
        cluster.elect();
        cluster.add_node(id(4), voters(&[1, 2, 3]));
        change(&mut cluster, &[Change::AddVoter(id(4)), Change::Remove(id(3))]);
        (0..crash_after_steps).for_each(|_| cluster.step());
        cluster.crash(id(1));
        cluster.ticks(150);
        cluster.start(id(1));
        let leader = cluster.elect();
        let joint = cluster.core(leader).status().membership.is_joint();
        assert!(!joint, "joint for ever after {crash_after_steps} steps");
        cluster.commit("x", &[id(1), id(2)]);
    }
}

/// The joint configuration would never be left: the order is enforced, not only documented.
#[test]
fn applied_may_not_pass_a_membership_entry() {
    let mut cluster = Cluster::new(1, 6);
    let leader = cluster.elect();
    let core = cluster.core(leader);
    let index = core.propose_membership(&[Change::AddLearner(id(2))]).unwrap().index;
    let persist = core.take_output().unwrap().unwrap().persist.unwrap();
    // Straight to the core: this disk needs no entries for what follows.
    core.persisted(persist.seq).unwrap();
    let output = core.take_output().unwrap().unwrap();
    let entry = output.committed.last().unwrap();
    assert_eq!(entry.index, index);
    assert_eq!(core.applied(index), Err(ApplyError::MembershipPending { index, change: index }));
    core.apply_membership(entry, |_, _| Ok(())).unwrap();
    assert_eq!(
        core.apply_membership(entry, |_, _| Ok(())),
        Err(ApplyError::NotNextMembership { index, expected: None })
    );
    assert_eq!(core.applied(index), Ok(()));
    let beyond = LogIndex(index.0 + 1);
    assert_eq!(core.applied(beyond), Err(ApplyError::NotHandedOut { index: beyond, handed_out: index }));
}

/// I15: a removed node cannot disturb the rest.
#[test]
fn a_removed_node_cannot_raise_the_term() {
    let mut cluster = Cluster::new(4, 7);
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    // It never learns of its removal.
    cluster.net.links.isolate(id(4), &everyone);
    change(&mut cluster, &[Change::Remove(id(4))]);
    settle(&mut cluster, &[id(1), id(2), id(3)], &voters(&[1, 2, 3]));
    let term = cluster.core(id(1)).status().term;
    cluster.net.links.heal();
    cluster.ticks(300);
    assert_eq!(cluster.core(id(1)).status().term, term);
    assert_eq!(cluster.leader(), Some(id(1)));
}

/// Three voters and a fourth seat without a vote, to which alone the leader gives the entry
/// that it proposed last. Gives the leader, and where the log ended before.
fn voteless_seat_alone() -> (Cluster, RaftId, LogIndex) {
    let mut cluster = Cluster::new(3, 11);
    cluster.electorate = Electorate::new(vec![equals(1..=4)], vec![]);
    for node in cluster.everyone() {
        let electorate = cluster.electorate.clone();
        cluster.core(node).set_electorate(electorate);
    }
    let leader = cluster.elect();
    cluster.add_node(id(4), cluster.nodes[&leader].store.membership.clone());
    cluster.core(leader).propose_membership(&[Change::AddLearner(id(4))]).unwrap();
    cluster.pump(leader);
    cluster.until(100, "it follows", |cluster| cluster.core(id(4)).membership().learners.contains(&id(4)));
    let everyone = cluster.everyone();
    let before = cluster.commit("a", &everyone).index;
    for voter in (1..=3).map(id).filter(|node| *node != leader) {
        cluster.net.links.cut(voter, leader);
        cluster.net.links.cut(leader, voter);
    }
    let proposed = cluster.propose(leader, "b").index;
    cluster.ticks(4);
    assert_eq!(cluster.core(leader).status().last_index, proposed);
    let last = cluster.core(id(4)).status().last_index;
    assert!((before..proposed).contains(&last), "{last}");
    (cluster, leader, before)
}

/// A seat without a vote in Raft cannot stand. Were it alone to have an entry, nobody who lacks
/// that could be elected where its power is needed.
#[test]
fn a_seat_without_a_vote_takes_entries_after_others_only() {
    let (mut cluster, leader, before) = voteless_seat_alone();
    let voter = (1..=3).map(id).find(|node| *node != leader).unwrap();
    cluster.crash(leader);
    cluster.until(600, "its power elects another", |cluster| cluster.leader().is_some());
    cluster.propose(cluster.leader().unwrap(), "c");
    cluster.until(100, "it takes what others hold", |cluster| {
        let last = cluster.core(voter).status().last_index;
        cluster.core(id(4)).status().last_index == last && last > before
    });
}

/// What waited is not taken from a leader that is not followed any more.
#[test]
fn what_waits_of_a_distrusted_leader_is_not_taken() {
    let (mut cluster, leader, _) = voteless_seat_alone();
    let last = cluster.core(id(4)).status().last_index;
    assert_eq!(cluster.core(id(4)).distrust_leader(), Some(leader));
    cluster.net.links.heal();
    let voters: Vec<RaftId> = (1..=3).map(id).collect();
    cluster.until(100, "the voters hold it", |cluster| {
        voters.iter().all(|voter| cluster.core(*voter).commit_index() > last)
    });
    cluster.ticks(4);
    assert_eq!(cluster.core(id(4)).status().last_index, last);
    cluster.core(id(4)).trust_leader();
    cluster.until(100, "it follows again", |cluster| cluster.core(id(4)).status().last_index > last);
}
