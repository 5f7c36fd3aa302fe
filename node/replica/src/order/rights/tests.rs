#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixture::{id, number, transaction};

const PATIENCE_MS: u64 = 1_000;
const DISTRUST_MS: u64 = 3_000;

fn member(name: &str) -> Share {
    Share::Administrators(name.parse().unwrap())
}

fn person(name: &str) -> Share {
    Share::Identity(format!("spiffe://a.example/clinician/{name}").parse().unwrap())
}

fn leader(id: u64) -> Option<RaftId> {
    RaftId::new(id)
}

/// Node 1 leads since 0, and these are under watch since then.
fn watching(numbers: std::ops::RangeInclusive<u16>) -> Rights {
    let mut rights = Rights::new(PATIENCE_MS, DISTRUST_MS);
    rights.leadership_changed(leader(1), 0);
    for number in numbers {
        assert_eq!(rights.watch(&member("a.example"), &transaction(number, 10), 0), Some(true));
    }
    rights
}

fn late(rights: &mut Rights, now_ms: u64) -> Option<u16> {
    rights.late(LogIndex(9), LogIndex(9), now_ms).map(|id| number(&id))
}

#[test]
fn a_member_has_a_few_under_watch_and_the_others_their_own() {
    let mut rights = watching(1..=WATCHED_OF_ADMINISTRATORS_MAX as u16);
    let (one, other) = (member("a.example"), member("b.example"));
    assert_eq!(rights.watch(&one, &transaction(9, 10), 0), None);
    assert_eq!(rights.watch(&one, &transaction(1, 10), 0), Some(false));
    assert_eq!(rights.watch(&other, &transaction(9, 10), 0), Some(true));
    assert_eq!(rights.watch(&other, &transaction(10, WATCH.administrators.bytes), 0), None);
    rights.forget(&id(1));
    assert_eq!(rights.watch(&one, &transaction(11, 10), 0), Some(true));
    assert_eq!(rights.len(), WATCHED_OF_ADMINISTRATORS_MAX + 1);
}

#[test]
fn a_leader_that_leaves_one_out_is_late_once_in_a_turn() {
    let mut rights = watching(1..=1);
    assert_eq!(late(&mut rights, PATIENCE_MS), None);
    assert_eq!(late(&mut rights, PATIENCE_MS + 1), Some(1));
    let trusted_again = PATIENCE_MS + 1 + DISTRUST_MS;
    assert_eq!(late(&mut rights, trusted_again + PATIENCE_MS / 2), None);
    assert_eq!(late(&mut rights, trusted_again + PATIENCE_MS / 2 + 1), Some(1));
    rights.forget(&id(1));
    assert_eq!(late(&mut rights, 99_000), None);
}

#[test]
fn another_leader_gets_all_of_the_time_and_the_same_one_half_of_it() {
    let mut rights = watching(1..=1);
    rights.leadership_changed(leader(2), 900);
    assert_eq!(late(&mut rights, 900 + PATIENCE_MS), None);
    rights.leadership_changed(None, 1_900);
    assert_eq!(late(&mut rights, 90_000), None, "nobody leads");
    rights.leadership_changed(leader(2), 90_000);
    assert_eq!(late(&mut rights, 90_000 + PATIENCE_MS / 2), None);
    assert_eq!(late(&mut rights, 90_000 + PATIENCE_MS / 2 + 1), Some(1));
    rights.leadership_changed(leader(3), 90_600);
    assert_eq!(late(&mut rights, 90_600 + PATIENCE_MS + 1), Some(1), "what another one was late with is no excuse");
}

#[test]
fn what_this_node_has_not_executed_yet_may_hold_it() {
    let mut rights = watching(1..=1);
    assert_eq!(rights.late(LogIndex(5), LogIndex(9), 2_000), None);
    assert_eq!(rights.late(LogIndex(8), LogIndex(30), 3_000), None);
    assert_eq!(rights.late(LogIndex(9), LogIndex(30), 4_000), Some(id(1)));
}

