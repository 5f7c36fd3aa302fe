//! Crashes: what the guard holds is never contradicted, and never a deadlock.

use consilium_consensus::voting::HEADERS_MAX;

use super::*;

fn two_epochs() -> Chain {
    Chain::new(vec![equal(&[1, 2, 3, 4]), equal(&[1, 2, 3, 4])], &[10])
}

fn own_vote(effect: Effect) -> Option<Vote> {
    match effect {
        Effect::BroadcastVote(vote) => Some(vote),
        _ => None,
    }
}

#[test]
fn the_guarded_vote_is_made_again_without_another_guard_write() {
    let chain = Chain::of_four();
    let mut node = chain.start(1, chain.guard(5, 0), None);
    chain.execute(&mut node, 1..=5);
    let effects = node.take_effects();
    assert_eq!((effects.len(), voted(&effects)), (1, vec![5]));
    // Nothing at or below it is signed; it is repeated like any newest vote.
    assert_eq!(voted(&round(&mut node, 0)), [5]);
    chain.execute(&mut node, [6]);
    assert_eq!(voted(&round(&mut node, 1)), [6]);
}

#[test]
fn another_header_than_the_guards_is_never_signed() {
    let chain = Chain::of_four();
    let mut node = chain.start(1, chain.guard(5, 1), None);
    chain.execute(&mut node, 1..=6);
    // Nor is anything above it, on a chain that contradicts the vote...
    assert_eq!(voted(&round(&mut node, 0)), Vec::<u64>::new());
    chain.votes(&mut node, &[2, 3, 4], 4);
    assert_eq!(voted(&round(&mut node, 1)), Vec::<u64>::new());
    // ... unless that is the one that the validators certify.
    chain.votes(&mut node, &[2, 3, 4], 5);
    assert_eq!(voted(&round(&mut node, 2)), [6]);
}

#[test]
fn the_guards_header_is_kept_however_far_the_chain_grows() {
    let chain = Chain::of_four();
    let mut node = chain.start(1, chain.guard(5, 0), None);
    let tip = 2 * HEADERS_MAX as u64;
    chain.execute(&mut node, 1..=tip);
    assert_eq!(voted(&drive(&mut node)), [5]);
    assert_eq!(voted(&round(&mut node, 0)).last(), Some(&tip));
}

#[test]
fn a_guard_ahead_of_what_is_executed_holds_votes_back() {
    let chain = Chain::of_four();
    let mut node = chain.start(1, chain.guard(5, 0), None);
    chain.execute(&mut node, 1..=4);
    assert_eq!(voted(&round(&mut node, 0)), Vec::<u64>::new());
    chain.execute(&mut node, 5..=6);
    assert_eq!(voted(&round(&mut node, 1)), [5, 6]);
}

#[test]
fn a_crash_before_the_guard_is_durable_leaves_no_trace() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=3);
    node.tick(at(0)).unwrap();
    assert_eq!(voted(&node.take_effects()), Vec::<u64>::new());
    // The guard was not written: the new process knows nothing of it.
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=3);
    assert_eq!(voted(&round(&mut node, 0)), [1, 2, 3]);
}

#[test]
fn a_crash_after_the_guard_is_durable_repeats_the_newest_vote_only() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=3);
    node.tick(at(0)).unwrap();
    let Effect::WriteGuard(guard) = node.take_effects()[0] else { panic!("no guard") };
    let mut node = chain.start(1, guard, None);
    chain.execute(&mut node, 1..=4);
    assert_eq!(voted(&drive(&mut node)), [3]);
}

#[test]
fn a_guard_at_the_boundary_is_repeated_and_holds_what_is_above() {
    let chain = two_epochs();
    let mut node = chain.start(1, chain.guard(10, 0), None);
    chain.execute(&mut node, 1..=15);
    assert_eq!(voted(&drive(&mut node)), [10]);
    assert_eq!(voted(&round(&mut node, 0)), [10]);
    chain.votes(&mut node, &[2, 3], 10);
    assert_eq!(certified(&drive(&mut node)), [(10, true)]);
    assert_eq!(voted(&round(&mut node, 1)), [11, 12, 13, 14, 15]);
}

#[test]
fn a_boundary_far_below_the_tip_is_not_forgotten() {
    let chain = two_epochs();
    let mut node = chain.start(1, chain.guard(10, 0), None);
    chain.execute(&mut node, 1..=10 + 2 * HEADERS_MAX as u64);
    assert_eq!(voted(&drive(&mut node)), [10]);
    chain.votes(&mut node, &[2, 3], 10);
    assert_eq!(certified(&drive(&mut node)), [(10, true)]);
}

