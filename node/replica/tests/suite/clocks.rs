//! Wall clocks that are off, of one node among four.

use consilium_kit::Identity;
use consilium_kit::replica::Replicas;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_replica::alarm::{Alarm, AlarmName};
use consilium_replica::block::LATE_MS;
use consilium_replica::notice::Notice;
use consilium_replica::peer::PeerMessage;
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

/// Of the others, the first leader hears no clock.
fn deaf(output: &Output) -> bool {
    matches!(output, Output::Send { to: NodeId(1), message: PeerMessage::WallClock(_) })
}

/// Rights end by the time of blocks: a leader that hears of no clock, or wants to hear of none,
/// could keep a consent or an emergency from ending for as long as it led.
#[test]
fn a_leader_that_dates_blocks_back_is_replaced() {
    for behind in [TOLERANCE_MS + LATE_MS + 1_000, HOUR_MS as u64] {
        let mut net = four();
        goes_on(&mut net, "first");
        (2..=4).for_each(|id| net.node_mut(id).hold = deaf);
        // What it heard before is forgotten, and the others have followed it for long enough.
        net.pass(600);
        net.clocks.insert(1, -(behind as i64));
        net.pass(10);
        assert_eq!(net.leader(2), Some(1), "nothing was proposed");
        net.enroll(1, &Identity::new("a.example", "service", "second"));
        net.pass(40);
        assert_ne!(net.leader(2), Some(1), "{behind}");
        goes_on(&mut net, "third");
        let time = net.node(2).replica.applied().time;
        assert!(time.0 + TOLERANCE_MS + LATE_MS >= net.now.wall.0, "{time:?}");
    }
}

/// What is tolerated of a clock, and what a slow disk takes, costs no leader its place.
#[test]
fn a_leader_that_is_a_little_late_stays() {
    let mut net = four();
    goes_on(&mut net, "first");
    (2..=4).for_each(|id| net.node_mut(id).hold = deaf);
    net.pass(600);
    net.clocks.insert(1, -((TOLERANCE_MS + LATE_MS) as i64 - 1_000));
    net.pass(10);
    net.enroll(1, &Identity::new("a.example", "service", "second"));
    net.pass(20);
    assert_eq!(net.leader(2), Some(1));
}

/// Who was away, or slept, finds blocks that are older than a leader may make them, and takes
/// them: with the others, who have them, and also where nothing is committed without it.
#[test]
fn a_node_that_comes_late_takes_what_waited_for_it() {
    for alone in [false, true] {
        let mut net = four();
        goes_on(&mut net, "first");
        net.cut_off(4);
        net.pass(600);
        if alone {
            net.cut_off(3);
        }
        net.enroll(1, &Identity::new("a.example", "service", "second"));
        net.pass(600);
        net.said(4);
        net.join();
        net.pass(100);
        assert_eq!(certified(&net, 4), certified(&net, 1));
        let refused = |output: &Output| matches!(output, Output::Notice(Notice::RaftRejected { .. }));
        assert_eq!(net.said(4).into_iter().find(refused), None, "alone: {alone}");
    }
}

/// Where half of all clocks are an hour ahead, nobody knows which half is right: to those of them
/// the others' blocks are not late.
#[test]
fn two_halves_with_two_times_go_on() {
    let mut net = four();
    net.clocks.extend([(3, HOUR_MS), (4, HOUR_MS)]);
    net.pass(600);
    goes_on(&mut net, "ehr");
}
