//! When a header is certified, and when this node is wrong.

use consilium_consensus::voting::{HEADERS_MAX, VOTES_PER_NODE_MAX, VoteProblem, VotingError};

use super::*;

const NOTHING: [(u64, bool); 0] = [];

#[test]
fn three_of_four_certify_and_the_certificate_verifies() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    node.executed(chain.header(1, 0), false, None).unwrap();
    chain.votes(&mut node, &[1, 1, 2], 1);
    assert_eq!(certified(&drive(&mut node)), NOTHING);
    chain.votes(&mut node, &[3], 1);
    assert_eq!(certified(&drive(&mut node)), [(1, false)]);
    let newest = node.newest_certified().unwrap();
    newest.verify(chain.set_at(1)).unwrap();
    assert_eq!(newest.certificate.signatures().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(node.certified(), Height(1));
}

#[test]
fn power_counts_not_heads() {
    let chain = Chain::new(vec![set(&[(1, 7), (2, 1), (3, 1), (4, 1)])], &[]);
    let mut node = chain.node(5);
    chain.execute(&mut node, [1]);
    chain.votes(&mut node, &[2, 3, 4], 1);
    assert_eq!(certified(&drive(&mut node)), NOTHING);
    chain.votes(&mut node, &[1], 1);
    assert_eq!(certified(&drive(&mut node)), [(1, false)]);
}

#[test]
fn exactly_two_thirds_are_not_enough() {
    let chain = Chain::new(vec![equal(&[1, 2, 3])], &[]);
    let mut node = chain.node(4);
    chain.execute(&mut node, [1]);
    chain.votes(&mut node, &[1, 2, 4, 5], 1);
    assert_eq!(certified(&drive(&mut node)), NOTHING);
    chain.votes(&mut node, &[3], 1);
    assert_eq!(certified(&drive(&mut node)), [(1, false)]);
}

#[test]
fn votes_without_a_seat_do_not_count() {
    let chain = Chain::of_four();
    let mut node = chain.node(6);
    chain.execute(&mut node, [1]);
    chain.votes(&mut node, &[1, 2, 5], 1);
    assert_eq!(certified(&round(&mut node, 0)), NOTHING);
    chain.votes(&mut node, &[3], 1);
    drive(&mut node);
    assert_eq!(node.newest_certified().unwrap().certificate.signatures().count(), 3);
}

#[test]
fn a_forged_vote_neither_counts_nor_blocks() {
    let chain = Chain::of_four();
    let mut node = chain.node(5);
    chain.execute(&mut node, [1]);
    let mut forged = chain.vote(3, 1, 0);
    forged.signature = [7; 64];
    node.vote(NodeId(3), forged);
    chain.votes(&mut node, &[1, 2], 1);
    let refused =
        Effect::Refused { from: NodeId(3), validator: NodeId(3), height: Height(1), problem: VoteProblem::Forged };
    assert_eq!(drive(&mut node), vec![refused]);
    chain.votes(&mut node, &[3], 1);
    assert_eq!(certified(&drive(&mut node)), [(1, false)]);
}

#[test]
fn a_real_vote_replaces_a_forged_copy() {
    let chain = Chain::of_four();
    let mut node = chain.node(5);
    chain.execute(&mut node, [1]);
    let mut forged = chain.vote(3, 1, 0);
    forged.signature = [7; 64];
    node.vote(NodeId(3), forged);
    chain.votes(&mut node, &[3, 1, 2], 1);
    assert_eq!(certified(&drive(&mut node)), [(1, false)]);
}

