//! How often one identity may ask to read: counted by the node that is asked, and by the leader.

use std::num::NonZeroU32;

use consilium_kit::replica::Replicas;
use consilium_kit::{Action, Identity};
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::transaction::Transaction;
use consilium_replica::submission::{Refused, WaitFor};
use consilium_replica::{AccessQuota, Input, Output, Settings};

/// One in a second, and two at once.
fn three() -> (Replicas, Identity) {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1)];
    let change = |settings: &mut Settings| {
        let (per_minute, burst) = (NonZeroU32::new(60).unwrap(), NonZeroU32::new(2).unwrap());
        settings.access_quota = AccessQuota { per_minute, burst };
    };
    let mut net = Replicas::new(&members, |_| {}, change);
    net.elect(1);
    let reader = Identity::new("b.example", "clinician", "x");
    net.enroll(1, &reader);
    (net, reader)
}

fn request(net: &mut Replicas, by: &Identity, purpose: pb::PurposeOfUse) -> Transaction {
    let in_emergency = purpose == pb::PurposeOfUse::Btg;
    let request = pb::RequestAccess {
        patient: vec![1; 16].into(),
        purpose: purpose.into(),
        kind: pb::AccessKind::Read.into(),
        records: vec![pb::VersionRef { record_id: vec![2; 16].into(), version: 0 }],
        emergency_id: if in_emergency { vec![3; 16].into() } else { Default::default() },
        ..pb::RequestAccess::default()
    };
    net.sign(by, vec![Action::RequestAccess(request)], Vec::new())
}

/// Hands a transaction in at a node; gives what it is refused for.
fn ask(net: &mut Replicas, id: u64, transaction: Transaction) -> Option<Refused> {
    let submit = net.submit(id, transaction, WaitFor::Certified);
    let Input::Submit { request: asked, .. } = submit else { panic!("{submit:?}") };
    net.said(id);
    net.give(id, [submit]);
    net.run();
    net.said(id).into_iter().find_map(|output| match output {
        Output::Answer { request, result: Err(refused) } if request == asked => Some(refused),
        _ => None,
    })
}

#[test]
fn who_asks_too_often_is_turned_away_before_anything_is_ordered() {
    let (mut net, reader) = three();
    let treat = |net: &mut Replicas| {
        let request = request(net, &reader, pb::PurposeOfUse::Treat);
        (ask(net, 2, request.clone()), request)
    };
    assert_eq!(treat(&mut net).0, None);
    let (refused, same) = treat(&mut net);
    assert_eq!(refused, None);
    let height = net.node(2).replica.applied().height;
    assert_eq!(treat(&mut net).0, Some(Refused::OverQuota { wait_ms: 1_000 }));
    assert_eq!(net.node(2).replica.applied().height, height, "nothing came into a block");
    assert_eq!(ask(&mut net, 2, same), None, "what was asked before is answered again");
    net.pass_time(1_000);
    assert_eq!(treat(&mut net).0, None);
    // Neither withdrawals nor emergencies are kept out by it, and others are not.
    let emergency = request(&mut net, &reader, pb::PurposeOfUse::Btg);
    assert_eq!(ask(&mut net, 2, emergency), None);
    let other = Identity::new("b.example", "clinician", "y");
    net.enroll(1, &other);
    let request = request(&mut net, &other, pb::PurposeOfUse::Treat);
    assert_eq!(ask(&mut net, 2, request), None);
}

#[test]
fn emergencies_have_a_count_of_their_own_which_has_an_end() {
    let (mut net, reader) = three();
    let mut refused = Vec::new();
    for _ in 0..3 {
        let emergency = request(&mut net, &reader, pb::PurposeOfUse::Btg);
        refused.push(ask(&mut net, 2, emergency));
    }
    assert_eq!(refused, [None, None, Some(Refused::OverQuota { wait_ms: 1_000 })]);
    let treat = request(&mut net, &reader, pb::PurposeOfUse::Treat);
    assert_eq!(ask(&mut net, 2, treat), None);
}

#[test]
fn who_asks_over_many_nodes_is_turned_away_by_the_leader() {
    let (mut net, reader) = three();
    let mut refused = Vec::new();
    for node in [2, 2, 3, 3] {
        let request = request(&mut net, &reader, pb::PurposeOfUse::Treat);
        refused.push(ask(&mut net, node, request));
    }
    let over = Some(Refused::OverQuota { wait_ms: 1_000 });
    assert_eq!(refused, [None, None, over, over]);
    // A leader tells the node that hands it over, whatever that one has counted.
    let request = request(&mut net, &reader, pb::PurposeOfUse::Treat);
    let submission = net.node(1).submission(request);
    let asked = net.request();
    net.give(1, [Input::Forwarded { request: asked, submissions: vec![Some(submission)] }]);
    let results = vec![ForwardResult::OverQuota];
    assert!(net.said(1).contains(&Output::ForwardedAnswer { request: asked, results }));
}