#[test]
fn who_fills_its_own_place_in_the_queue_cannot_depose_a_leader() {
    let mut rights = watching(1..=2);
    (0..LANE.administrators.count).for_each(|_| rights.executed(&member("a.example")));
    assert_eq!(late(&mut rights, PATIENCE_MS + 1), None);
    (0..LANE.administrators.count).for_each(|_| rights.executed(&member("b.example")));
    assert_eq!(late(&mut rights, 2 * PATIENCE_MS + 2), Some(1), "others' are no excuse");
}

#[test]
fn what_is_left_out_of_one_identity_is_late_whatever_others_of_its_member_do() {
    let mut rights = Rights::new(PATIENCE_MS, DISTRUST_MS);
    rights.leadership_changed(leader(1), 0);
    assert_eq!(rights.watch(&person("x"), &transaction(1, 10), 0), Some(true));
    (1..LANE.member.count).for_each(|_| rights.executed(&person("y")));
    assert_eq!(late(&mut rights, PATIENCE_MS + 1), Some(1), "there was room for it all the time");
    let again_ms = PATIENCE_MS + 1 + DISTRUST_MS;
    (0..LANE.identity.count).for_each(|_| rights.executed(&person("x")));
    assert_eq!(late(&mut rights, again_ms + PATIENCE_MS), None, "its author has filled the room");
    (0..LANE.member.count).for_each(|_| rights.executed(&person("y")));
    assert_eq!(late(&mut rights, again_ms + 3 * PATIENCE_MS), None, "its member's people have");
    assert_eq!(late(&mut rights, again_ms + 5 * PATIENCE_MS), Some(1));
}

#[test]
fn what_can_never_be_executed_is_not_waited_for() {
    let mut rights = watching(1..=1);
    rights.expire(TimeMs(0));
    assert!(rights.is_watched(&id(1)));
    rights.expire(TimeMs(1));
    assert!(rights.is_empty());
}

/// To whom, and which.
fn calls(rights: &mut Rights, now_ms: u64, next: &mut CallId) -> Vec<(u64, Vec<u16>)> {
    let mut out = Vec::new();
    rights.call([2, 3].map(NodeId).into_iter(), now_ms, next, &mut out);
    let parts = |output| match output {
        Output::Forward { to, transactions, .. } => (to.0, transactions.iter().map(|t| number(&t.id)).collect()),
        other => panic!("{other:?}"),
    };
    out.into_iter().map(parts).collect()
}

#[test]
fn what_came_of_a_client_is_handed_on_until_it_is_under_watch() {
    let (mut rights, mut next) = (watching(1..=2), CallId::default());
    [1, 2].iter().for_each(|number| rights.share(&id(*number), 0));
    assert_eq!(calls(&mut rights, 0, &mut next), [(2, vec![1, 2]), (3, vec![1, 2])]);
    assert_eq!(calls(&mut rights, 0, &mut next), []);
    rights.answered(CallId(1), &[ForwardResult::Watched, ForwardResult::Queued], 0);
    rights.answered(CallId(2), &[ForwardResult::NotLeader, ForwardResult::Watched], 0);
    assert_eq!(calls(&mut rights, SHARE_AGAIN_MS - 1, &mut next), []);
    assert_eq!(calls(&mut rights, SHARE_AGAIN_MS, &mut next), [(3, vec![1])]);
    rights.forget(&id(1));
    rights.answered(CallId(3), &[], SHARE_AGAIN_MS);
    assert_eq!(calls(&mut rights, PATIENCE_MS, &mut next), []);
    // Whoever has started again has forgotten it.
    assert_eq!(late(&mut rights, PATIENCE_MS + 1), Some(2));
    assert_eq!(calls(&mut rights, PATIENCE_MS + 1, &mut next), [(2, vec![2]), (3, vec![2])]);
}

#[test]
fn what_came_of_a_peer_is_handed_on_once_it_takes_long() {
    let (mut rights, mut next) = (watching(1..=1), CallId::default());
    assert_eq!(calls(&mut rights, PATIENCE_MS / 2 - 1, &mut next), []);
    assert_eq!(calls(&mut rights, PATIENCE_MS / 2, &mut next), [(2, vec![1]), (3, vec![1])]);
}
