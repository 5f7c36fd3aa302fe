//! Wall clocks that are off, of one node among four.

use consilium_kit::Identity;
use consilium_kit::replica::Replicas;
use consilium_proto::ids::{Height, TimeMs};
use consilium_replica::alarm::{Alarm, AlarmName};
use consilium_replica::notice::Notice;
use consilium_replica::{Input, Output};

const TOLERANCE_MS: u64 = 5_000;
const HOUR_MS: i64 = 3_600_000;

/// Four members of equal stake with a node each; the first leads.
fn four() -> Replicas {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut net = Replicas::new(&members, |p| p.clock_skew_max_ms = TOLERANCE_MS, |_| {});
    net.elect(1);
    net
}

fn certified(net: &Replicas, id: u64) -> Height {
    net.node(id).replica.newest_certified().map_or(Height::GENESIS, |certified| certified.header.height)
}

/// Enrols somebody and has it certified by whoever leads in the end.
fn goes_on(net: &mut Replicas, name: &str) {
    let before = certified(net, 2);
    for _ in 0..40 {
        net.pass(10);
        if let Some(leader) = net.leader(2).filter(|leader| net.leader(*leader) == Some(*leader)) {
            net.enroll(leader, &Identity::new("a.example", "service", name));
        }
        if certified(net, 2) > before {
            return;
        }
    }
    panic!("nothing is certified any more: {:?} leads", net.leader(2));
}

/// One hospital's clock once stopped the others for as long as it was ahead: its block
/// was taken into all logs, and nobody voted on it or on any later one.
#[test]
fn a_leader_whose_clock_jumps_ahead_is_replaced_and_its_time_is_nobodys() {
    for ahead in [10_000, HOUR_MS, 10 * 365 * 24 * HOUR_MS, i64::MAX] {
        let mut net = four();
        goes_on(&mut net, "first");
        // Nobody has said what time it is; the leader proposes with its new time.
        net.clocks.insert(1, ahead);
        net.enroll(1, &Identity::new("a.example", "service", "second"));
        goes_on(&mut net, "third");
        assert_ne!(net.leader(2), Some(1), "{ahead}");
        for id in 1..=4 {
            let time = net.node(id).replica.applied().time;
            assert!(time <= TimeMs(net.now.wall.0 + TOLERANCE_MS), "node {id}: {time:?}");
            assert_eq!(certified(&net, id), certified(&net, 2), "node {id}, {ahead}");
        }
    }
}

#[test]
fn a_leader_that_finds_its_clock_apart_hands_over_and_says_so() {
    for off in [HOUR_MS, -HOUR_MS] {
        let mut net = four();
        goes_on(&mut net, "first");
        net.clocks.insert(1, off);
        net.said(1);
        net.pass(40);
        let said = net.said(1);
        let skew = said.iter().find_map(|output| match output {
            Output::Raise(Alarm::ClockApart(skew)) => Some(skew.ahead_ms),
            _ => None,
        });
        assert!(skew.is_some_and(|ahead| (ahead - off).abs() < 1_000), "{skew:?} for {off}");
        assert!(net.node(1).replica.status().skew.is_some());
        assert!(net.leader(2).is_some_and(|leader| leader != 1), "{:?}", net.leader(2));
        goes_on(&mut net, "second");
        assert_eq!(certified(&net, 1), certified(&net, 2), "it follows all the same");

        net.clocks.clear();
        net.said(1);
        net.pass(20);
        assert!(net.said(1).contains(&Output::Clear(AlarmName::ClockApart)));
        assert_eq!(net.node(1).replica.status().skew, None);
    }
}

#[test]
fn a_node_whose_clock_is_apart_does_not_stand_for_election_but_grants_and_votes() {
    for off in [HOUR_MS, -HOUR_MS] {
        let mut net = four();
        net.clocks.insert(3, off);
        net.pass(40);
        net.cut_off(1);
        // Two and four need its grant, and its votes.
        net.pass(200);
        let leader = net.leader(2).unwrap();
        assert!([2, 4].contains(&leader), "{leader}");
        let before = certified(&net, 2);
        net.enroll(leader, &Identity::new("a.example", "service", "ehr"));
        net.pass(20);
        assert!(certified(&net, 2) > before);
    }
}

#[test]
fn one_clock_that_is_off_makes_nobody_elses_wrong() {
    let mut net = four();
    net.clocks.insert(4, 2 * HOUR_MS);
    net.pass(60);
    for id in 1..=3 {
        assert_eq!(net.node(id).replica.status().skew, None, "node {id}");
    }
    assert!(net.node(4).replica.status().skew.is_some());
    assert_eq!(net.leader(2), Some(1));
}

/// A wish that can never be met once kept those of others from being heard.
#[test]
fn a_time_that_is_far_ahead_is_nobodys_wish() {
    let mut net = four();
    net.pass(2);
    for after in [TimeMs(u64::MAX), TimeMs(net.now.wall.0 + TOLERANCE_MS + 1)] {
        net.give(1, [Input::RequestTimeBlock(after)]);
    }
    net.said(1);
    net.time_blocks(1, 1);
    let proposed = |output: &Output| matches!(output, Output::Notice(Notice::Proposed { .. }));
    assert_eq!(net.said(1).iter().filter(|output| proposed(output)).count(), 1);
}
