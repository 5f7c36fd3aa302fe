//! Each node counts for itself what is committed.

use std::collections::BTreeSet;

use consilium_consensus::{Electorate, LogIndex, Membership, MembershipChange, RaftId, ReadContext, ReadOutcome};
use raft::eraftpb::{Message, MessageType};
use raft_prost::Message as _;

use crate::cluster::{Cluster, Passes, anybody, equals, id};

fn commits(cluster: &mut Cluster, node: u64) -> LogIndex {
    cluster.core(id(node)).commit_index()
}

fn say(cluster: &mut Cluster, message: Message) {
    let (from, to) = (RaftId::new(message.from).unwrap(), RaftId::new(message.to).unwrap());
    let _ = cluster.core(to).step(from, message.encode_to_vec().into(), &Passes);
    cluster.pump(to);
}

/// A leader that says that all is committed moves nobody: not in an append, a heartbeat, or a
/// snapshot of what the follower has.
#[test]
fn a_leaders_word_commits_nothing() {
    let mut cluster = Cluster::new(5, 1);
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    cluster.ticks(20);
    // One follower alone has the next entry.
    for other in [3, 4, 5] {
        cluster.net.links.isolate(id(other), &everyone);
    }
    let proposed = cluster.propose(leader, "b");
    cluster.ticks(4);
    let (before, term) = (commits(&mut cluster, 2), cluster.core(leader).term());
    assert!(cluster.core(id(2)).status().last_index == proposed.index && before < proposed.index);
    let base = Message { from: leader.get(), to: 2, term: term.0, ..Message::default() };
    let kinds = [MessageType::MsgHeartbeat, MessageType::MsgAppend];
    for kind in kinds {
        let (index, log_term) = if kind == MessageType::MsgAppend { (proposed.index.0, term.0) } else { (0, 0) };
        say(&mut cluster, Message { msg_type: kind as i32, index, log_term, commit: proposed.index.0, ..base.clone() });
        assert_eq!(commits(&mut cluster, 2), before, "{kind:?}");
    }
    let voters = (1..=5).collect();
    let conf_state = Some(raft::eraftpb::ConfState { voters, ..Default::default() });
    let metadata = Some(raft::eraftpb::SnapshotMetadata { conf_state, index: proposed.index.0, term: term.0 });
    let snapshot = Some(raft::eraftpb::Snapshot { metadata, ..Default::default() });
    say(&mut cluster, Message { msg_type: MessageType::MsgSnapshot as i32, snapshot, ..base.clone() });
    assert_eq!(commits(&mut cluster, 2), before, "snapshot");
    // An answer to a read, which names all of the leader's log, is no acknowledgement either.
    let context = ReadContext([7; 16]);
    cluster.core(id(2)).read_index(context).unwrap();
    let data = [2_u64.to_be_bytes().to_vec(), context.0.to_vec()].concat();
    let entries = vec![raft::eraftpb::Entry { data, ..Default::default() }];
    let msg_type = MessageType::MsgReadIndexResp as i32;
    say(&mut cluster, Message { msg_type, index: proposed.index.0, entries, ..base.clone() });
    assert_eq!(commits(&mut cluster, 2), before, "answer to a read");
    assert_eq!(cluster.nodes[&id(2)].reads, [ReadOutcome::Ready { context, index: proposed.index }]);
    // The same node counts when a third one has it.
    cluster.net.links.heal();
    cluster.until(60, "counted", |cluster| commits(cluster, 2) >= proposed.index);
}

/// What a quorum holds is committed at a node that hears the quorum, though not the leader.
#[test]
fn nobody_needs_the_leader_to_know_what_is_committed() {
    let mut cluster = Cluster::new(5, 2);
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    for node in [2, 3, 4, 5] {
        cluster.net.links.cut(id(node), leader);
    }
    let proposed = cluster.propose(leader, "b");
    cluster.until(10, "counted without the leader", |cluster| {
        (2..=5).all(|node| commits(cluster, node) >= proposed.index)
    });
    assert!(commits(&mut cluster, leader.get()) < proposed.index, "it heard of none");
}

