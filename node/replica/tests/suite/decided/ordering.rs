//! 7, 10, 14, 15: reads, proposals and queues.

use consilium_consensus::{RaftId, ReadContext};
use consilium_kit::replica::Replicas;
use consilium_kit::{Identity, START};
use consilium_proto::ids::{TimeMs, TransactionId};
use consilium_proto::pb::ForwardResult;
use consilium_proto::transaction::Transaction;
use consilium_replica::notice::Notice;
use consilium_replica::peer::PeerMessage;
use consilium_replica::submission::{Refused, Submission, Verdict, WaitFor};
use consilium_replica::{Input, Output, RequestId};

use super::{executed, four, notices, proposed, request_of, three};

fn read(net: &mut Replicas, id: u64) -> RequestId {
    let request = net.request();
    let mut context = [id as u8; 16];
    context[..8].copy_from_slice(&request.0.to_be_bytes());
    net.give(id, [Input::Read { request, context: ReadContext(context) }]);
    net.run();
    request
}

fn read_answers(outputs: &[Output], asked: RequestId) -> Vec<bool> {
    let answer = |output: &Output| match output {
        Output::ReadAnswer { request, ready } if *request == asked => Some(*ready),
        _ => None,
    };
    outputs.iter().filter_map(answer).collect()
}

#[test]
fn d07_a_leader_without_a_quorum_answers_no_read() {
    let mut net = three();
    for id in 1..=3 {
        let request = read(&mut net, id);
        net.pass(2);
        assert_eq!(read_answers(&net.said(id), request), [true], "node {id}");
    }
    net.cut_off(1);
    let request = read(&mut net, 1);
    assert_eq!(read_answers(&net.said(1), request), [] as [bool; 0]);
    net.pass(100);
    assert_eq!(read_answers(&net.said(1), request), [false]);
}

#[test]
fn d10_a_refused_proposal_goes_back_to_the_queue() {
    // Three equal members need all three.
    let mut net = four();
    net.pass(2);
    net.cut_off(2);
    let (request, to) = (net.request(), RaftId::new(2));
    net.give(1, [Input::Transfer { request, to }]);
    let transaction = net.enrollment(&Identity::new("a.example", "admin", "root"));
    let submit = net.submit(1, transaction, WaitFor::Ordered);
    let asked = request_of(&submit);
    net.give(1, [submit]);
    let said = net.said(1);
    assert!(said.contains(&Output::TransferAnswer { request, result: Ok(to.unwrap()) }));
    assert!(notices(&said).iter().any(|notice| matches!(notice, Notice::NotProposed(_))));
    assert_eq!(net.node(1).replica.status().queued, 1);
    assert!(!said.iter().any(|output| matches!(output, Output::Answer { .. })));
    net.pass(40);
    let answer = |output: &Output| matches!(output, Output::Answer { request, result: Ok(_) } if *request == asked);
    assert!(net.said(1).iter().any(answer), "it is proposed when nobody takes over");
}

/// Transactions that differ in their ids alone: nobody looks at a signature here.
fn submissions(net: &mut Replicas, count: u16) -> Vec<Submission> {
    let transaction = net.enrollment(&Identity::new("a.example", "admin", "root"));
    let with_id = |number: u16| {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Transaction { id: TransactionId::from_bytes(bytes), ..transaction.clone() }
    };
    let submission = |number| Submission { transaction: with_id(number), verdict: Verdict::Enrollment };
    (0..count).map(submission).collect()
}

fn submit_all(net: &mut Replicas, id: u64, submissions: Vec<Submission>) -> Vec<RequestId> {
    let requests: Vec<RequestId> = submissions.iter().map(|_| net.request()).collect();
    let deadline_ms = net.now.monotonic_ms + 10_000;
    let submit = |(submission, request)| Input::Submit { request, submission, wait_for: WaitFor::Ordered, deadline_ms };
    let inputs: Vec<Input> = submissions.into_iter().zip(requests.iter().copied()).map(submit).collect();
    net.give(id, inputs);
    requests
}

fn overloaded(outputs: &[Output]) -> Vec<RequestId> {
    let request = |output: &Output| match output {
        Output::Answer { request, result: Err(Refused::Overloaded) } => Some(*request),
        _ => None,
    };
    outputs.iter().filter_map(request).collect()
}