#[test]
fn a_boundary_that_was_certified_elsewhere_is_asked_for() {
    let chain = two_epochs();
    let mut node = chain.start(1, chain.guard(10, 0), None);
    chain.execute(&mut node, 1..=15);
    assert_eq!(asked(&round(&mut node, 0)), [1]);
    // Others are far beyond; this node's vote on the boundary tells them.
    let mut other = chain.node(2);
    chain.execute(&mut other, 1..=15);
    other.certificate(chain.certified(&[2, 3, 4], 10, 0));
    other.certificate(chain.certified(&[2, 3, 4], 15, 0));
    round(&mut other, 250);
    round(&mut other, 500);
    chain.votes(&mut other, &[1], 10);
    assert_eq!(told(&drive(&mut other)), [(1, 10)]);
    node.certificate(chain.certified(&[2, 3, 4], 10, 0));
    let effects = drive(&mut node);
    assert_eq!((certified(&effects), asked(&effects)), (vec![(10, true)], vec![11]));
    node.certificate(chain.certified(&[2, 3, 4], 15, 0));
    assert_eq!(certified(&drive(&mut node)), [(15, false)]);
}

#[test]
fn a_boundary_signed_with_another_header_waits_for_the_others() {
    let chain = two_epochs();
    let mut node = chain.start(1, chain.guard(10, 1), None);
    chain.execute(&mut node, 1..=15);
    assert_eq!(voted(&round(&mut node, 0)), Vec::<u64>::new());
    chain.votes(&mut node, &[2, 3, 4], 10);
    assert_eq!(certified(&drive(&mut node)), [(10, true)]);
    assert_eq!(voted(&round(&mut node, 1)), [11, 12, 13, 14, 15]);
}

#[test]
fn a_guard_above_the_boundary_comes_with_its_certificate() {
    // The certificate of a boundary is an effect before any guard above it.
    let chain = two_epochs();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=12);
    let mut effects = round(&mut node, 0);
    chain.votes(&mut node, &[2, 3], 10);
    effects.extend(round(&mut node, 1));
    let certified_at = effects.iter().position(|e| matches!(e, Effect::Certified { ends_epoch: true, .. }));
    let above = |e: &Effect| matches!(e, Effect::WriteGuard(g) if g.voted_height > Height(10));
    assert!(certified_at.unwrap() < effects.iter().position(above).unwrap());

    // So this is what a restart finds, and it goes on from there.
    let mut node = chain.start(1, chain.guard(12, 0), Some(chain.certified(&[1, 2, 3], 10, 0)));
    chain.execute(&mut node, 11..=13);
    assert_eq!(voted(&drive(&mut node)), [12]);
    assert_eq!(voted(&round(&mut node, 0)).last(), Some(&13));
    // A peer that is still below gets the certificate that only this node may have.
    node.uncertified_from(NodeId(4), Height(7));
    assert_eq!(drive(&mut node), vec![Effect::SendStored { to: NodeId(4), from: Height(7) }]);
}

#[test]
fn a_disk_that_lost_the_boundarys_certificate_signs_the_boundary_again_first() {
    let chain = two_epochs();
    let mut node = chain.start(1, chain.guard(12, 0), None);
    chain.execute(&mut node, 1..=15);
    assert_eq!(voted(&drive(&mut node)), [10]);
    let effects = round(&mut node, 0);
    assert_eq!((voted(&effects), asked(&effects)), (vec![10], vec![1]));
    node.certificate(chain.certified(&[2, 3, 4], 10, 0));
    assert_eq!(certified(&drive(&mut node)), [(10, true)]);
    assert_eq!(voted(&round(&mut node, 1)), [12, 13, 14, 15]);
}

/// Nobody else could sign it: all others voted above it, too.
#[test]
fn a_boundary_whose_certificate_is_lost_everywhere_is_certified_again() {
    let chain = two_epochs();
    let mut nodes: Vec<_> = (1..=3).map(|id| chain.start(id, chain.guard(12, 0), None)).collect();
    let mut votes = Vec::new();
    for node in &mut nodes {
        chain.execute(node, 1..=12);
        votes.extend(drive(node).into_iter().filter_map(own_vote));
    }
    for node in &mut nodes {
        votes.iter().for_each(|vote| node.vote(vote.validator, vote.clone()));
        assert_eq!(certified(&drive(node)), [(10, true)]);
        assert!(voted(&round(node, 0)).iter().all(|height| *height == 12), "what it had voted for before");
    }
}

/// The guard's header is of another chain than what is executed: its ancestors are not
/// known, and nothing is signed.
#[test]
fn a_boundary_below_another_header_than_the_guards_is_not_signed() {
    let chain = two_epochs();
    let mut node = chain.start(1, chain.guard(12, 1), None);
    chain.execute(&mut node, 1..=15);
    assert_eq!(voted(&round(&mut node, 0)), Vec::<u64>::new());
}

#[test]
fn all_nodes_crash_at_the_boundary_and_go_on() {
    let chain = two_epochs();
    let mut nodes: Vec<_> = (1..=3).map(|id| chain.start(id, chain.guard(10, 0), None)).collect();
    // No certificate survived anywhere, and node 4 is away for good.
    let mut votes = Vec::new();
    for node in &mut nodes {
        chain.execute(node, 1..=15);
        votes.extend(drive(node).into_iter().filter_map(own_vote));
    }
    for node in &mut nodes {
        votes.iter().for_each(|vote| node.vote(vote.validator, vote.clone()));
        assert_eq!(certified(&drive(node)), [(10, true)]);
        assert_eq!(voted(&round(node, 0)), [11, 12, 13, 14, 15]);
    }
}