/// A majority of the voters commits nothing that lacks the power, at the leader either.
#[test]
fn a_majority_without_the_power_commits_nothing() {
    let mut cluster = Cluster::new(5, 3);
    cluster.electorate = Electorate::new(vec![equals(1..=5)], vec![]);
    for node in cluster.everyone() {
        let electorate = cluster.electorate.clone();
        cluster.core(node).set_electorate(electorate);
    }
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    let away: Vec<RaftId> = everyone.iter().copied().filter(|node| *node != leader).take(2).collect();
    away.iter().for_each(|node| cluster.crash(*node));
    let proposed = cluster.propose(leader, "b");
    cluster.ticks(15);
    for node in everyone.iter().filter(|node| !away.contains(node)) {
        let status = cluster.core(*node).status();
        assert_eq!((status.last_index, status.commit < proposed.index), (proposed.index, true), "{node}");
        assert!(cluster.core(*node).waits_for_quorum());
    }
    cluster.start(away[0]);
    cluster.until(200, "counted", |cluster| commits(cluster, leader.get()) >= proposed.index);
    assert!(!cluster.core(leader).waits_for_quorum());
}

/// A node that knows only voters that are long gone counts by those whom the leader's mandate
/// names.
#[test]
fn whoever_was_away_for_long_counts_by_the_voters_of_today() {
    let mut cluster = Cluster::new(4, 4);
    let leader = cluster.elect();
    let old = Membership::new([7, 8, 9].map(id), [id(6)]);
    cluster.add_node(id(6), old);
    cluster.commit("a", &[id(1), id(2), id(3), id(4)]);
    let changes = [MembershipChange::AddLearner(id(6))];
    cluster.core(leader).propose_membership(&changes).unwrap();
    cluster.pump(leader);
    cluster.ticks(40);
    assert_eq!(commits(&mut cluster, 6), LogIndex(0), "nobody whom it knows acknowledges anything");
    // The leader has itself elected again: its mandate names the voters of now.
    let elected: BTreeSet<u64> = (1..=4).collect();
    cluster.core(id(6)).set_electorate(anybody().with_ahead(Some(equals(elected))));
    assert!(cluster.core(leader).renew_mandate());
    cluster.pump(leader);
    cluster.until(40, "counted", |cluster| cluster.machine(id(6)) == ["a"]);
}

/// Whoever comes back finds that the leader has nothing to send it: what it has of the
/// leader's log it knows by the term in which that ends.
#[test]
fn a_restart_on_an_idle_network_learns_what_is_committed() {
    let mut cluster = Cluster::new(5, 5);
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    cluster.ticks(20);
    // It has the next entry, and hears nobody but the leader.
    for other in [2, 3, 4] {
        cluster.net.links.cut(id(other), id(5));
    }
    let proposed = cluster.propose(leader, "b");
    cluster.until(20, "counted", |cluster| commits(cluster, 2) >= proposed.index);
    assert_eq!(cluster.core(id(5)).status().persisted, proposed.index);
    assert!(commits(&mut cluster, 5) < proposed.index);
    cluster.crash(id(5));
    cluster.net.links.heal();
    cluster.start(id(5));
    cluster.until(30, "applied", |cluster| cluster.machine(id(5)) == ["a", "b"]);
    assert_eq!(cluster.core(leader).status().last_index, proposed.index, "nothing came in between");
}

/// Who votes behind a membership entry is known when it is applied. A node that gets both at
/// once, after it was away, does not count what comes behind by the voters of before.
#[test]
fn nothing_behind_a_membership_entry_is_counted_by_the_voters_before_it() {
    let mut cluster = Cluster::new(3, 6);
    let (leader, old) = (cluster.elect(), Membership::new([1, 2, 3].map(id), []));
    let away = id(if leader == id(3) { 2 } else { 3 });
    [4, 5].into_iter().for_each(|new| cluster.add_node(id(new), old.clone()));
    let everyone = cluster.everyone();
    cluster.commit("a", &[id(1), id(2), id(3)]);
    cluster.net.links.isolate(away, &everyone);
    let enter = [4, 5].map(|new| MembershipChange::AddVoter(id(new)));
    cluster.core(leader).propose_membership(&enter).unwrap();
    cluster.pump(leader);
    let five = Membership::new([1, 2, 3, 4, 5].map(id), []);
    let settled = |cluster: &Cluster| cluster.nodes[&leader].store.membership == five;
    cluster.until(100, "five vote", |cluster| settled(cluster));
    // Now the leader reaches it alone. Two of five have the next entry, and two of three.
    let before = commits(&mut cluster, leader.get());
    cluster.net.links.heal();
    for other in everyone.iter().filter(|other| **other != leader && **other != away) {
        cluster.net.links.isolate(*other, &everyone);
    }
    let proposed = cluster.propose(leader, "b");
    cluster.until(8, "it has all", |cluster| cluster.core(away).status().last_index == proposed.index);
    cluster.ticks(2);
    assert!(commits(&mut cluster, away.get()) < before.next(), "it counts by the voters of before");
    cluster.net.links.heal();
    cluster.until(100, "counted", |cluster| commits(cluster, away.get()) >= proposed.index);
}
