//! Boundaries between epochs: who votes on what, and what peers are told.

use super::*;

/// Nodes 1 to 4, from height 11 on 3 to 6, from 21 on 1 to 4 again.
fn changing() -> Chain {
    Chain::new(vec![equal(&[1, 2, 3, 4]), equal(&[3, 4, 5, 6]), equal(&[1, 2, 3, 4])], &[10, 20])
}

#[test]
fn no_vote_above_a_boundary_that_is_not_certified() {
    let chain = changing();
    let mut node = chain.node(3);
    chain.execute(&mut node, 1..=15);
    assert_eq!(voted(&round(&mut node, 0)), (1..=10).collect::<Vec<_>>());
    // Whatever happens, the newest vote stays the one on the boundary.
    assert_eq!(voted(&round(&mut node, 600)), [10]);
    assert_eq!(node.guard(), chain.guard(10, 0));
    chain.votes(&mut node, &[1, 2], 10);
    assert_eq!(certified(&drive(&mut node)), [(10, true)]);
    assert_eq!(voted(&round(&mut node, 601)), [11, 12, 13, 14, 15]);
}

#[test]
fn a_certificate_below_the_boundary_does_not_open_it() {
    let chain = changing();
    let mut node = chain.node(3);
    chain.execute(&mut node, 1..=15);
    chain.votes(&mut node, &[1, 2, 4], 9);
    assert_eq!(voted(&round(&mut node, 0)), [10]);
    assert_eq!(voted(&round(&mut node, 1)), Vec::<u64>::new());
}

#[test]
fn the_boundary_is_never_left_out_of_a_round() {
    let chain = Chain::new(vec![equal(&[1, 2, 3, 4]); 2], &[40]);
    let mut node = chain.node(3);
    chain.execute(&mut node, 1..=200);
    assert_eq!(voted(&round(&mut node, 0)), (9..=40).collect::<Vec<_>>());
}

#[test]
fn an_unchanged_set_has_boundaries_too() {
    let chain = Chain::new(vec![equal(&[1, 2, 3, 4]); 2], &[10]);
    let mut node = chain.node(3);
    chain.execute(&mut node, 1..=12);
    chain.votes(&mut node, &[1, 2, 4], 12);
    assert_eq!(certified(&round(&mut node, 0)), []);
    chain.votes(&mut node, &[1, 2], 10);
    assert_eq!(certified(&drive(&mut node)), [(10, true), (12, false)]);
}

#[test]
fn votes_of_the_next_epoch_count_after_the_boundarys_certificate() {
    let chain = changing();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=25);
    // The third epoch's, the second's, then the first's.
    chain.votes(&mut node, &[1, 2, 3], 22);
    chain.votes(&mut node, &[4, 5, 6], 20);
    chain.votes(&mut node, &[4, 5, 6], 13);
    assert_eq!(certified(&drive(&mut node)), []);
    chain.votes(&mut node, &[2, 3, 4], 10);
    assert_eq!(certified(&drive(&mut node)), [(10, true), (20, true), (22, false)]);
}

#[test]
fn each_epochs_own_seats_count() {
    let chain = changing();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=12);
    chain.votes(&mut node, &[3, 4, 5, 6], 10);
    assert_eq!(certified(&drive(&mut node)), []);
    chain.votes(&mut node, &[2], 10);
    assert_eq!(certified(&drive(&mut node)), [(10, true)]);
    chain.votes(&mut node, &[1, 2, 3, 4], 11);
    assert_eq!(certified(&drive(&mut node)), []);
    chain.votes(&mut node, &[5], 11);
    assert_eq!(certified(&drive(&mut node)), [(11, false)]);
    let newest = node.newest_certified().unwrap();
    newest.verify(chain.set_at(11)).unwrap();
}

#[test]
fn a_certificate_beyond_a_boundary_makes_this_node_ask_for_the_boundarys() {
    let chain = changing();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=12);
    node.certificate(chain.certified(&[3, 4, 5], 12, 0));
    let effects = drive(&mut node);
    assert_eq!((certified(&effects), asked(&effects)), (vec![], vec![1]));
    // Once; the next repetition comes with time.
    node.certificate(chain.certified(&[3, 4, 5], 12, 0));
    assert_eq!(drive(&mut node), Vec::new());
    node.certificate(chain.certified(&[1, 2, 4], 10, 0));
    let effects = drive(&mut node);
    assert_eq!((certified(&effects), asked(&effects)), (vec![(10, true)], vec![11]));
    node.certificate(chain.certified(&[3, 4, 5], 12, 0));
    assert_eq!(certified(&drive(&mut node)), [(12, false)]);
}

#[test]
fn so_does_one_for_blocks_that_are_not_executed_yet() {
    let chain = changing();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=5);
    node.certificate(chain.certified(&[3, 4, 5], 12, 0));
    assert_eq!(asked(&drive(&mut node)), [1]);
    // The boundary's certificate can wait for its block; what is above cannot.
    node.certificate(chain.certified(&[1, 2, 4], 10, 0));
    chain.execute(&mut node, 6..=12);
    let effects = drive(&mut node);
    assert_eq!((certified(&effects), asked(&effects)), (vec![(10, true)], vec![]));
}

#[test]
fn a_certificate_by_the_next_validators_does_not_count_for_the_boundary() {
    let chain = changing();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=12);
    node.certificate(chain.certified(&[3, 4, 5, 6], 10, 0));
    assert_eq!(certified(&drive(&mut node)), []);
}

