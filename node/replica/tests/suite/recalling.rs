//! What a node promised before it started, as the others remember it.

use consilium_kit::replica::Replicas;
use consilium_proto::ids::Height;
use consilium_replica::notice::Notice;
use consilium_replica::peer::PeerMessage;
use consilium_replica::ports::{Guard, GuardRecord};
use consilium_replica::{Fault, Output};

/// Four nodes that have certified some blocks, and what the second one's guard held before.
fn four() -> (Replicas, GuardRecord) {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut net = Replicas::new(&members, |_| {}, |_| {});
    net.elect(1);
    net.time_blocks(1, 2);
    let before = net.node(2).disk.guard.read();
    net.time_blocks(1, 2);
    net.pass(2);
    assert!(before.vote.voted_height < voted(&net));
    (net, before)
}

/// Up to where the second node remembers to have voted.
fn voted(net: &Replicas) -> Height {
    net.node(2).disk.guard.read().vote.voted_height
}

fn roll_back(net: &Replicas, guard: GuardRecord) {
    net.node(2).disk.guard.clone().write(guard).unwrap();
}

fn halted(said: &[Output]) -> Option<Fault> {
    said.iter().find_map(|output| if let Output::Halt(fault) = output { Some(fault.clone()) } else { None })
}

fn recalled(said: &[Output]) -> Option<(usize, Option<Height>)> {
    said.iter().find_map(|output| {
        let Output::Notice(Notice::Recalled { answers, vote, .. }) = output else { return None };
        Some((*answers, *vote))
    })
}

#[test]
fn a_node_whose_guard_was_rolled_back_ends() {
    let (mut net, before) = four();
    let newest = voted(&net);
    roll_back(&net, before);
    net.restart(2);
    net.said(2);
    net.pass(3);
    assert_eq!(halted(&net.said(2)), Some(Fault::VoteForgotten(newest)));
}

/// Nobody was up who had heard the vote; what was heard is on their disks.
#[test]
fn so_it_does_after_all_were_down() {
    let (mut net, before) = four();
    let newest = voted(&net);
    roll_back(&net, before);
    (1..=4).for_each(|id| net.restart(id));
    net.said(2);
    net.pass(3);
    assert_eq!(halted(&net.said(2)), Some(Fault::VoteForgotten(newest)));
}

#[test]
fn a_guard_that_lost_its_newest_record_is_told_it_and_the_node_goes_on() {
    let (mut net, before) = four();
    let newest = voted(&net);
    roll_back(&net, before);
    net.node(2).disk.guard.damaged.set(true);
    net.restart(2);
    net.said(2);
    net.pass(3);
    let said = net.said(2);
    assert_eq!((halted(&said), recalled(&said)), (None, Some((2, Some(newest)))), "two are enough");
    let record = net.node(2).disk.guard.read();
    assert_eq!((record.vote.voted_height, record.doubted >= newest), (newest, true));
    net.time_blocks(1, 1);
    net.pass(2);
    assert!(voted(&net) > newest);
}

#[test]
fn nobody_votes_before_enough_were_asked() {
    let (mut net, _) = four();
    let newest = voted(&net);
    net.restart(2);
    // It hears the leader, which is not enough.
    [3, 4].into_iter().for_each(|id| net.cut_off(id));
    net.said(2);
    net.pass(8);
    assert_eq!((recalled(&net.said(2)), voted(&net)), (None, newest));
    net.join();
    net.pass(8);
    assert!(recalled(&net.said(2)).is_some());
}

#[test]
fn a_node_whose_log_lost_its_end_says_nothing_of_it_before_enough_were_asked() {
    let (mut net, _) = four();
    net.node(2).disk.log.log.borrow_mut().damage();
    net.restart(2);
    net.cut_off(2);
    net.said(2);
    net.pass(100);
    let said = net.said(2);
    let raft = |output: &&Output| matches!(output, Output::Send { message: PeerMessage::Raft(_), .. });
    let asks = |output: &&Output| matches!(output, Output::Send { message: PeerMessage::Recall(_), .. });
    assert_eq!(said.iter().find(raft), None);
    assert!(said.iter().filter(asks).count() > 3);
    assert!(net.node(2).disk.log.log.borrow().is_damaged());
    net.join();
    net.pass(8);
    assert!(recalled(&net.said(2)).is_some());
    assert!(!net.node(2).disk.log.log.borrow().is_damaged());
    net.time_blocks(net.leader(2).unwrap(), 1);
    net.pass(8);
    assert_eq!(net.node(2).replica.applied(), net.node(3).replica.applied());
}
