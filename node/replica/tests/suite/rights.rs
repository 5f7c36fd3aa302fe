//! Transactions by which members protect themselves: whoever gets one hands it to all
//! validators, and each of them to the leader.

use consilium_kit::replica::Replicas;
use consilium_kit::{Action, Identity};
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::transaction::Transaction;
use consilium_replica::notice::Notice;
use consilium_replica::submission::{Refused, WaitFor};
use consilium_replica::{Input, Output, WATCHED_PER_MEMBER_MAX};

/// Four members with a node each, of which the first leads, and somebody of the second.
fn four(role: &str) -> (Replicas, Identity) {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut net = Replicas::new(&members, |_| {}, |settings| settings.queued_transactions_max = 3);
    net.elect(1);
    let who = Identity::new("b.example", role, "x");
    net.enroll(1, &who);
    (1..=4).for_each(|id| _ = net.said(id));
    (net, who)
}

/// A vote on what nobody has proposed.
fn ballot(net: &mut Replicas, by: &Identity) -> Transaction {
    let choice = pb::BallotChoice::Approve as i32;
    net.sign(by, vec![Action::CastBallot(pb::CastBallot { proposal: 7, choice })], Vec::new())
}

fn forwarded(outputs: &[Output]) -> Vec<NodeId> {
    let to = |output: &Output| match output {
        Output::Forward { to, .. } => Some(*to),
        _ => None,
    };
    outputs.iter().filter_map(to).collect()
}

fn watched(net: &Replicas) -> Vec<usize> {
    (1..=4).map(|id| net.node(id).replica.status().watched).collect()
}

#[test]
fn a_ballot_is_under_watch_at_all_validators_until_it_is_executed() {
    let (mut net, admin) = four("admin");
    let ballot = ballot(&mut net, &admin);
    net.node_mut(1).hold = |output| matches!(output, Output::WriteLog(_) | Output::Send { .. });
    let submit = net.submit(2, ballot, WaitFor::Certified);
    net.give(2, [submit]);
    net.run();
    assert_eq!(forwarded(&net.said(2)), [1, 3, 4].map(NodeId));
    assert_eq!(forwarded(&net.said(3)), [NodeId(1)], "what came of a peer is handed to the leader alone");
    assert_eq!(watched(&net), [1; 4]);
    net.release(1);
    net.run();
    net.pass(2);
    assert_eq!(watched(&net), [0; 4]);
}

#[test]
fn a_new_leader_gets_what_is_under_watch_though_its_client_is_gone() {
    let (mut net, admin) = four("admin");
    net.cut_off(1);
    let ballot = ballot(&mut net, &admin);
    let id = ballot.id;
    let submit = net.submit(2, ballot, WaitFor::Certified);
    net.give(2, [submit]);
    net.run();
    assert_eq!(watched(&net), [0, 1, 1, 1]);
    net.cut_off(2);
    net.pass(5);
    net.join();
    net.cut_off(1);
    net.pass(200);
    assert_eq!(watched(&net)[1..], [0; 3]);
    let located = consilium_replica::ports::Ledger::location(&net.node(3).disk.ledger, &id).unwrap();
    assert!(located.is_some());
}

#[test]
fn a_node_that_turns_clients_away_takes_a_right_all_the_same() {
    let (mut net, admin) = four("admin");
    net.cut_off(1);
    let flood = Identity::new("b.example", "service", "y");
    for _ in 0..3 {
        let enrollment = net.enrollment(&flood);
        let submit = net.submit(2, enrollment, WaitFor::Certified);
        net.give(2, [submit]);
    }
    let ballot = ballot(&mut net, &admin);
    let submit = net.submit(2, ballot, WaitFor::Certified);
    let Input::Submit { request, .. } = submit else { panic!("{submit:?}") };
    net.give(2, [submit]);
    net.run();
    let refused = Output::Answer { request, result: Err(Refused::Overloaded) };
    assert!(net.said(2).contains(&refused));
    assert_eq!(watched(&net)[1..], [1; 3]);
}

#[test]
fn what_is_no_right_of_an_administrator_is_not_under_watch() {
    let (mut net, service) = four("service");
    net.cut_off(1);
    let ballot = ballot(&mut net, &service);
    let request = net.request();
    let submission = net.node(3).submission(ballot);
    net.give(3, [Input::Forwarded { request, submissions: vec![Some(submission)] }]);
    let results = vec![ForwardResult::NotLeader];
    assert!(net.said(3).contains(&Output::ForwardedAnswer { request, results }));
    assert_eq!(watched(&net), [0; 4]);
}

#[test]
fn a_flood_of_one_member_is_under_watch_in_part_and_deposes_nobody() {
    let (mut net, admin) = four("admin");
    let mut submissions = Vec::new();
    for _ in 0..100 {
        let ballot = ballot(&mut net, &admin);
        submissions.push(Some(net.node(3).submission(ballot)));
    }
    let request = net.request();
    net.node_mut(1).hold = |output| matches!(output, Output::WriteLog(_) | Output::Send { .. });
    net.give(3, [Input::Forwarded { request, submissions }]);
    assert_eq!(watched(&net)[2], WATCHED_PER_MEMBER_MAX);
    net.release(1);
    net.run();
    net.pass(200);
    let distrusts = |output: &Output| matches!(output, Output::Notice(Notice::LeaderDistrusted(_)));
    for id in 1..=4 {
        assert!(!net.said(id).iter().any(distrusts), "node {id}");
    }
    assert_eq!((watched(&net), net.leader(2)), (vec![0; 4], Some(1)));
}
