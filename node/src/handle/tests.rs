#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::task::{Context, Poll, Waker};

use consilium_proto::limits::PEER_MESSAGE_BYTES_MAX;

use super::*;

/// Whether a peer's batch of so many bytes gets through at once.
fn arrives(handle: &Handle, bytes: usize) -> bool {
    let batch = std::pin::pin!(handle.peer(NodeId(1), vec![PeerMessage::Raft(Bytes::from_static(&LARGE[..bytes]))]));
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
    assert!(ends.replica.recv().is_ok(), "the replica takes one");
    assert!(arrives(&handle, LARGE_BYTES));
    while ends.replica.try_recv().is_ok() {}
    assert!((0..BATCHES_MAX).all(|_| arrives(&handle, 1)));
    assert!(!arrives(&handle, 1));
}

#[test]
fn transactions_for_the_leader_are_refused_without_room() {
    let (handle, _ends) = Handle::new(Clocks::start());
    while arrives(&handle, LARGE_BYTES) {}
    while arrives(&handle, 1) {}
    let forwarded = std::pin::pin!(handle.forwarded(vec![None; 2]));
    let answer = forwarded.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Ok(results)) if results == [ForwardResult::Overloaded; 2]));
}
