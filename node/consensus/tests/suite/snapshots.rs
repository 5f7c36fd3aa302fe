//! Followers that need a state, and what may not be offered or installed.

use consilium_consensus::{
    CompactError, InstallError, Installed, LogIndex, Membership, MembershipChange, OfferError, PeerState, Reject,
    StepError, Term,
};
use raft::eraftpb::{Message, MessageType};
use raft_prost::Message as _;

use crate::cluster::{Cluster, Passes, id};

/// A cluster in which node 3 was away while the log was compacted.
fn lagging(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(3, seed);
    let everyone = cluster.everyone();
    cluster.commit("0", &everyone);
    cluster.net.links.isolate(id(3), &everyone);
    for i in 1..6 {
        cluster.commit(&format!("{i}"), &[id(1), id(2)]);
    }
    cluster.compact(id(1));
    cluster.compact(id(2));
    cluster
}

#[test]
fn a_lagging_follower_gets_a_snapshot() {
    let mut cluster = lagging(1);
    cluster.net.links.heal();
    cluster.until(200, "no catch-up", |cluster| cluster.machine(id(3)).len() == 6);
    assert_eq!(cluster.nodes[&id(3)].snapshots_installed, 1);
    cluster.commit("6", &[id(1), id(2), id(3)]);
    assert_eq!(cluster.machine(id(3)), ["0", "1", "2", "3", "4", "5", "6"]);
    // It restarts from what the snapshot left on disk.
    cluster.crash(id(3));
    cluster.start(id(3));
    cluster.commit("7", &[id(1), id(2), id(3)]);
}

#[test]
fn a_new_node_joins_by_snapshot() {
    let mut cluster = Cluster::new(3, 2);
    let everyone = cluster.everyone();
    cluster.commit("0", &everyone);
    everyone.iter().for_each(|node| cluster.compact(*node));
    cluster.add_node(id(4), Membership::new([1, 2, 3].map(id), []));
    let leader = cluster.elect();
    cluster.core(leader).propose_membership(&[MembershipChange::AddLearner(id(4))]).unwrap();
    cluster.pump(leader);
    cluster.until(200, "no catch-up", |cluster| cluster.machine(id(4)) == ["0"]);
    assert_eq!(cluster.nodes[&id(4)].snapshots_installed, 1);
    let expected = Membership::new([1, 2, 3].map(id), [id(4)]);
    cluster.until(100, "membership", |cluster| cluster.nodes[&id(4)].store.membership == expected);
}

/// etcd 10225: a transfer that nobody reports on does not cut a follower off.
#[test]
fn an_unreported_transfer_times_out() {
    let mut cluster = lagging(3);
    cluster.adjust = |config| config.snapshot_ticks_max = 30;
    for node in [id(1), id(2)] {
        cluster.crash(node);
        cluster.start(node);
    }
    cluster.install_snapshots = false;
    cluster.net.links.heal();
    cluster.until(200, "no transfer", |cluster| {
        let Some(leader) = cluster.leader() else { return false };
        let status = cluster.core(leader).status();
        status.peers.get(&id(3)).is_some_and(|peer| peer.state == PeerState::Snapshot)
    });
    // Node 3 lets the offer lie; later it would be busy with it for ever.
    cluster.ticks(10);
    cluster.core(id(3)).refuse_snapshot();
    cluster.install_snapshots = true;
    cluster.until(300, "no second try", |cluster| cluster.machine(id(3)).len() == 6);
}

#[test]
fn only_the_held_snapshot_is_installed() {
    let mut cluster = lagging(4);
    cluster.install_snapshots = false;
    cluster.net.links.heal();
    let meta = cluster.meta(id(1));
    assert_eq!(cluster.core(id(3)).install_snapshot(&meta), Err(InstallError::NotHeld));
    cluster.ticks(20);
    let mut other = cluster.core(id(1)).offered_snapshot().unwrap().clone();
    let held = other.clone();
    other.membership.learners.insert(id(9));
    assert_eq!(cluster.core(id(3)).install_snapshot(&other), Err(InstallError::NotHeld));
    // That ended the offer.
    assert_eq!(cluster.core(id(3)).install_snapshot(&held), Err(InstallError::NotHeld));
    let status = cluster.core(id(3)).status();
    assert_eq!((status.last_index, status.truncated), (LogIndex(2), LogIndex(0)));
}

/// Its term is known as soon as it is installed, and its hash must be, too: else an append that
/// comes before the disk has it looks like another log, and an honest leader like a liar.
#[test]
fn a_state_that_is_not_in_place_yet_is_no_other_log() {
    let mut cluster = lagging(8);
    cluster.install_snapshots = false;
    cluster.net.links.heal();
    cluster.ticks(20);
    let leader = cluster.leader().unwrap();
    let meta = cluster.core(leader).offered_snapshot().unwrap().clone();
    let append = Message {
        msg_type: MessageType::MsgAppend as i32,
        from: leader.get(),
        to: 3,
        term: cluster.core(leader).status().term.0,
        index: meta.index.0,
        log_term: meta.term.0,
        commit: meta.index.0,
        context: meta.hash.as_bytes().to_vec(),
        ..Message::default()
    };
    let other = Message { context: vec![7; 32], ..append.clone() };
    let follower = cluster.core(id(3));
    assert_eq!(follower.install_snapshot(&meta), Ok(Installed::Persisting));
    assert!(follower.step(leader, append.encode_to_vec().into(), &Passes).is_ok());
    let result = follower.step(leader, other.encode_to_vec().into(), &Passes);
    let split = Reject::Split { index: meta.index, term: meta.term };
    assert!(matches!(result, Err(StepError::Rejected { reject, .. }) if reject == split));
}

#[test]
fn offers_are_checked() {
    let mut cluster = lagging(5);
    let good = cluster.meta(id(1));
    let applied = cluster.applied(id(1));
    let core = cluster.core(id(1));
    let with = |change: fn(&mut consilium_consensus::SnapshotMeta)| {
        let mut meta = good.clone();
        change(&mut meta);
        meta
    };
    let index = LogIndex(applied.0 + 1);
    assert_eq!(core.offer_snapshot(with(|meta| meta.index.0 += 1)), Err(OfferError::NotApplied { index, applied }));
    let index = LogIndex(applied.0 - 1);
    assert_eq!(
        core.offer_snapshot(with(|meta| meta.index.0 -= 1)),
        Err(OfferError::TooOld { index, truncated: applied })
    );
    // The term of the entry, not the current one.
    assert_eq!(
        core.offer_snapshot(with(|meta| meta.term = Term(9))),
        Err(OfferError::WrongTerm { expected: Term(1), found: Term(9) })
    );
    assert!(core.offer_snapshot(with(|meta| meta.membership.voters.clear())).is_err());
    assert_eq!(core.offered_snapshot(), None);
    assert_eq!(core.offer_snapshot(good.clone()), Ok(()));
    assert_eq!(core.offered_snapshot(), Some(&good));
}

#[test]
fn compaction_is_checked() {
    let mut cluster = Cluster::new(3, 6);
    let everyone = cluster.everyone();
    let index = cluster.commit("a", &everyone).index;
    let core = cluster.core(id(1));
    let beyond = LogIndex(index.0 + 1);
    assert_eq!(core.compact_to(beyond), Err(CompactError::NotApplied { index: beyond, applied: index }));
    assert_eq!(core.compact_to(index).map(|position| position.index), Ok(index));
    assert_eq!(core.compact_to(index), Err(CompactError::Compacted { truncated: index }));
}
