#![allow(clippy::unwrap_used)]

use tonic::Code;

use super::*;

#[test]
fn a_node_has_a_few_calls_under_way_and_no_more() {
    let calls = Calls::default();
    let mut under_way: Vec<_> = (0..CALLS_MAX).map(|_| calls.admit(NodeId(1)).unwrap()).collect();
    assert_eq!(calls.admit(NodeId(1)).unwrap_err().code(), Code::ResourceExhausted);
    let _other = calls.admit(NodeId(2)).unwrap();
    // The service holds on to what the request's own copy let go.
    let kept = under_way.pop().unwrap();
    drop(kept.clone());
    assert!(calls.admit(NodeId(1)).is_err());
    drop(kept);
    assert!(calls.admit(NodeId(1)).is_ok());
}