/// Each copy is one forgery of who sent it; of a node that is proven to lie, nothing more is looked at.
#[test]
fn a_flood_of_forged_votes_tells_who_sent_it() {
    let chain = Chain::of_four();
    let mut node = chain.node(5);
    chain.execute(&mut node, [1]);
    let forged = |n: u8| Vote { signature: [n; 64], ..chain.vote(3, 1, 0) };
    (1..=10).for_each(|n| node.vote(NodeId(3), forged(n)));
    node.vote(NodeId(4), forged(11));
    let told: Vec<_> = drive(&mut node)
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Refused { from, problem: VoteProblem::Forged, .. } => Some(from.0),
            _ => None,
        })
        .collect();
    // The first was not needed yet.
    assert_eq!(told, [3; 9].into_iter().chain([4]).collect::<Vec<_>>());
    [0, 1].iter().for_each(|branch| node.vote(NodeId(3), chain.vote(3, 1, *branch)));
    assert_eq!(liars(&drive(&mut node)), [(3, 1)]);
    (1..=10).for_each(|n| node.vote(NodeId(3), Vote { header_hash: HeaderHash::from_bytes([n; 32]), ..forged(n) }));
    assert_eq!(drive(&mut node), []);
}

#[test]
fn a_root_that_is_not_the_headers_makes_no_certificate() {
    let chain = Chain::of_four();
    let mut node = chain.node(5);
    chain.execute(&mut node, [1]);
    let mut other = chain.header(1, 0);
    other.tree_root = Hash::from_bytes([9; 32]);
    for id in 1..=4 {
        // Signed by the validator, over the right header's hash and a wrong root.
        let hash = chain.header(1, 0).hash();
        let bytes = consilium_proto::vote::signing_bytes(
            &key(id).verifying_key(),
            &ledger(),
            Height(1),
            &hash,
            &other.tree_root,
        );
        let signature = key(id).sign(&bytes).unwrap();
        let vote = Vote { header_hash: hash, tree_root: other.tree_root, signature, ..chain.vote(id, 1, 0) };
        assert!(vote.verifies(&key(id).verifying_key()));
        node.vote(NodeId(id), vote);
    }
    let effects = drive(&mut node);
    assert_eq!((certified(&effects), liars(&effects)), (NOTHING.into(), vec![(1, 1), (2, 1), (3, 1), (4, 1)]));
}

#[test]
fn strangers_and_other_ledgers_are_refused() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    let mut stranger = chain.vote(2, 1, 0);
    stranger.validator = NodeId(77);
    let mut foreign = chain.vote(2, 1, 0);
    foreign.ledger_id = LedgerId::from_bytes([2; 32]);
    node.vote(NodeId(77), stranger);
    node.vote(NodeId(2), foreign);
    let refused = |id, problem| Effect::Refused { from: NodeId(id), validator: NodeId(id), height: Height(1), problem };
    assert_eq!(drive(&mut node), vec![refused(77, VoteProblem::Stranger), refused(2, VoteProblem::OtherLedger)]);
}

#[test]
fn votes_that_come_before_the_block_count_when_it_is_executed() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    chain.votes(&mut node, &[1, 2, 3], 2);
    assert_eq!(drive(&mut node), Vec::new());
    chain.execute(&mut node, 1..=2);
    assert_eq!(certified(&drive(&mut node)), [(2, false)]);
}

#[test]
fn a_peers_certificate_counts_at_once_or_when_its_block_is_executed() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    chain.execute(&mut node, 1..=1);
    node.certificate(chain.certified(&[1, 2, 3], 1, 0));
    node.certificate(chain.certified(&[1, 2, 4], 3, 0));
    assert_eq!(certified(&drive(&mut node)), [(1, false)]);
    chain.execute(&mut node, 2..=3);
    assert_eq!(certified(&drive(&mut node)), [(3, false)]);
}

#[test]
fn certificates_that_do_not_verify_change_nothing() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    chain.execute(&mut node, 1..=1);
    let mut swapped = chain.certified(&[1, 2, 3], 1, 1);
    swapped.header = chain.header(1, 0);
    node.certificate(swapped);
    node.certificate(chain.certified(&[1, 2], 1, 0));
    node.certificate(chain.certified(&[1, 2, 5], 1, 0));
    node.certificate(chain.certified(&[1, 2], 1, 1));
    let mut foreign = chain.certified(&[1, 2, 3], 1, 0);
    foreign.header.ledger_id = LedgerId::from_bytes([2; 32]);
    node.certificate(foreign);
    assert_eq!((drive(&mut node), node.certified()), (Vec::new(), Height(0)));
}

