#![allow(clippy::unwrap_used)]

use consilium_proto::hash::Hash;
use consilium_proto::pb::Outcome;

use super::*;
use crate::fixture::{id, transaction};

const GENESIS: Height = Height::GENESIS;

fn leaf(number: u16, height: u64) -> Leaf {
    let signature_hash = Hash::from_bytes([0; 32]);
    Leaf { transaction_id: id(number), height: Height(height), outcome: Outcome::Applied, signature_hash }
}

fn answer(request: u64, height: u64) -> Output {
    let located = Located { height: Height(height), outcome: Outcome::Applied };
    Output::Answer { request: RequestId(request), result: Ok(located) }
}

fn refusal(request: u64, why: Refused) -> Output {
    Output::Answer { request: RequestId(request), result: Err(why) }
}

fn waiting(waits: &[(u16, u64, WaitFor, u64)]) -> Waiters {
    let mut waiters = Waiters::new(3);
    for (number, request, wait_for, deadline_ms) in waits {
        waiters.wait(transaction(*number, 10), (RequestId(*request), *wait_for, *deadline_ms), None);
    }
    waiters
}

#[test]
fn a_transaction_is_sent_once_however_many_wait_for_it() {
    let mut waiters = Waiters::new(3);
    let waiter = |request| (RequestId(request), WaitFor::Ordered, 100);
    assert_eq!(waiters.wait(transaction(1, 10), waiter(1), None).map(|t| t.transaction.id), Some(id(1)));
    assert!(waiters.wait(transaction(1, 10), waiter(2), None).is_none());
    assert_eq!((waiters.len(), waiters.unanswered().len()), (2, 1));
    assert!(waiters.is_awaited(&id(1)) && !waiters.is_awaited(&id(2)));
}

#[test]
fn those_who_wait_for_order_are_answered_by_the_block_the_others_by_the_certificate() {
    let mut waiters = waiting(&[(1, 1, WaitFor::Ordered, 100), (1, 2, WaitFor::Certified, 100)]);
    let mut out = Vec::new();
    waiters.executed(&leaf(1, 5), GENESIS, &mut out);
    assert_eq!(out, [answer(1, 5)]);
    assert_eq!((waiters.len(), waiters.unanswered().len()), (1, 0), "what is executed is not sent again");
    out.clear();
    waiters.certified(Height(4), &mut out);
    assert_eq!(out, []);
    waiters.certified(Height(5), &mut out);
    assert_eq!(out, [answer(2, 5)]);
    assert_eq!(waiters.len(), 0);
}

#[test]
fn a_block_that_is_certified_when_it_is_executed_answers_all() {
    let mut waiters = waiting(&[(1, 1, WaitFor::Certified, 100)]);
    let mut out = Vec::new();
    waiters.executed(&leaf(1, 5), Height(5), &mut out);
    assert_eq!((out, waiters.len()), (vec![answer(1, 5)], 0));
}

#[test]
fn who_comes_after_the_block_waits_for_its_certificate_alone() {
    let mut waiters = Waiters::new(3);
    let located = Located { height: Height(3), outcome: Outcome::Applied };
    waiters.wait_certified(located, (RequestId(1), 100));
    assert_eq!(waiters.len(), 1);
    let mut out = Vec::new();
    waiters.certified(Height(9), &mut out);
    assert_eq!((out, waiters.len()), (vec![answer(1, 3)], 0));
}

#[test]
fn a_refusal_ends_all_waits_for_one_transaction() {
    let waits = [(1, 1, WaitFor::Ordered, 100), (1, 2, WaitFor::Certified, 100), (2, 3, WaitFor::Ordered, 100)];
    for why in [Refused::Overloaded, Refused::Expired] {
        let (mut waiters, mut out) = (waiting(&waits), Vec::new());
        waiters.refuse(&id(1), why, &mut out);
        waiters.refuse(&id(1), why, &mut out);
        assert_eq!(out, [refusal(1, why), refusal(2, why)]);
        assert_eq!(waiters.len(), 1);
    }
}