#[test]
fn a_second_block_waits_until_it_is_large_or_late() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    solo.said(1);
    solo.node_mut(1).hold = |output| matches!(output, Output::WriteLog(_));
    let mut all = submissions(&mut solo, 100).into_iter();
    let mut give = |solo: &mut Replicas, count| {
        submit_all(solo, 1, all.by_ref().take(count).collect());
        proposed(&solo.said(1))
    };
    assert_eq!(give(&mut solo, 3), [3]);
    assert_eq!(give(&mut solo, 31), [] as [usize; 0]);
    assert_eq!(give(&mut solo, 1), [32], "large");
    solo.pass_time(25);
    assert_eq!(give(&mut solo, 31), [] as [usize; 0]);
    assert_eq!(give(&mut solo, 1), [32], "late, and as large");
    assert_eq!(give(&mut solo, 2), [] as [usize; 0]);
    // Nothing is under way any more: what waits goes, however little it is.
    let node = solo.node_mut(1);
    let written: Vec<Input> = node.release().iter().flat_map(|output| node.perform(output)).collect();
    solo.give(1, written);
    solo.run();
    assert_eq!(proposed(&solo.said(1)), [2]);
}

#[test]
fn few_wait_for_the_certificate_of_the_block_before_and_not_for_long() {
    let mut net = three();
    net.pass(2);
    // The votes of one are withheld, and without them nothing is certified.
    net.node_mut(2).hold = |output| matches!(output, Output::Send { message: PeerMessage::Vote(_), .. });
    net.said(1);
    let mut all = submissions(&mut net, 4).into_iter();
    let mut give = |net: &mut Replicas| {
        submit_all(net, 1, all.by_ref().take(1).collect());
        net.run();
        proposed(&net.said(1))
    };
    assert_eq!(give(&mut net), [1]);
    assert_eq!(give(&mut net), [] as [usize; 0], "it waits");
    net.pass_time(24);
    assert_eq!(give(&mut net), [] as [usize; 0]);
    net.pass_time(1);
    assert_eq!(give(&mut net), [3], "no longer");
}

#[test]
fn d14_queues_are_limited_by_count() {
    let mut solo = Replicas::solo(|_| {}, |settings| settings.queued_transactions_max = 3);
    solo.node_mut(1).hold = |output| matches!(output, Output::WriteLog(_));
    let submissions = submissions(&mut solo, 5);
    let requests = submit_all(&mut solo, 1, submissions.clone());
    assert_eq!(overloaded(&solo.said(1)), requests[3..]);
    assert_eq!(solo.node(1).replica.status().waiting, 3);
    let request = solo.request();
    let submissions = submissions.into_iter().map(Some).chain([None]).collect();
    solo.give(1, [Input::Forwarded { request, submissions }]);
    use ForwardResult::{Invalid, Overloaded, Queued};
    let results = vec![Queued, Queued, Queued, Overloaded, Overloaded, Invalid];
    assert!(solo.said(1).contains(&Output::ForwardedAnswer { request, results }));
}

#[test]
fn d14_queues_are_limited_by_bytes() {
    let mut solo = Replicas::solo(|_| {}, |settings| settings.queued_bytes_max = 1_000);
    let submissions = submissions(&mut solo, 5);
    let fit = 1_000 / submissions[0].transaction.size();
    assert!((1..5).contains(&fit));
    let requests = submit_all(&mut solo, 1, submissions);
    assert_eq!(overloaded(&solo.said(1)), requests[fit..]);
}

#[test]
fn d14_forwarding_goes_in_batches_and_eight_calls_at_most() {
    let mut net = three();
    net.pass(2);
    net.said(2);
    let submissions = submissions(&mut net, 9 * 256);
    submit_all(&mut net, 2, submissions);
    let calls = |outputs: Vec<Output>| -> Vec<usize> {
        let batch = |output: &Output| match output {
            Output::Forward { to, transactions, .. } if to.0 == 1 => Some(transactions.len()),
            _ => None,
        };
        outputs.iter().filter_map(batch).collect()
    };
    assert_eq!(calls(net.said(2)), [256; 8]);
    net.run();
    assert_eq!(calls(net.said(2)), [256], "the ninth when the first is answered");
}

