//! 2, 3, 9, 11: votes and certificates.

use consilium_kit::Identity;
use consilium_kit::chain::{Chain, fetched, validators};
use consilium_kit::replica::Replicas;
use consilium_kit::topics::propose;
use consilium_ledger::keys;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::pb;
use consilium_proto::vote::CertifiedHeader;
use consilium_replica::catch_up::ChainCheck;
use consilium_replica::notice::Notice;
use consilium_replica::peer::PeerMessage;
use consilium_replica::ports::Ledger;
use consilium_replica::topology::next_set_of;
use consilium_replica::{Input, Output};

use super::{certified, executed, notices, three};

/// What a peer is told that lacks certificates from a height on.
fn told(solo: &mut Replicas, peer: u64, height: u64) -> Vec<u64> {
    let messages = vec![PeerMessage::UncertifiedFrom(Height(height))];
    solo.said(1);
    solo.give(1, [Input::Peer { from: NodeId(peer), messages }]);
    let sent = |output: Output| match output {
        Output::Send { to, message: PeerMessage::Certified(certified) } if to == NodeId(peer) => {
            Some(certified.header.height.0)
        }
        _ => None,
    };
    solo.said(1).into_iter().filter_map(sent).collect()
}

#[test]
fn d02_a_peer_gets_the_certificate_of_the_boundary_else_the_newest() {
    let mut solo = Replicas::solo(|p| p.epoch_blocks = 4, |_| {});
    solo.time_blocks(1, 14);
    solo.restart(1);
    let ledger = solo.node(1).disk.ledger.clone();
    let newest = solo.node(1).replica.newest_certified().unwrap().header.height.0;
    let ends = |height: &u64| {
        let header = ledger.header(Height(*height)).unwrap().unwrap();
        next_set_of(&ledger, &header).unwrap().is_some()
    };
    let boundaries: Vec<u64> = (1..=newest).filter(ends).collect();
    assert!(boundaries.len() >= 2 && *boundaries.last().unwrap() < newest, "{boundaries:?}");
    for (peer, height) in (9..).zip(1..=newest) {
        let boundary = boundaries.iter().copied().find(|boundary| *boundary >= height);
        assert_eq!(told(&mut solo, peer, height), [boundary.unwrap_or(newest)], "from {height}");
    }
    assert_eq!(told(&mut solo, 99, newest + 1), [] as [u64; 0]);
}

/// A block whose time is ahead of the clock when it is executed.
fn ahead(solo: &mut Replicas, ms: u64) -> Vec<Output> {
    solo.pass_time(60_000);
    solo.node_mut(1).hold = |output| matches!(output, Output::WriteLog(_));
    solo.time_blocks(1, 1);
    solo.now.wall = TimeMs(solo.now.wall.0 - ms);
    solo.said(1);
    solo.release(1);
    let said = solo.said(1);
    solo.now.wall = TimeMs(solo.now.wall.0 + ms);
    solo.give(1, [Input::Tick]);
    assert_eq!(executed(&said).len(), 1);
    said
}

fn withheld(outputs: &[Output]) -> Vec<u64> {
    let ahead = |notice: &Notice| match notice {
        Notice::VoteWithheld { ahead_ms, .. } => Some(*ahead_ms),
        _ => None,
    };
    notices(outputs).into_iter().filter_map(ahead).collect()
}

#[test]
fn d03_voting_follows_the_clock_tolerance() {
    let mut solo = Replicas::solo(|p| p.clock_skew_max_ms = 5_000, |_| {});
    let admin = Identity::new("a.example", "admin", "root");
    solo.enroll(1, &admin);
    let said = ahead(&mut solo, 4_000);
    assert_eq!((certified(&said).len(), withheld(&said)), (1, vec![]));
    assert_eq!(withheld(&ahead(&mut solo, 6_000)), [6_000]);

    let present: pb::Parameters = solo.node(1).disk.ledger.message(&keys::parameters()).unwrap();
    let changed = pb::Parameters { clock_skew_max_ms: 1_000, ..present };
    let expires = solo.now.wall.0 + 3_600_000;
    let transaction =
        solo.sign(&admin, vec![propose(pb::proposal_topic::Topic::ChangeParameters(changed), expires)], vec![]);
    solo.order(1, transaction);
    let in_force: pb::Parameters = solo.node(1).disk.ledger.message(&keys::parameters()).unwrap();
    assert_eq!(in_force, changed);
    let said = ahead(&mut solo, 4_000);
    assert_eq!((certified(&said).len(), withheld(&said)), (0, vec![4_000]));
    let applied = solo.node(1).replica.applied().height;
    assert_eq!(solo.node(1).replica.newest_certified().unwrap().header.height, applied, "when the clock has come");
}

#[test]
fn d09_a_batch_arrives_whole_and_in_order() {
    let mut net = three();
    net.time_blocks(1, 6);
    net.pass(2);
    let ledger = net.node(2).disk.ledger.clone();
    let certified_header = |height: u64| {
        let certificate = net.node(1).disk.ledger.certificate_at(Height(height)).unwrap().unwrap();
        let header = net.node(1).disk.ledger.header(Height(height)).unwrap().unwrap();
        PeerMessage::Certified(Box::new(CertifiedHeader { header, certificate }))
    };
    let messages = vec![
        certified_header(2),
        PeerMessage::UncertifiedFrom(Height(1)),
        certified_header(3),
        certified_header(5),
        PeerMessage::UncertifiedFrom(Height(4)),
    ];
    (1..=6).for_each(|height| ledger.lose_certificate(Height(height)));
    net.restart(2);
    net.said(2);
    net.give(2, [Input::Peer { from: NodeId(1), messages }]);
    let said = net.said(2);
    assert_eq!(certified(&said), [2, 3, 5]);
    let answers = said.iter().filter_map(|output| match output {
        Output::Send { to: NodeId(1), message: PeerMessage::Certified(certified) } => Some(certified.header.height.0),
        _ => None,
    });
    assert_eq!(answers.collect::<Vec<_>>(), [2, 5], "each as of its place in the batch");
}

#[test]
fn d11_too_many_uncertified_blocks_are_refused() {
    let mut chain = Chain::new(&[1]);
    let tip = (chain.0.height, chain.0.hash());
    let mut check = ChainCheck::new(chain.0.ledger_id, validators(&[1]), tip);
    for _ in 0..4_096 {
        assert!(check.push(fetched(&chain.append(), None)).unwrap().is_none());
    }
    let error = check.push(fetched(&chain.append(), None)).unwrap_err();
    assert_eq!((error.height, error.problem.as_str()), (Height(4_097), "has too many before it without a certificate"));
}
