#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::task::{Context, Poll, Waker};

use consilium_proto::hash::Hash;
use consilium_proto::ids::{ConsentId, Fingerprint, LedgerId, TransactionId};
use consilium_proto::limits::PEER_MESSAGE_BYTES_MAX;
use consilium_proto::transaction::{Action, ConsentAction, TransactionHead};
use futures::FutureExt;

use super::*;

/// Whether a batch of so many bytes gets through at once, of a peer that has sent none before.
fn arrives(handle: &Handle, bytes: usize) -> bool {
    static PEERS: AtomicU64 = AtomicU64::new(100);
    arrives_of(handle, NodeId(PEERS.fetch_add(1, Ordering::Relaxed)), bytes)
}

fn arrives_of(handle: &Handle, peer: NodeId, bytes: usize) -> bool {
    let batch = std::pin::pin!(handle.peer(peer, vec![PeerMessage::Raft(Bytes::from_static(&LARGE[..bytes]))]));
    matches!(batch.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
}

const LARGE_BYTES: usize = PEER_MESSAGE_BYTES_MAX;
static LARGE: [u8; LARGE_BYTES] = [0; LARGE_BYTES];

#[test]
fn what_peers_send_waits_for_room_in_bytes_and_in_number() {
    let (handle, ends) = Handle::new(Clocks::start());
    let fit = BATCHES_KIB_MAX * 1024 / LARGE_BYTES;
    assert!(fit > 1, "one peer's largest message does not take all the room");
    assert!((0..fit).all(|_| arrives(&handle, LARGE_BYTES)));
    assert!(!arrives(&handle, LARGE_BYTES), "the peer has to wait");
    assert!(ends.replica.recv().is_some(), "the replica takes one");
    assert!(arrives(&handle, LARGE_BYTES));
    while ends.replica.waiting(1).next().is_some() {}
    assert!((0..BATCHES_MAX).all(|_| arrives(&handle, 1)));
    assert!(!arrives(&handle, 1));
}

#[test]
fn what_one_peer_sends_keeps_no_other_waiting() {
    let (handle, ends) = Handle::new(Clocks::start());
    let of_one = (0..BATCHES_MAX).take_while(|_| arrives_of(&handle, NodeId(7), 1)).count();
    assert_eq!(of_one, PEER_KIB_MAX as usize / (BATCHES_KIB_MAX / BATCHES_MAX));
    assert!(arrives_of(&handle, NodeId(8), 1));
    assert!(ends.replica.recv().is_some(), "the replica takes one");
    assert!(arrives_of(&handle, NodeId(7), 1));
}

#[test]
fn who_goes_away_is_waited_for_no_more() {
    let (handle, _ends) = Handle::new(Clocks::start());
    let caller = "spiffe://a.example/clinician/x".parse().unwrap();
    let minute = Duration::from_secs(60);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    // Each is polled once, and dropped while it waits.
    assert!(handle.submit(&caller, transaction(Vec::new()), WaitFor::Certified, minute).now_or_never().is_none());
    assert!(matches!(handle.take_gone(), Some(Input::Gone(gone)) if gone == [RequestId(0)]));
    assert!(handle.linearize().now_or_never().is_none());
    assert!(handle.transfer(None).now_or_never().is_none());
    assert!(handle.forwarded(NodeId(1), vec![None]).now_or_never().is_none());
    assert!(handle.pending.lock().is_empty());
    assert!(handle.take_gone().is_none(), "only submissions are long");
    // Who was answered has not gone.
    let mut submitted = Box::pin(handle.submit(&caller, transaction(Vec::new()), WaitFor::Certified, minute));
    assert!(submitted.as_mut().now_or_never().is_none());
    handle.answer(RequestId(4), Err(Refused::Overloaded));
    assert!(matches!(submitted.now_or_never(), Some(Ok(Err(Refused::Overloaded)))));
    assert!(handle.take_gone().is_none());
}

#[test]
fn transactions_for_the_leader_are_refused_without_room() {
    let (handle, _ends) = Handle::new(Clocks::start());
    while arrives(&handle, LARGE_BYTES) {}
    while arrives(&handle, 1) {}
    let forwarded = std::pin::pin!(handle.forwarded(NodeId(1), vec![None; 2]));
    let answer = forwarded.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Ok(results)) if results == [ForwardResult::Overloaded; 2]));
}

