//! A node that lags behind the log and follows by certified blocks.

use consilium_consensus::LogReader;
use consilium_kit::replica::Replicas;
use consilium_proto::ids::Height;
use consilium_replica::disk::LogWrite;
use consilium_replica::notice::Notice;
use consilium_replica::{CallId, Input, Output};

/// Four nodes with short logs: three are enough to certify, and the third is away.
pub(crate) fn lagging() -> Replicas {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut net = Replicas::new(&members, |_| {}, |settings| settings.log_entries_max = 10);
    net.elect(1);
    net.cut_off(3);
    net
}

/// Lets the third come back; gives its call.
pub(crate) fn comes_back(net: &mut Replicas) -> (CallId, Height) {
    net.pass(20);
    net.join();
    net.said(3);
    net.node_mut(3).hold = |output| matches!(output, Output::Fetch { .. });
    for _ in 0..100 {
        net.pass(1);
        let fetch = net.said(3).into_iter().find_map(|output| match output {
            Output::Fetch { call, first, .. } => Some((call, first)),
            _ => None,
        });
        if let Some(fetch) = fetch {
            return fetch;
        }
    }
    panic!("node 3 is offered nothing");
}

#[test]
fn a_node_that_lags_behind_the_log_comes_to_the_same_chain() {
    let mut net = lagging();
    net.time_blocks(1, 60);
    assert_eq!(comes_back(&mut net).1, Height(1));
    net.release(3);
    net.run();
    net.pass(20);
    assert_eq!(net.node(3).replica.applied(), net.node(1).replica.applied());
    let said = net.said(3);
    assert!(said.iter().any(|output| matches!(output, Output::Notice(Notice::CaughtUp(_)))));
    net.time_blocks(1, 2);
    assert_eq!(net.node(3).replica.applied(), net.node(1).replica.applied());
}

/// What was executed from blocks of a peer is not in the log: a log that were cut
/// there would begin beyond its own end.
#[test]
fn the_log_is_not_cut_beyond_its_end_while_blocks_of_a_peer_are_executed() {
    let mut net = lagging();
    net.time_blocks(1, 60);
    let (call, first) = comes_back(&mut net);
    let blocks = net.blocks(1, first).into_iter().take(40);
    let inputs: Vec<Input> = blocks.map(|block| Input::Fetched { call, block: Box::new(block) }).collect();
    net.give(3, inputs);
    assert_eq!(net.node(3).replica.applied().height, Height(40));
    net.give(3, (0..20).map(|_| Input::Tick));
    let cut = |output: &Output| matches!(output, Output::WriteLog(LogWrite::Compact(_)));
    assert!(!net.said(3).iter().any(cut));
}

/// A peer that lags asks for what is being cut: Raft must not look for it on the disk.
#[test]
fn raft_knows_of_a_cut_before_the_disk_does() {
    let mut net = lagging();
    net.time_blocks(1, 60);
    let cut = |output: &Output| matches!(output, Output::WriteLog(LogWrite::Compact(_)));
    net.node_mut(1).hold = |output| matches!(output, Output::WriteLog(LogWrite::Compact(_)));
    net.said(1);
    while !net.said(1).iter().any(cut) {
        net.time_blocks(1, 1);
        net.pass(1);
    }
    let status = net.node(1).replica.status().raft;
    let on_disk = net.node(1).disk.log.bounds().unwrap().truncated;
    assert!(status.truncated > on_disk.index, "{} {}", status.truncated, on_disk.index);
}

/// Nobody leads, and half of the nodes are away: what is certified is taken all the same, in
/// place of whatever the own log has.
#[test]
fn what_is_certified_is_taken_over_without_a_leader() {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut net = Replicas::new(&members, |_| {}, |_| {});
    net.elect(1);
    net.time_blocks(1, 1);
    net.cut_off(4);
    net.time_blocks(1, 3);
    net.pass(2);
    let certified = net.node(3).replica.applied();
    assert_ne!(net.node(4).replica.applied().height, certified.height);
    net.join();
    [1, 2].into_iter().for_each(|id| net.cut_off(id));
    net.pass(200);
    assert_eq!(net.node(4).replica.applied(), certified);
    assert_eq!(net.leader(4), None);
    // The log goes on behind it, and so does the network.
    net.join();
    net.pass(100);
    let leader = net.leader(4).unwrap();
    net.time_blocks(leader, 1);
    net.pass(8);
    assert_eq!(net.node(4).replica.applied().height, certified.height.next());
}
