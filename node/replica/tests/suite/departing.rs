//! Nodes that are retired while the network still needs them.

use consilium_consensus::{Membership, RaftId};
use consilium_kit::Identity;
use consilium_kit::replica::{Journal, Replicas};
use consilium_kit::topics::retire_action;
use consilium_proto::ids::{Height, NodeId};
use consilium_replica::Output;
use consilium_replica::ports::Ledger;
use consilium_replica::topology::Topology;

const EPOCH_BLOCKS: u64 = 4;

/// Four members of equal stake with a node each; the first leads. The last node is
/// retired by its member, and does not vote until it is released. The third is gone,
/// so that the other three are needed for every certificate and every entry.
fn retired_and_silent() -> Replicas {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut net = Replicas::new(&members, |p| p.epoch_blocks = EPOCH_BLOCKS, |s| s.certificate_timeout_ms = u64::MAX);
    net.elect(1);
    let admin = Identity::new("d.example", "admin", "root");
    net.enroll(1, &admin);
    net.cut_off(3);
    net.node_mut(4).hold = |output| matches!(output, Output::WriteVote(_));
    let transaction = net.sign(&admin, vec![retire_action(4)], vec![]);
    net.order(1, transaction);
    net
}

fn certified(net: &Replicas, id: u64) -> Height {
    net.node(id).replica.newest_certified().unwrap().header.height
}

fn hears(net: &Replicas, id: u64, from: u64) -> bool {
    net.node(id).replica.topology().peer(NodeId(from)).is_some()
}

#[test]
fn a_retired_node_is_heard_until_the_end_of_its_epoch_is_certified() {
    let mut net = retired_and_silent();
    let boundary = Height(EPOCH_BLOCKS);
    net.time_blocks(1, 12 * EPOCH_BLOCKS as usize);
    let (applied, seated) = (net.node(1).replica.applied(), net.node(1).replica.topology().elected());
    assert!(applied.height.0 > 11 * EPOCH_BLOCKS, "ordering goes on: {applied:?}");
    assert!(!seated.contains(&RaftId::new(4).unwrap()) && certified(&net, 1) < boundary);
    assert!(hears(&net, 1, 4) && hears(&net, 2, 4));

    net.restart(2);
    assert!(hears(&net, 2, 4), "also by a node that starts");
    let ledger = net.node(2).disk.ledger.copy(&Journal::default());
    let (_, tip) = ledger.tip().unwrap().unwrap();
    ledger.replace_membership(tip.header.height, Membership::new((1..=3).filter_map(RaftId::new), []));
    let topology = Topology::load(&ledger, &tip.header, None).unwrap();
    assert!(topology.peer(NodeId(4)).is_some(), "also where Raft does not count it");

    net.release(4);
    net.pass(200);
    assert!(certified(&net, 1) >= boundary, "its vote counted: {}", certified(&net, 1));
}

#[test]
fn a_retired_node_is_heard_while_raft_counts_it() {
    let mut net = retired_and_silent();
    net.release(4);
    net.join();
    net.pass(200);
    net.time_blocks(1, 8 * EPOCH_BLOCKS as usize);
    assert!(certified(&net, 1).0 > 7 * EPOCH_BLOCKS, "no seat of it is needed");
    assert!(counted(&net) && hears(&net, 1, 4) && hears(&net, 2, 4), "nobody ticked: the leader changed nothing");

    net.pass(200);
    net.time_blocks(1, 2 * EPOCH_BLOCKS as usize);
    assert!(!counted(&net) && !hears(&net, 1, 4) && !hears(&net, 2, 4), "nobody needs it any more");
}

/// Whether Raft's membership has the retired node.
fn counted(net: &Replicas) -> bool {
    let membership = net.node(1).disk.ledger.membership_at(net.node(1).replica.applied().height).unwrap();
    membership.contains(RaftId::new(4).unwrap())
}
