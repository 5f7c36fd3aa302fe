//! Urgent transactions: whoever gets one hands it to all validators, and each of them to the
//! leader; and no ordinary load keeps them out.

use consilium_kit::replica::Replicas;
use consilium_kit::{Action, Identity};
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, ForwardResult, Outcome};
use consilium_proto::transaction::Transaction;
use consilium_replica::notice::Notice;
use consilium_replica::ports::Ledger;
use consilium_replica::submission::{Located, Refused, WaitFor};
use consilium_replica::{Input, Output, WATCHED_OF_ADMINISTRATORS_MAX};

/// Names of patients are opaque.
const PATIENT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Four members with a node each, of which the first leads, and somebody of the second.
fn four(role: &str) -> (Replicas, Identity) {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut net = Replicas::new(&members, |_| {}, |settings| settings.queued_transactions_max = 3);
    net.elect(1);
    let who = Identity::new("b.example", role, if role == "patient" { PATIENT } else { "x" });
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
    let located = Ledger::location(&net.node(3).disk.ledger, &id).unwrap();
    assert!(located.is_some());
}

/// Enrolments until a node turns clients away.
fn fill(net: &mut Replicas, id: u64) {
    let flood = Identity::new("b.example", "service", "y");
    for _ in 0..3 {
        let enrollment = net.enrollment(&flood);
        let submit = net.submit(id, enrollment, WaitFor::Certified);
        net.give(id, [submit]);
    }
}

/// Hands a transaction in; returns what is answered if it is turned away.
fn hand_in(net: &mut Replicas, id: u64, transaction: Transaction) -> (Input, Output) {
    let submit = net.submit(id, transaction, WaitFor::Certified);
    let Input::Submit { request, .. } = submit else { panic!("{submit:?}") };
    (submit, Output::Answer { request, result: Err(Refused::Overloaded) })
}

#[test]
fn a_node_that_turns_clients_away_waits_for_a_right_all_the_same() {
    let (mut net, admin) = four("admin");
    net.cut_off(1);
    fill(&mut net, 2);
    let ordinary = Identity::new("b.example", "service", "z");
    let enrollment = net.enrollment(&ordinary);
    let (submit, overloaded) = hand_in(&mut net, 2, enrollment);
    net.give(2, [submit]);
    net.run();
    assert!(net.said(2).contains(&overloaded), "an ordinary one has no room");
    let ballot = ballot(&mut net, &admin);
    let id = ballot.id;
    let submit = net.submit(2, ballot, WaitFor::Certified);
    let Input::Submit { request, .. } = submit else { panic!("{submit:?}") };
    net.give(2, [submit]);
    net.run();
    assert_eq!(watched(&net)[1..], [1; 3]);
    net.pass(200);
    let located = Ledger::location(&net.node(2).disk.ledger, &id).unwrap().unwrap();
    let located = Located { height: located.height, outcome: Outcome::try_from(located.outcome).unwrap() };
    assert!(net.said(2).contains(&Output::Answer { request, result: Ok(located) }), "who asked learns of it");
}

/// A patient withdraws what it may not have given: the rules say so, in a block.
fn withdrawal(net: &mut Replicas, by: &Identity, consent: u8) -> Transaction {
    let revoke = pb::RevokeConsent { consent_id: vec![consent; 16].into() };
    net.sign(by, vec![Action::RevokeConsent(revoke)], Vec::new())
}

#[test]
fn a_withdrawal_of_a_patient_is_under_watch_and_goes_before_what_was_there_first() {
    let (mut net, patient) = four("patient");
    net.node_mut(1).hold = |output| matches!(output, Output::WriteLog(_) | Output::Send { .. });
    let flood = Identity::new("c.example", "service", "y");
    let mut ids = Vec::new();
    // Four blocks are under way at once, since each comes late: the last two wait.
    for node in [1, 1, 1, 3, 3, 3] {
        net.pass_time(25);
        let transaction = net.enrollment(&flood);
        ids.push(transaction.id);
        let submit = net.submit(node, transaction, WaitFor::Certified);
        net.give(node, [submit]);
        net.run();
    }
    let withdrawal = withdrawal(&mut net, &patient, 1);
    let id = withdrawal.id;
    let submit = net.submit(2, withdrawal, WaitFor::Certified);
    net.give(2, [submit]);
    net.run();
    assert_eq!(watched(&net), [1; 4], "all validators have it");
    net.release(1);
    net.run();
    net.pass(2);
    let place = |id| Ledger::location(&net.node(3).disk.ledger, id).unwrap().unwrap().leaf_index;
    assert!(place(&ids[3]) < place(&id) && place(&id) < place(&ids[4]));
    assert_eq!(watched(&net), [0; 4]);
}

#[test]
fn emergencies_of_one_identity_fill_its_own_room_and_leave_another_its() {
    let (mut net, flooder) = four("clinician");
    let other = Identity::new("b.example", "patient", PATIENT);
    net.enroll(1, &other);
    net.cut_off(1);
    fill(&mut net, 2);
    net.said(2);
    let mut refused = 0;
    for number in 0..20 {
        let declare = pb::DeclareEmergency {
            emergency_id: vec![number; 16].into(),
            patient: vec![1; 16].into(),
            reason: pb::EmergencyReason::Danger.into(),
            ..pb::DeclareEmergency::default()
        };
        let declaration = net.sign(&flooder, vec![Action::DeclareEmergency(declare)], Vec::new());
        let (submit, overloaded) = hand_in(&mut net, 2, declaration);
        net.give(2, [submit]);
        refused += usize::from(net.said(2).contains(&overloaded));
    }
    assert_eq!(refused, 12, "an identity has eight places of its own");
    let withdrawal = withdrawal(&mut net, &other, 1);
    let (submit, overloaded) = hand_in(&mut net, 2, withdrawal);
    net.give(2, [submit]);
    assert!(!net.said(2).contains(&overloaded));
    assert_eq!(watched(&net)[1], 3, "two of one identity, and one of the other");
}

#[test]
fn a_ballot_of_who_is_no_administrator_is_not_under_watch() {
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
    assert_eq!(watched(&net)[2], WATCHED_OF_ADMINISTRATORS_MAX);
    net.release(1);
    net.run();
    net.pass(200);
    let distrusts = |output: &Output| matches!(output, Output::Notice(Notice::LeaderDistrusted(_)));
    for id in 1..=4 {
        assert!(!net.said(id).iter().any(distrusts), "node {id}");
    }
    assert_eq!((watched(&net), net.leader(2)), (vec![0; 4], Some(1)));
}
