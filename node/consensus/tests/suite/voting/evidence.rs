//! Late votes, presence, double signing, and heights that nodes disagree about.

use consilium_consensus::voting::KEPT_BELOW;

use consilium_proto::vote::{Contradiction, signing_bytes};

use super::*;

/// A node without a seat that certified a height by certificate.
fn certified_node(chain: &Chain, height: u64) -> Voting {
    let mut node = chain.node(5);
    chain.execute(&mut node, 1..=height);
    node.certificate(chain.certified(&[1, 2, 3], height, 0));
    drive(&mut node);
    assert_eq!(node.certified(), Height(height));
    node
}

fn present(node: &mut Voting) -> Vec<(u64, u64)> {
    node.presence(|_| true).iter().map(|vote| (vote.validator.0, vote.height.0)).collect()
}

#[test]
fn presence_is_the_newest_vote_that_matches_what_is_executed() {
    let chain = Chain::of_four();
    let mut node = chain.node(5);
    chain.execute(&mut node, 1..=100);
    node.certificate(chain.certified(&[1, 2, 3], 100, 0));
    // Late votes of a seat and of a node without one; one on another branch, one
    // for a block that is not executed here.
    chain.votes(&mut node, &[4, 6], 98);
    chain.votes(&mut node, &[4], 99);
    node.vote(NodeId(6), chain.vote(6, 99, 1));
    chain.votes(&mut node, &[6], 101);
    assert_eq!(present(&mut node), [(1, 100), (2, 100), (3, 100), (4, 99), (6, 98)]);
    let asked = node.presence(|id| id.0 > 4);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].verifies(&key(6).verifying_key()));
}

#[test]
fn a_forged_vote_shows_nobodys_presence() {
    let chain = Chain::of_four();
    let mut node = certified_node(&chain, 5);
    let mut forged = chain.vote(4, 5, 0);
    forged.signature = [7; 64];
    node.vote(NodeId(4), forged);
    chain.votes(&mut node, &[4], 4);
    assert_eq!(node.presence(|id| id.0 == 4).iter().map(|v| v.height.0).collect::<Vec<_>>(), [4]);
}

#[test]
fn votes_far_below_the_certified_height_are_forgotten() {
    let chain = Chain::of_four();
    let mut node = certified_node(&chain, KEPT_BELOW + 10);
    chain.votes(&mut node, &[4, 6], 10);
    assert_eq!(node.presence(|id| id.0 > 3), Vec::new());
    chain.votes(&mut node, &[4, 6], 11);
    assert_eq!(node.presence(|id| id.0 > 3).len(), 2);
    chain.execute(&mut node, [KEPT_BELOW + 11]);
    node.certificate(chain.certified(&[1, 2, 3], KEPT_BELOW + 11, 0));
    assert_eq!(node.presence(|id| id.0 > 3), Vec::new());
}

#[test]
fn a_nodes_own_vote_shows_its_presence() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, 1..=2);
    round(&mut node, 0);
    assert_eq!(present(&mut node), [(1, 2)]);
}

#[test]
fn double_signing_is_evidence_once() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    node.vote(NodeId(1), chain.vote(1, 3, 0));
    node.vote(NodeId(1), chain.vote(1, 3, 1));
    let effects = drive(&mut node);
    assert_eq!(liars(&effects), [(1, 3)]);
    node.vote(NodeId(1), chain.vote(1, 3, 1));
    node.vote(NodeId(1), chain.vote(1, 3, 2));
    assert_eq!(liars(&drive(&mut node)), []);
}

#[test]
fn a_forged_second_vote_is_no_evidence() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    for (genuine, forged) in [(0, 1), (1, 0)] {
        let mut other = chain.vote(1, 3 + u64::from(genuine), forged);
        other.signature = chain.vote(1, 9, 0).signature;
        node.vote(NodeId(1), other.clone());
        node.vote(NodeId(1), chain.vote(1, 3 + u64::from(genuine), genuine));
        node.vote(NodeId(1), other);
    }
    assert_eq!(liars(&drive(&mut node)), []);
}

