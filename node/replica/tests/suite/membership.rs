//! Which membership entries a node acknowledges: those that the ledger asks for.

use consilium_consensus::{Membership, MembershipChange, RaftId};
use consilium_kit::replica::Replicas;
use consilium_kit::topics::{register_action, retire_action};
use consilium_kit::{Identity, genesis};
use consilium_proto::ids::NodeId;
use consilium_proto::pb;

const EPOCH_BLOCKS: usize = 6;

fn id(number: u64) -> RaftId {
    RaftId::new(number).unwrap()
}

/// Whether the second node takes a step, with the first four as voters.
fn takes(net: &Replicas, step: MembershipChange) -> bool {
    let voters = Membership::new((1..=4).map(id), [id(5)]);
    net.node(2).replica.topology().asks_for(step, &voters).is_ok()
}

/// Four members with a node each, and one more without a seat, with raft id 5.
fn four_and_one() -> Replicas {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut net = Replicas::new(&members, |p| p.epoch_blocks = EPOCH_BLOCKS as u64, |_| {});
    net.elect(1);
    for member in ["a.example", "d.example"] {
        net.enroll(1, &Identity::new(member, "admin", "root"));
    }
    let pb::GenesisNode { name, peer_address, client_address, vote_key, .. } = genesis::node("n2", 5);
    let node = pb::NodeDescription { name, peer_address, client_address, vote_key };
    let register = register_action("a.example", node);
    let transaction = net.sign(&Identity::new("a.example", "admin", "root"), vec![register], vec![]);
    net.order(1, transaction);
    net
}

/// A registered node without stake once made itself the only voter with one message.
#[test]
fn nobody_votes_without_being_elected_and_nobody_who_is_loses_his_vote() {
    use MembershipChange::{AddLearner, AddVoter, Remove};
    let net = four_and_one();
    assert!(net.node(2).replica.topology().node(NodeId(5)).is_some());
    for (step, taken) in [
        (AddVoter(id(5)), false),
        (AddVoter(id(99)), false),
        (AddVoter(id(3)), true),
        (AddLearner(id(5)), true),
        (AddLearner(id(99)), false),
        (AddLearner(id(3)), false),
        (Remove(id(3)), false),
        (Remove(id(5)), false),
        (Remove(id(99)), true),
    ] {
        assert_eq!(takes(&net, step), taken, "{step:?}");
    }
}

#[test]
fn the_election_before_counts_for_what_was_on_its_way() {
    use MembershipChange::{AddLearner, AddVoter, Remove};
    let mut net = four_and_one();
    let retire = net.sign(&Identity::new("d.example", "admin", "root"), vec![retire_action(4)], vec![]);
    net.order(1, retire);
    assert!(!takes(&net, AddLearner(id(4))) && !takes(&net, Remove(id(4))), "seated up to the end of the epoch");
    while net.node(2).replica.topology().elected().contains(&id(4)) {
        net.time_blocks(1, 1);
    }
    assert!(takes(&net, AddVoter(id(4))) && takes(&net, AddLearner(id(4))) && takes(&net, Remove(id(4))));
    net.time_blocks(1, EPOCH_BLOCKS);
    assert!(!takes(&net, AddVoter(id(4))) && takes(&net, AddLearner(id(4))) && takes(&net, Remove(id(4))));
}

/// A leader adds a node and executes, behind that, that it leaves: whoever executed as much
/// before it saw the entry refused it for ever, and was never heard of again.
#[test]
fn a_node_that_has_left_may_have_been_added_before() {
    let mut net = four_and_one();
    let retire = net.sign(&Identity::new("a.example", "admin", "root"), vec![retire_action(5)], vec![]);
    net.order(1, retire);
    assert!(net.node(2).replica.topology().peer(NodeId(5)).is_none());
    assert!(takes(&net, MembershipChange::AddLearner(id(5))));
    assert!(!takes(&net, MembershipChange::AddVoter(id(5))));
    assert!(!takes(&net, MembershipChange::AddLearner(id(6))));
}