#[test]
fn d15_an_orderly_stop() {
    let mut net = three();
    net.pass(2);
    net.said(1);
    net.give(1, [Input::Stop]);
    let said = net.said(1);
    assert!(notices(&said).iter().any(|notice| matches!(notice, Notice::HandingOver(_))), "{said:?}");
    let transaction = net.enrollment(&Identity::new("a.example", "admin", "root"));
    let (submit, request) = (net.submit(1, transaction, WaitFor::Ordered), net.request());
    let after = TimeMs(START);
    net.give(1, [submit, Input::RequestTimeBlock(after)]);
    let submissions = submissions(&mut net, 1).into_iter().map(Some).collect();
    net.give(1, [Input::Forwarded { request, submissions }]);
    let said = net.said(1);
    assert!(proposed(&said).is_empty());
    assert!(said.contains(&Output::ForwardedAnswer { request, results: vec![ForwardResult::NotLeader] }));
    net.run();
    net.pass(10);
    assert_ne!(net.leader(2), Some(1));
    assert!(net.leader(2).is_some());
    let said = net.said(1);
    assert_eq!((proposed(&said), executed(&said).len()), (vec![], 1), "the next leader has proposed it");
}

#[test]
fn d15_a_requested_time_block() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    let after = TimeMs(solo.now.wall.0 + 1_500);
    solo.said(1);
    solo.give(1, [Input::RequestTimeBlock(after)]);
    solo.pass_time(1_500);
    solo.give(1, [Input::Tick]);
    assert!(proposed(&solo.said(1)).is_empty());
    solo.pass_time(1);
    solo.give(1, [Input::Tick]);
    assert_eq!(proposed(&solo.said(1)), [0]);
    assert!(solo.node(1).replica.applied().time > after);
    solo.pass_time(1_000);
    solo.give(1, [Input::Tick]);
    assert!(proposed(&solo.said(1)).is_empty(), "once");
}

#[test]
fn d15_a_time_block_a_second_however_many_are_wanted() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    solo.pass_time(5_000);
    solo.said(1);
    let blocks = |solo: &mut Replicas, for_ms: u64| {
        for _ in 0..for_ms / 40 {
            solo.pass_time(40);
            let just_now = TimeMs(solo.now.wall.0 - 1);
            solo.give(1, [Input::RequestTimeBlock(just_now), Input::Tick]);
        }
        proposed(&solo.said(1)).len()
    };
    assert_eq!(blocks(&mut solo, 40), 1, "the newest block was old");
    assert_eq!(blocks(&mut solo, 960), 0);
    assert_eq!(blocks(&mut solo, 3_000), 3);
}

#[test]
fn what_would_come_to_nothing_in_a_block_comes_into_none() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    let mut all = submissions(&mut solo, 4);
    let never_sent = all.split_off(3);
    submit_all(&mut solo, 1, all.clone());
    solo.run();
    assert_eq!(proposed(&solo.said(1)).iter().sum::<usize>(), 3);
    let hand_over = |solo: &mut Replicas, submissions: Vec<Submission>| {
        let request = solo.request();
        solo.give(1, [Input::Forwarded { request, submissions: submissions.into_iter().map(Some).collect() }]);
        solo.run();
        let said = solo.said(1);
        let results = said.iter().find_map(|output| match output {
            Output::ForwardedAnswer { request: answered, results } if *answered == request => Some(results.clone()),
            _ => None,
        });
        (results.unwrap(), proposed(&said).iter().sum::<usize>())
    };
    use ForwardResult::{Invalid, Queued};
    // Executed already: whoever hands it over finds it in a block.
    assert_eq!(hand_over(&mut solo, all), (vec![Queued; 3], 0));
    // Over before it came.
    let over = never_sent[0].transaction.head.valid_until;
    solo.pass_time(over.0 + 1 - solo.now.wall.0);
    solo.give(1, [Input::RequestTimeBlock(over), Input::Tick]);
    solo.run();
    assert!(solo.node(1).replica.applied().time > over);
    solo.said(1);
    assert_eq!(hand_over(&mut solo, never_sent), (vec![Invalid], 0));
}