#[test]
fn another_epochs_certificate_proves_no_divergence() {
    // Here the epoch ends at 10; a certificate of an epoch that goes on is over
    // another header, by the same validators.
    let chain = Chain::new(vec![equal(&[1, 2, 3, 4]); 2], &[10]);
    let other = Chain::of_four();
    let mut node = chain.node(4);
    chain.execute(&mut node, 1..=12);
    let mut next_epoch = chain.certified(&[1, 2, 3], 12, 1);
    assert_eq!(next_epoch.header.epoch, Epoch(1));
    node.certificate(next_epoch.clone());
    assert_eq!(drive(&mut node), Vec::new());
    next_epoch = other.certified(&[1, 2, 3], 12, 1);
    node.certificate(next_epoch);
    assert!(matches!(drive(&mut node)[..], [Effect::Diverged { height: Height(12), .. }]));
}

/// A node that has certified up to 25, one boundary after the other.
fn certified_to_25(chain: &Chain) -> Voting {
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=25);
    node.certificate(chain.certified(&[1, 2, 3], 10, 0));
    node.certificate(chain.certified(&[3, 4, 5], 20, 0));
    node.certificate(chain.certified(&[1, 2, 3], 25, 0));
    assert_eq!(certified(&drive(&mut node)), [(10, true), (20, true), (25, false)]);
    node
}

#[test]
fn a_peer_is_told_the_first_boundary_that_it_lacks() {
    let chain = changing();
    let mut node = certified_to_25(&chain);
    for (ms, from, expected) in [(0, 1, 10), (1, 11, 20), (2, 21, 25), (1_000, 10, 10), (2_000, 20, 20)] {
        node.tick(at(ms)).unwrap();
        drive(&mut node);
        node.uncertified_from(NodeId(2), Height(from));
        assert_eq!(told(&drive(&mut node)), [(2, expected)], "from {from}");
    }
    node.uncertified_from(NodeId(3), Height(26));
    node.uncertified_from(NodeId(1), Height(1));
    assert_eq!(drive(&mut node), Vec::new());
}

#[test]
fn a_peer_that_votes_for_what_is_certified_is_told_too() {
    let chain = changing();
    let mut node = certified_to_25(&chain);
    let vote = chain.vote(4, 15, 0);
    node.vote(NodeId(4), vote.clone());
    assert_eq!(told(&drive(&mut node)), [], "the votes that certified it are on their way to it, too");
    node.vote(NodeId(4), vote);
    assert_eq!(told(&drive(&mut node)), [(4, 20)], "it says so again");
    round(&mut node, 250);
    round(&mut node, 500);
    chain.votes(&mut node, &[3], 16);
    assert_eq!(told(&drive(&mut node)), [(3, 20)], "it is late");
    // Not for a vote that someone else passes on.
    node.vote(NodeId(5), chain.vote(6, 15, 0));
    assert_eq!(told(&drive(&mut node)), []);
}

#[test]
fn nobody_is_told_the_same_again_at_once() {
    let chain = changing();
    let mut node = certified_to_25(&chain);
    let mut ask = |ms| {
        node.tick(at(ms)).unwrap();
        node.uncertified_from(NodeId(2), Height(21));
        told(&drive(&mut node))
    };
    assert_eq!((ask(0), ask(249), ask(250)), (vec![(2, 25)], vec![], vec![(2, 25)]));
}

#[test]
fn what_is_not_in_memory_is_told_from_the_store() {
    let chain = changing();
    let mut node = chain.start(1, VoteGuard::NONE, Some(chain.certified(&[3, 4, 5], 15, 0)));
    chain.execute(&mut node, 16..=22);
    node.uncertified_from(NodeId(2), Height(3));
    assert_eq!(drive(&mut node), vec![Effect::SendStored { to: NodeId(2), from: Height(3) }]);
    node.certificate(chain.certified(&[3, 4, 5], 20, 0));
    drive(&mut node);
    node.uncertified_from(NodeId(2), Height(16));
    assert_eq!(told(&drive(&mut node)), [(2, 20)]);
}

#[test]
fn a_node_far_behind_catches_up_with_one_question_an_epoch() {
    let chain = changing();
    let (mut ahead, mut behind) = (certified_to_25(&chain), chain.node(2));
    chain.execute(&mut behind, 1..=25);
    behind.tick(at(0)).unwrap();
    ahead.tick(at(0)).unwrap();
    let mut questions = asked(&drive(&mut behind));
    let mut asked_in_all = 0;
    while let Some(from) = questions.pop() {
        asked_in_all += 1;
        ahead.uncertified_from(NodeId(2), Height(from));
        for effect in drive(&mut ahead) {
            let Effect::SendCertificate { certified, .. } = effect else { continue };
            behind.certificate(*certified);
            questions.extend(asked(&drive(&mut behind)));
        }
    }
    // No time has passed.
    assert_eq!((behind.certified(), asked_in_all), (Height(25), 3));
}

#[test]
fn keys_and_sets_below_what_is_kept_are_forgotten() {
    let chain = Chain::new(vec![equal(&[1, 2, 3]), equal(&[4, 5, 6])], &[10]);
    let mut node = chain.node(4);
    chain.execute(&mut node, 1..=200);
    node.certificate(chain.certified(&[1, 2, 3], 10, 0));
    node.certificate(chain.certified(&[4, 5, 6], 50, 0));
    assert!(node.schedule().set_at(Height(10)).is_some());
    node.certificate(chain.certified(&[4, 5, 6], 75, 0));
    assert_eq!(node.certified(), Height(75));
    assert!(node.schedule().set_at(Height(10)).is_none());
    assert!(node.schedule().set_at(Height(11)).is_some());
}