fn transaction(actions: Vec<Action>) -> Transaction {
    let head = TransactionHead {
        ledger_id: LedgerId::from_bytes([0; 32]),
        author: Fingerprint::from_bytes([0; 32]),
        valid_until: TimeMs(0),
        action_count: 1,
        actions_root: Hash::from_bytes([0; 32]),
    };
    let (id, nonce) = (TransactionId::from_bytes([0; 32]), [0; 16]);
    let (encoded, attachments) = (Vec::new(), Vec::new());
    Transaction { id, head, signature: [0; 64], nonce, encoded, actions, attachments }
}

fn withdrawal() -> Transaction {
    transaction(vec![Action::Consent(ConsentAction::Revoke(ConsentId([0; 16])))])
}

/// Whether a transaction of a caller gets on its way to the verifiers.
fn is_taken(handle: &Handle, caller: &str, transaction: Transaction) -> bool {
    let caller = format!("spiffe://a.example/clinician/{caller}").parse().unwrap();
    handle.permit(&caller, &transaction).is_some_and(|permit| {
        let (request, wait_for, deadline_ms) = (RequestId(0), WaitFor::Certified, 0);
        let transaction = Box::new(transaction);
        handle.verify(VerifyJob::Submission { transaction, request, wait_for, deadline_ms, permit }).is_ok()
    })
}

fn is_urgent(job: &VerifyJob) -> bool {
    match job {
        VerifyJob::Submission { transaction, .. } => transaction.urgency().is_some(),
        VerifyJob::Forwarded { .. } | VerifyJob::Entry(..) | VerifyJob::Stop => false,
    }
}

#[test]
fn urgent_ones_are_taken_and_go_first_where_ordinary_ones_are_refused() {
    let (handle, ends) = Handle::new(Clocks::start());
    assert!((0..REQUESTS_MAX).all(|_| is_taken(&handle, "x", transaction(Vec::new()))));
    assert!(!is_taken(&handle, "x", transaction(Vec::new())));
    assert!((0..URGENT_REQUESTS.each).all(|_| is_taken(&handle, "x", withdrawal())));
    assert!(!is_taken(&handle, "x", withdrawal()), "nobody has more room than others");
    assert!(is_taken(&handle, "y", withdrawal()));
    let others = (0..URGENT_REQUESTS.group).filter(|n| is_taken(&handle, &format!("z{n}"), withdrawal())).count();
    assert_eq!(others, URGENT_REQUESTS.group - URGENT_REQUESTS.each - 1, "nor has a member, by however many");
    let first = ends.verifier.recv().unwrap();
    assert!(is_urgent(&first), "it goes to the replica as it came");
    let VerifyJob::Submission { permit, .. } = first else { panic!() };
    assert_eq!(permit.lane(), Lane::Front);
    drop(permit);
    assert!(is_taken(&handle, "x", withdrawal()), "its room is free again");
    let batch: Vec<_> = ends.verifier.waiting(128).collect();
    assert_eq!(batch.iter().filter(|job| is_urgent(job)).count(), 64, "the others are not kept waiting for ever");
    assert_eq!(batch.len(), 128);
}

#[test]
fn a_call_of_nothing_but_urgent_ones_has_room_where_other_calls_have_none() {
    let (handle, ends) = Handle::new(Clocks::start());
    while arrives(&handle, LARGE_BYTES) {}
    while arrives(&handle, 1) {}
    let mixed = vec![Some(withdrawal()), Some(transaction(Vec::new()))];
    assert!(handle.permit_for_call(NodeId(1), &mixed).is_none());
    let urgent = vec![Some(withdrawal())];
    let places: Vec<_> = (0..URGENT_CALLS.each).map(|_| handle.permit_for_call(NodeId(1), &urgent).unwrap()).collect();
    assert!(handle.permit_for_call(NodeId(1), &urgent).is_none());
    let permit = handle.permit_for_call(NodeId(2), &urgent).unwrap();
    while ends.replica.waiting(1).next().is_some() {}
    let (request, submissions) = (RequestId(0), Vec::new());
    let peer = arrives(&handle, 1);
    handle.verified(Input::Forwarded { request, submissions }, permit).unwrap();
    let first = ends.replica.recv();
    assert!(peer && matches!(first, Some(Delivery::Input(Input::Forwarded { .. }, _))), "{first:?}");
    drop(places);
}
