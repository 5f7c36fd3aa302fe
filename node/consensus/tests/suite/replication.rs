//! Replication, crashes and restarts without bad luck on top (see `faults` for that).

use consilium_consensus::{EntryKind, LogIndex, Persist, ProposeError, Role};

use crate::cluster::{Cluster, Passes, id};

#[test]
fn commands_are_applied_everywhere_in_order() {
    let mut cluster = Cluster::new(3, 1);
    let everyone = cluster.everyone();
    for i in 0..20 {
        cluster.commit(&format!("{i}"), &everyone);
    }
    let expected: Vec<String> = (0..20).map(|i| format!("{i}")).collect();
    for node in everyone {
        assert_eq!(cluster.machine(node), expected);
    }
}

/// The library would forward it and answer Ok: nothing is forwarded, and the refusal names the leader.
#[test]
fn a_follower_refuses_proposals() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    cluster.ticks(3);
    let before = cluster.core(leader).status().last_index;
    let refused = cluster.core(id(2)).propose("x".into());
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(leader) }));
    cluster.pump(id(2));
    cluster.ticks(10);
    assert_eq!(cluster.core(leader).status().last_index, before);
}

#[test]
fn proposals_have_limits() {
    let mut cluster = Cluster::with_config(3, 1, |config| {
        config.entry_bytes_max = 100;
        config.append_bytes_max = 100;
        config.uncommitted_bytes_max = 250;
    });
    let leader = cluster.elect();
    let core = cluster.core(leader);
    assert_eq!(core.propose("".into()), Err(ProposeError::Empty));
    let big = core.propose(vec![0; 101].into());
    assert_eq!(big, Err(ProposeError::TooLarge { len: 101, max: 100 }));
    assert!(core.propose(vec![0; 100].into()).is_ok());
    assert!(core.propose(vec![0; 100].into()).is_ok());
    let full = core.propose(vec![0; 100].into());
    assert_eq!(full, Err(ProposeError::Overloaded { uncommitted_bytes: 200 }));
    cluster.pump(leader);
    cluster.ticks(10);
    assert!(cluster.core(leader).propose(vec![0; 100].into()).is_ok());
}

#[test]
fn committed_entries_survive_the_leader() {
    let mut cluster = Cluster::new(5, 2);
    let first = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("kept", &everyone);
    cluster.crash(first);
    let second = cluster.elect();
    assert_ne!(first, second);
    cluster.commit("more", &[id(2), id(3), id(4), id(5)]);
    cluster.start(first);
    cluster.until(100, "no catch-up", |cluster| cluster.machine(first) == ["kept", "more"]);
}

/// What a leader could not replicate is replaced in its log when it returns.
#[test]
fn an_uncommitted_tail_is_replaced() {
    let mut cluster = Cluster::new(3, 3);
    let old = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    cluster.net.links.isolate(old, &everyone);
    let lost = cluster.propose(old, "lost");
    cluster.propose(old, "lost too");
    cluster.ticks(3);
    cluster.until(200, "no new leader", |cluster| cluster.leader().is_some_and(|leader| leader != old));
    let kept = cluster.commit("kept", &[id(2), id(3)]);
    cluster.net.links.heal();
    cluster.until(100, "no catch-up", |cluster| cluster.machine(old) == ["a", "kept"]);
    assert_eq!(lost.index, LogIndex(kept.index.0 - 1), "the slot of the lost one opened the term");
    let store = &cluster.nodes[&old].store;
    let entry = store.entry(lost.index).unwrap();
    assert_eq!((entry.term, entry.kind), (kept.term, EntryKind::Empty));
    assert_eq!(store.last(), kept.index);
}

#[test]
fn the_whole_group_restarts_from_disk() {
    let mut cluster = Cluster::new(3, 4);
    let everyone = cluster.everyone();
    for i in 0..5 {
        cluster.commit(&format!("{i}"), &everyone);
    }
    let term = cluster.core(id(1)).status().term;
    for node in &everyone {
        cluster.crash(*node);
    }
    for node in &everyone {
        cluster.start(*node);
        assert_eq!(cluster.core(*node).status().term, term);
    }
    cluster.commit("again", &everyone);
    assert_eq!(cluster.machine(id(3)), ["0", "1", "2", "3", "4", "again"]);
}

/// Entries whose write is still under way are read from memory, many at a time.
#[test]
fn slow_disks_only_delay() {
    let mut cluster = Cluster::with_config(3, 5, |config| {
        config.cache_bytes_max = 0;
        config.committed_bytes_max = 1;
        config.append_bytes_max = 1;
    });
    cluster.write_steps_max = 60;
    let leader = cluster.elect();
    for i in 0..30 {
        cluster.propose(leader, &format!("{i}"));
        cluster.step();
    }
    let expected: Vec<String> = (0..30).map(|i| format!("{i}")).collect();
    cluster.until(400, "not applied", |cluster| {
        cluster.everyone().into_iter().all(|node| cluster.machine(node) == expected)
    });
}

/// A follower's acknowledgement and a voter's vote leave with the write, never before it
/// (I10).
#[test]
fn followers_promise_nothing_before_the_write() {
    let mut cluster = Cluster::new(3, 6);
    let leader = cluster.elect();
    cluster.ticks(5);
    let append = {
        cluster.core(leader).propose("x".into()).unwrap();
        let output = cluster.core(leader).take_output().unwrap().unwrap();
        assert!(!output.messages.is_empty(), "a leader's appends go before its own write");
        output.messages.into_iter().find(|message| message.to == id(2)).unwrap()
    };
    let follower = cluster.core(id(2));
    follower.step(leader, append.bytes, &Passes).unwrap();
    let output = follower.take_output().unwrap().unwrap();
    assert!(output.messages.is_empty(), "{:?}", output.messages);
    let Persist { entries, must_sync, messages_after, .. } = output.persist.unwrap();
    // To the leader, and to the third node.
    assert_eq!((entries.len(), must_sync, messages_after.len()), (1, true, 2));
}

/// Nobody leads, and nobody sends a vote request, before its own vote is durable.
#[test]
fn a_candidacy_waits_for_its_write() {
    let mut cluster = Cluster::new(3, 7);
    cluster.write_steps_max = 1;
    cluster.until(60, "no candidate", |cluster| cluster.core(id(1)).status().role == Role::Candidate);
    assert!(cluster.leader().is_none());
    cluster.crash(id(1));
    cluster.start(id(1));
    cluster.elect();
}