#[test]
fn lies_about_certified_heights_and_of_nodes_without_a_seat_are_found() {
    let chain = Chain::of_four();
    let mut node = certified_node(&chain, 100);
    // Node 4 and node 6 late, node 1 against its signature in the certificate.
    for (id, height) in [(4, 90), (6, 90)] {
        node.vote(NodeId(id), chain.vote(id, height, 0));
        node.vote(NodeId(id), chain.vote(id, height, 1));
    }
    node.vote(NodeId(1), chain.vote(1, 100, 1));
    assert_eq!(liars(&drive(&mut node)), [(4, 90), (6, 90), (1, 100)]);
    node.vote(NodeId(4), chain.vote(4, 36, 0));
    node.vote(NodeId(4), chain.vote(4, 36, 1));
    assert_eq!(liars(&drive(&mut node)), []);
}

#[test]
fn two_certificates_for_one_height_name_the_culprits() {
    let chain = Chain::of_four();
    let mut node = certified_node(&chain, 7);
    node.certificate(chain.certified(&[2, 3, 4], 7, 1));
    let effects = drive(&mut node);
    assert_eq!((liars(&effects), certified(&effects)), (vec![(2, 7), (3, 7)], vec![]));
}

#[test]
fn votes_that_are_passed_on_are_verified_first() {
    let chain = Chain::of_four();
    let mut node = chain.node(4);
    chain.execute(&mut node, [1]);
    let mut forged = chain.vote(1, 1, 0);
    forged.signature = [7; 64];
    node.vote(NodeId(2), forged);
    let effects = drive(&mut node);
    assert!(matches!(effects[..], [Effect::Refused { validator: NodeId(1), .. }]));
    // Real ones count.
    [1, 2, 3].into_iter().for_each(|id| node.vote(NodeId(5), chain.vote(id, 1, 0)));
    assert_eq!(certified(&drive(&mut node)), [(1, false)]);
}

#[test]
fn a_key_in_use_twice_is_found_by_its_owner() {
    let chain = Chain::of_four();
    let mut node = chain.node(1);
    chain.execute(&mut node, [1]);
    round(&mut node, 0);
    node.vote(NodeId(2), chain.vote(1, 1, 1));
    assert_eq!(liars(&drive(&mut node)), [(1, 1)]);
}

fn relayed(effects: &[Effect]) -> Vec<(u64, u64)> {
    let of = |e: &Effect| if let Effect::RelayVote(v) = e { Some((v.validator.0, v.height.0)) } else { None };
    effects.iter().filter_map(of).collect()
}

#[test]
fn all_votes_for_a_disputed_height_are_passed_on() {
    let chain = Chain::of_four();
    let mut node = chain.node(5);
    chain.execute(&mut node, 1..=1);
    round(&mut node, 0);
    chain.votes(&mut node, &[1], 1);
    assert_eq!(relayed(&drive(&mut node)), []);
    node.vote(NodeId(2), chain.vote(2, 1, 1));
    assert_eq!(relayed(&drive(&mut node)), [(1, 1), (2, 1)]);
    // And those that come later, once; but nothing that was passed on already.
    chain.votes(&mut node, &[3, 3], 1);
    node.vote(NodeId(1), chain.vote(4, 1, 1));
    assert_eq!(relayed(&drive(&mut node)), [(3, 1)]);
}

#[test]
fn a_dispute_is_noticed_when_the_block_is_executed_later() {
    let chain = Chain::of_four();
    let mut node = chain.node(5);
    node.vote(NodeId(2), chain.vote(2, 1, 1));
    assert_eq!(relayed(&drive(&mut node)), []);
    chain.execute(&mut node, [1]);
    assert_eq!(relayed(&drive(&mut node)), [(2, 1)]);
}

#[test]
fn one_node_can_make_others_pass_on_only_so_much() {
    let chain = Chain::of_four();
    let mut node = chain.node(5);
    chain.execute(&mut node, 1..=20);
    for height in 1..=20 {
        node.vote(NodeId(2), chain.vote(2, height, 1));
        let mut forged = chain.vote(3, height, 1);
        forged.signature = [7; 64];
        node.vote(NodeId(3), forged);
    }
    assert_eq!(relayed(&drive(&mut node)), [(2, 1), (2, 2), (2, 3), (2, 4)]);
    // Another one can still be found out.
    node.vote(NodeId(4), chain.vote(4, 20, 1));
    assert_eq!(relayed(&drive(&mut node)), [(2, 20), (4, 20)]);
}