#[test]
fn many_waiting_certificates_leave_the_lowest() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    (2..=40).rev().for_each(|height| node.certificate(chain.certified(&[1, 2, 3], height, 0)));
    chain.execute(&mut node, 1..=40);
    // The 16 lowest were kept.
    assert_eq!(certified(&drive(&mut node)), (2..=17).map(|h| (h, false)).collect::<Vec<_>>());
}

#[test]
fn a_node_that_computed_something_else_finds_out_by_votes() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    chain.execute(&mut node, 1..=2);
    round(&mut node, 0);
    for id in [1, 2, 3] {
        node.vote(NodeId(id), chain.vote(id, 2, 1));
    }
    let (own, other) = (chain.header(2, 0).hash(), chain.header(2, 1).hash());
    let effects = drive(&mut node);
    assert_eq!(effects.last(), Some(&Effect::Diverged { height: Height(2), own, certified: other }));
    assert!(node.is_quarantined());
    chain.execute(&mut node, [3]);
    assert_eq!(voted(&round(&mut node, 1_000)), Vec::<u64>::new());
}

#[test]
fn a_node_that_computed_something_else_finds_out_by_a_certificate() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    chain.execute(&mut node, 1..=2);
    node.certificate(chain.certified(&[1, 2, 3], 2, 1));
    let (own, certified) = (chain.header(2, 0).hash(), chain.header(2, 1).hash());
    assert_eq!(drive(&mut node), vec![Effect::Diverged { height: Height(2), own, certified }]);
}

#[test]
fn a_certificate_waiting_for_its_block_shows_divergence_too() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    node.certificate(chain.certified(&[1, 2, 3], 2, 1));
    chain.execute(&mut node, 1..=2);
    assert!(matches!(drive(&mut node)[..], [Effect::Diverged { height: Height(2), .. }]));
}

#[test]
fn a_long_stretch_without_certificates_can_still_be_certified() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    let tip = 3 * HEADERS_MAX as u64;
    chain.execute(&mut node, 1..=tip);
    let above = tip + 1 - VOTES_PER_NODE_MAX as u64;
    for id in [1, 2] {
        (above..=tip).for_each(|height| chain.votes(&mut node, &[id], height));
    }
    assert_eq!(voted(&round(&mut node, 0)).last(), Some(&tip));
    assert_eq!(node.certified(), Height::GENESIS, "its own vote leaves before it is counted");
    round(&mut node, 0);
    assert_eq!(node.certified(), Height(tip));
    assert_eq!(node.newest_certified().unwrap().header, chain.header(tip, 0));
}

#[test]
fn votes_kept_of_one_node_are_bounded_at_its_own_expense() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    chain.votes(&mut node, &[1, 2, 3], 1);
    // Node 3 fills its share with heights out of reach.
    (0..VOTES_PER_NODE_MAX as u64).for_each(|i| {
        let far = Vote { height: Height(u64::MAX - i), ..chain.vote(3, 1, 0) };
        node.vote(NodeId(3), far);
    });
    chain.execute(&mut node, [1]);
    assert_eq!(certified(&drive(&mut node)), NOTHING);
    chain.votes(&mut node, &[4], 1);
    assert_eq!(certified(&drive(&mut node)), [(1, false)]);
}

#[test]
fn a_height_is_executed_once() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    chain.execute(&mut node, [1, 1]);
    let height = Height(1);
    assert_eq!(node.executed(chain.header(1, 1), true, None), Err(VotingError::Reexecuted { height }));
}

#[test]
fn headers_of_other_validators_are_refused() {
    let chain = Chain::new(vec![equal(&[1, 2, 3]), equal(&[2, 3, 4])], &[2]);
    let mut node = chain.node(4);
    chain.execute(&mut node, [1]);
    let refused = |height| Err(VotingError::OtherValidators { height: Height(height) });
    // A boundary without its set, with another one, and a block that skips it.
    assert_eq!(node.executed(chain.header(2, 0), true, None), refused(2));
    assert_eq!(node.executed(chain.header(2, 0), true, Some(equal(&[1, 2, 4]))), refused(2));
    assert_eq!(node.executed(chain.header(3, 0), true, None), refused(3));
    assert_eq!(node.executed(chain.header(2, 0), true, chain.next_set(2)), Ok(()));
}
