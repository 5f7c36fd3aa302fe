#![allow(clippy::unwrap_used)]

use super::*;
use crate::ids::RaftId;

#[test]
fn golden_bytes() {
    let meta = SnapshotMeta { index: LogIndex(5), term: Term(2), membership: Membership::new(RaftId::new(1), []) };
    let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0];
    expected.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0; 12]);
    assert_eq!(meta.encode(), expected);
    assert_eq!(SnapshotMeta::decode(&expected), Ok(meta));
}
