//! This node's own votes.

use super::*;

#[test]
fn no_signature_exists_before_the_guard_is_durable() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=3);
    node.tick(at(0)).unwrap();
    let guard = chain.guard(3, 0);
    assert_eq!(node.take_effects(), vec![Effect::WriteGuard(guard), Effect::AskPeers { from: Height(1) }]);
    // However long the disk takes, nothing else is signed.
    chain.execute(&mut node, 4..=5);
    node.tick(at(10_000)).unwrap();
    assert_eq!(node.take_effects(), vec![Effect::AskPeers { from: Height(1) }]);
    node.remembered().unwrap();
    assert_eq!(voted(&node.take_effects()), [1, 2, 3]);
    // What came meanwhile has a round of its own.
    node.tick(at(10_001)).unwrap();
    assert_eq!(node.take_effects(), vec![Effect::WriteGuard(chain.guard(5, 0))]);
    node.remembered().unwrap();
    assert_eq!(voted(&node.take_effects()), [4, 5]);
    assert_eq!(node.guard(), chain.guard(5, 0));
}

#[test]
fn votes_verify_and_are_for_the_headers_executed() {
    let chain = Chain::of_four();
    let mut node = chain.node(2);
    chain.execute(&mut node, 1..=1);
    let effects = round(&mut node, 0);
    let Some(Effect::BroadcastVote(vote)) = effects.iter().find(|e| matches!(e, Effect::BroadcastVote(_))) else {
        panic!("no vote")
    };
    assert!(vote.verifies(&key(2).verifying_key()));
    assert_eq!((vote.validator, vote.header_hash), (NodeId(2), chain.header(1, 0).hash()));
}

#[test]
fn a_round_votes_on_the_newest_blocks_only() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=100);
    assert_eq!(voted(&round(&mut node, 0)), (69..=100).collect::<Vec<_>>());
    assert_eq!(voted(&round(&mut node, 1)), Vec::<u64>::new());
}

#[test]
fn the_newest_vote_is_repeated_until_it_is_certified() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=2);
    assert_eq!(voted(&round(&mut node, 0)), [1, 2]);
    assert_eq!(voted(&round(&mut node, 499)), Vec::<u64>::new());
    let effects = round(&mut node, 500);
    assert_eq!((voted(&effects), asked(&effects)), (vec![2], vec![1]));
    assert_eq!(voted(&round(&mut node, 999)), Vec::<u64>::new());
    assert_eq!(voted(&round(&mut node, 1_000)), [2]);
    chain.votes(&mut node, &[2, 3], 2);
    assert_eq!(certified(&drive(&mut node)), [(2, false)]);
    assert_eq!(round(&mut node, 5_000), Vec::new());
}

#[test]
fn repetitions_go_on_when_the_wall_clock_jumps_back() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=1);
    round(&mut node, 0);
    node.tick(Clock { wall: TimeMs(5), monotonic_ms: 600 }).unwrap();
    assert_eq!(voted(&drive(&mut node)), [1]);
}

#[test]
fn a_vote_is_withheld_while_the_block_is_ahead_of_the_clock() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    let mut early = chain.header(2, 0);
    early.time = TimeMs(NOW_MS + SKEW_MS + 10);
    chain.execute(&mut node, [1]);
    node.executed(early, true, None).unwrap();
    let effects = round(&mut node, 0);
    assert_eq!(voted(&effects), [1]);
    assert!(effects.contains(&Effect::Withheld { height: Height(2), ahead_ms: SKEW_MS + 10 }));
    // Reported once; cast as soon as the clock is near enough.
    assert_eq!(round(&mut node, 9), Vec::new());
    assert_eq!(voted(&round(&mut node, 10)), [2]);
}

#[test]
fn old_blocks_are_voted_on() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    let mut old = chain.header(1, 0);
    old.time = TimeMs(1);
    node.executed(old, true, None).unwrap();
    assert_eq!(voted(&round(&mut node, 0)), [1]);
}

#[test]
fn blocks_taken_over_as_certified_are_not_voted_on() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    node.executed(chain.header(1, 0), false, None).unwrap();
    assert_eq!(voted(&round(&mut node, 0)), Vec::<u64>::new());
    chain.execute(&mut node, [2]);
    assert_eq!(voted(&round(&mut node, 1)), [2]);
}

#[test]
fn a_quarantined_node_signs_nothing() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=1);
    node.tick(at(0)).unwrap();
    node.quarantine();
    // Not even what the guard was written for.
    assert_eq!(voted(&drive(&mut node)), Vec::<u64>::new());
    chain.execute(&mut node, 2..=2);
    chain.votes(&mut node, &[2, 3, 4], 2);
    let effects = round(&mut node, 1_000);
    assert_eq!((voted(&effects), certified(&effects)), (vec![], vec![]));
}

#[test]
fn nodes_without_a_seat_vote() {
    let chain = Chain::of_four();
    let mut node = chain.node(6);
    chain.execute(&mut node, 1..=2);
    assert_eq!(voted(&round(&mut node, 0)), [1, 2]);
}

#[test]
fn a_node_that_comes_after_the_certificate_still_shows_itself() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    node.certificate(chain.certified(&[1, 2, 3], 3, 0));
    chain.execute(&mut node, 1..=3);
    let effects = round(&mut node, 0);
    // One vote, for the newest, and it is not repeated.
    assert_eq!((certified(&effects), voted(&effects)), (vec![(3, false)], vec![3]));
    assert_eq!(round(&mut node, 600), Vec::new());
}