#[test]
fn deadlines_end_waits_of_both_kinds_and_the_count_is_exact() {
    let waits = [(1, 1, WaitFor::Ordered, 100), (1, 2, WaitFor::Ordered, 200), (2, 3, WaitFor::Certified, 100)];
    let (mut waiters, mut out) = (waiting(&waits), Vec::new());
    waiters.executed(&leaf(2, 1), GENESIS, &mut out);
    waiters.expire(99, TimeMs(0), &mut out);
    assert_eq!((&out[..], waiters.len()), (&[][..], 3));
    waiters.expire(100, TimeMs(0), &mut out);
    assert_eq!(out, [refusal(1, Refused::TimedOut), refusal(3, Refused::TimedOut)]);
    assert_eq!((waiters.len(), waiters.is_awaited(&id(1))), (1, true));
    out.clear();
    waiters.expire(200, TimeMs(0), &mut out);
    assert_eq!(out, [refusal(2, Refused::TimedOut)]);
    assert_eq!((waiters.len(), waiters.is_awaited(&id(1))), (0, false));
    out.clear();
    waiters.executed(&leaf(1, 2), GENESIS, &mut out);
    waiters.certified(Height(2), &mut out);
    assert_eq!(out, [], "nobody is answered twice");
}

#[test]
fn nobody_waits_for_what_can_never_be_executed() {
    let mut waiters = waiting(&[(1, 1, WaitFor::Ordered, 100), (1, 2, WaitFor::Certified, 100)]);
    let until = transaction(1, 10).transaction.head.valid_until;
    let mut out = Vec::new();
    waiters.expire(1, until, &mut out);
    assert_eq!(out, []);
    waiters.expire(1, TimeMs(until.0 + 1), &mut out);
    assert_eq!((out, waiters.len()), (vec![refusal(1, Refused::Expired), refusal(2, Refused::Expired)], 0));
}

#[test]
fn who_waits_for_an_urgent_one_has_room_where_others_have_none() {
    let waits = [(1, 1, WaitFor::Ordered, 100), (2, 2, WaitFor::Ordered, 100), (3, 3, WaitFor::Ordered, 100)];
    let (mut waiters, mut out) = (waiting(&waits), Vec::new());
    let share = || Some(Share::Identity("spiffe://a.example/clinician/x".parse().unwrap()));
    assert_eq!(waiters.room(None, 10), None);
    for number in 0..RESERVED.identity.count as u16 {
        let room = waiters.room(share(), 10).unwrap();
        waiters.wait(transaction(10 + number, 10), (RequestId(10), WaitFor::Ordered, 200), room);
    }
    assert_eq!((waiters.room(share(), 10), waiters.len()), (None, 3), "its own room is full, and that of all");
    waiters.executed(&leaf(10, 1), GENESIS, &mut out);
    let room = waiters.room(share(), 10);
    assert_eq!(room, Some(share().map(|share| (share, 10))));
    waiters.wait(transaction(30, 10), (RequestId(30), WaitFor::Ordered, 200), room.unwrap());
    waiters.expire(100, TimeMs(0), &mut out);
    assert_eq!((waiters.room(share(), 10), waiters.len()), (Some(None), 0), "it waits with the others then");
    waiters.expire(200, TimeMs(0), &mut out);
    assert_eq!(waiters.room(share(), 10), Some(share().map(|share| (share, 10))));
}

#[test]
fn who_goes_away_makes_room_at_once_and_is_answered_nothing() {
    let mut waiters =
        waiting(&[(1, 1, WaitFor::Ordered, 100), (1, 2, WaitFor::Certified, 100), (2, 3, WaitFor::Ordered, 100)]);
    assert!(waiters.is_full());
    waiters.leave(vec![RequestId(1), RequestId(3)]);
    assert_eq!((waiters.len(), waiters.unanswered().len()), (1, 1), "the other waits for the same");
    let mut out = Vec::new();
    waiters.executed(&leaf(1, 5), GENESIS, &mut out);
    waiters.leave(vec![RequestId(2)]);
    waiters.certified(Height(5), &mut out);
    waiters.expire(1_000, TimeMs(0), &mut out);
    assert_eq!((out, waiters.len()), (vec![], 0));
}

#[test]
fn who_goes_away_before_the_request_came_is_not_waited_for() {
    let mut waiters = Waiters::new(3);
    assert!(waiters.is_there(RequestId(5)));
    waiters.leave(vec![RequestId(7), RequestId(8)]);
    assert_eq!([6, 7, 8, 9].map(|request| waiters.is_there(RequestId(request))), [true, false, false, true]);
    assert!(waiters.is_there(RequestId(7)), "once");
    // What was answered in the same moment is forgotten in time.
    (0..100_000).for_each(|request| {
        assert!(waiters.is_there(RequestId(1_000 + request)));
        waiters.leave(vec![RequestId(1_000 + request)]);
    });
    assert!(waiters.gone.len() <= 65_537);
}