#[test]
fn a_validator_that_tells_two_halves_two_things_is_found() {
    // Nodes 1 and 2 executed one block, node 3 another; node 4 signs for both.
    let chain = Chain::of_four();
    let (mut near, mut far) = (chain.node(1), chain.node(3));
    chain.execute(&mut near, [1]);
    far.executed(chain.header(1, 1), true, None).unwrap();
    near.vote(NodeId(4), chain.vote(4, 1, 0));
    far.vote(NodeId(4), chain.vote(4, 1, 1));
    assert_eq!(liars(&[drive(&mut near), drive(&mut far)].concat()), []);
    // The honest ones hear of each other.
    near.vote(NodeId(3), chain.vote(3, 1, 1));
    let passed_on = drive(&mut near);
    for effect in &passed_on {
        if let Effect::RelayVote(vote) = effect {
            far.vote(NodeId(1), vote.clone());
        }
    }
    assert_eq!((liars(&passed_on), liars(&drive(&mut far))), (vec![], vec![(4, 1)]));
}

#[test]
fn votes_of_nodes_that_left_are_forgotten() {
    let chain = Chain::of_four();
    let mut node = certified_node(&chain, 5);
    chain.votes(&mut node, &[4, 6], 5);
    node.set_nodes((1..=5).map(|id| (NodeId(id), key(id).verifying_key())).collect());
    assert_eq!(present(&mut node), [(1, 5), (2, 5), (3, 5), (4, 5)]);
    chain.votes(&mut node, &[6], 5);
    assert!(matches!(drive(&mut node).last(), Some(Effect::Refused { validator: NodeId(6), .. })));
}

/// A signed vote for the right header with a root that is not in it.
fn false_vote(chain: &Chain, id: u64, height: u64, root: u8) -> Vote {
    let (key, good, tree_root) = (key(id), chain.vote(id, height, 0), Hash::from_bytes([root; 32]));
    let signed = signing_bytes(&key.verifying_key(), &ledger(), good.height, &good.header_hash, &tree_root);
    Vote { tree_root, signature: key.sign(&signed).unwrap(), ..good }
}

/// Evidence by a vote against the header that it names.
fn by_header(effects: &[Effect]) -> Vec<u64> {
    let of = |e: &Effect| match e {
        Effect::Evidence(evidence) if matches!(evidence.second, Contradiction::Header(_)) => {
            assert!(evidence.verifies(&key(evidence.validator().0).verifying_key()));
            Some(evidence.validator().0)
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// A receipt over a false root may be made of such a vote, so it is evidence: one vote is
/// enough, before the block is executed or after, and whoever has it tells the others.
#[test]
fn false_root() {
    let chain = Chain::of_four();
    // After the block is executed.
    let mut node = chain.node(5);
    chain.execute(&mut node, [1]);
    node.vote(NodeId(3), false_vote(&chain, 3, 1, 9));
    let effects = drive(&mut node);
    assert_eq!((by_header(&effects), liars(&effects)), (vec![3], vec![(3, 1)]));
    let relayed: Vec<_> = effects.iter().filter(|e| matches!(e, Effect::RelayVote(_))).collect();
    assert_eq!(relayed, [&Effect::RelayVote(false_vote_of(&effects))]);
    // Proven once, and the right vote beside it counts no less.
    node.vote(NodeId(3), false_vote(&chain, 3, 1, 8));
    chain.votes(&mut node, &[1, 2, 3], 1);
    let effects = drive(&mut node);
    assert_eq!(liars(&effects), []);

    // Before; a vote that is passed on is as good.
    let mut node = chain.node(5);
    node.vote(NodeId(4), false_vote(&chain, 3, 1, 9));
    assert_eq!(drive(&mut node), Vec::new());
    chain.execute(&mut node, [1]);
    assert_eq!(by_header(&drive(&mut node)), [3]);

    // Two votes prove it to whoever does not have the block.
    let mut node = chain.node(5);
    node.vote(NodeId(3), false_vote(&chain, 3, 1, 9));
    chain.votes(&mut node, &[3], 1);
    let effects = drive(&mut node);
    assert_eq!((by_header(&effects), liars(&effects)), (Vec::new(), vec![(3, 1)]));

    // A forged one accuses nobody.
    let mut node = chain.node(5);
    node.vote(NodeId(3), Vote { signature: [7; 64], ..false_vote(&chain, 3, 1, 9) });
    chain.execute(&mut node, [1]);
    assert_eq!(liars(&drive(&mut node)), []);
}

/// The vote in the only evidence.
fn false_vote_of(effects: &[Effect]) -> Vote {
    let of = |e: &Effect| if let Effect::Evidence(evidence) = e { Some(evidence.first.clone()) } else { None };
    effects.iter().find_map(of).unwrap()
}
