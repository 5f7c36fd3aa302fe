use super::*;
use crate::fixture::{id, number, transaction, withdrawal};

const LEADER: NodeId = NodeId(2);

fn queue(numbers: std::ops::Range<u16>, bytes: usize) -> Forwarding {
    let mut forwarding = Forwarding::default();
    numbers.for_each(|number| forwarding.push(transaction(number, bytes)));
    forwarding
}

/// Calls, and the transactions in each.
fn calls(forwarding: &mut Forwarding, next: &mut CallId) -> Vec<(u64, Vec<u16>)> {
    let mut out = Vec::new();
    forwarding.call(LEADER, next, &mut out);
    let parts = |output| match output {
        Output::Forward { call, to, transactions } if to == LEADER => {
            (call.0, transactions.iter().map(|t| number(&t.id)).collect())
        }
        other => panic!("{other:?}"),
    };
    out.into_iter().map(parts).collect()
}

#[test]
fn a_call_is_cut_by_count() {
    let (mut forwarding, mut next) = (queue(0..300, 10), CallId::default());
    let expected = [(1, (0..256).collect()), (2, (256..300).collect())];
    assert_eq!(calls(&mut forwarding, &mut next), expected);
    assert_eq!(calls(&mut forwarding, &mut next), []);
}

#[test]
fn a_call_is_cut_by_bytes() {
    let (mut forwarding, mut next) = (queue(0..5, BYTES_MAX / 2), CallId::default());
    assert_eq!(calls(&mut forwarding, &mut next), [(1, vec![0, 1]), (2, vec![2, 3]), (3, vec![4])]);
}

#[test]
fn one_that_is_larger_goes_alone() {
    let (mut forwarding, mut next) = (queue(0..2, 2 * BYTES_MAX), CallId::default());
    assert_eq!(calls(&mut forwarding, &mut next), [(1, vec![0]), (2, vec![1])]);
}

#[test]
fn no_more_calls_than_eight_are_under_way() {
    let (mut forwarding, mut next) = (queue(0..10, 2 * BYTES_MAX), CallId::default());
    assert_eq!(calls(&mut forwarding, &mut next).len(), CALLS_MAX);
    assert_eq!(calls(&mut forwarding, &mut next), []);
    assert!(forwarding.answered(CallId(3), &[ForwardResult::Queued], 0).is_empty());
    assert_eq!(calls(&mut forwarding, &mut next), [(9, vec![8])]);
}

#[test]
fn urgent_ones_go_first_in_calls_of_their_own_however_many_others_wait() {
    let (mut forwarding, mut next) = (queue(0..10, 2 * BYTES_MAX), CallId::default());
    calls(&mut forwarding, &mut next);
    forwarding.push(withdrawal(100, 10));
    forwarding.push(withdrawal(101, 10));
    assert_eq!(calls(&mut forwarding, &mut next), [(9, vec![100, 101])]);
    forwarding.push(withdrawal(102, 10));
    forwarding.push(withdrawal(103, BYTES_MAX));
    forwarding.push(withdrawal(104, 10));
    assert_eq!(calls(&mut forwarding, &mut next), [(10, vec![102, 103])]);
    assert_eq!(calls(&mut forwarding, &mut next), [], "no more than two of these");
    assert_eq!(
        forwarding.answered(CallId(9), &[ForwardResult::Queued, ForwardResult::Overloaded], 0),
        [(id(101), false)]
    );
    assert!(forwarding.answered(CallId(1), &[ForwardResult::Queued], 0).is_empty());
    assert_eq!(calls(&mut forwarding, &mut next), [(11, vec![104]), (12, vec![8])]);
}

#[test]
fn what_the_leader_has_no_room_for_is_refused_and_what_it_did_not_take_is_tried_again() {
    use ForwardResult::{Invalid, NotLeader, OverQuota, Overloaded, Queued};
    let (mut forwarding, mut next) = (queue(0..6, 10), CallId::default());
    calls(&mut forwarding, &mut next);
    let overloaded = forwarding.answered(CallId(1), &[Queued, Overloaded, NotLeader, Invalid, OverQuota], 1_000);
    assert_eq!(overloaded, [(id(1), false), (id(4), true)]);
    let due = |forwarding: &mut Forwarding, now_ms| -> Vec<u16> {
        forwarding.due(now_ms).iter().map(|t| number(&t.transaction.id)).collect()
    };
    assert!(due(&mut forwarding, 1_000 + RETRY_MS - 1).is_empty());
    assert_eq!(due(&mut forwarding, 1_000 + RETRY_MS), [2, 3, 5], "the last had no answer at all");
    assert!(due(&mut forwarding, 9_000).is_empty());
}

#[test]
fn a_call_that_nobody_began_is_nobodys_answer() {
    let mut forwarding = queue(0..1, 10);
    assert_eq!(forwarding.answered(CallId(7), &[ForwardResult::Overloaded], 0), []);
    assert!(forwarding.due(9_000).is_empty());
}

#[test]
fn another_leader_clears_what_waits() {
    let (mut forwarding, mut next) = (queue(0..1, 10), CallId::default());
    calls(&mut forwarding, &mut next);
    forwarding.answered(CallId(1), &[], 0);
    forwarding.push(transaction(1, 10));
    forwarding.clear();
    assert_eq!(calls(&mut forwarding, &mut next), []);
    assert!(forwarding.due(9_000).is_empty());
}
