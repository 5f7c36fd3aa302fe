#![allow(clippy::unwrap_used)]

use super::*;
use crate::ids::RaftId;

#[test]
fn golden_bytes() {
    let (membership, hash) = (Membership::new(RaftId::new(1), []), LogHash::from_bytes([9; 32]));
    let meta = SnapshotMeta { index: LogIndex(5), term: Term(2), hash, membership };
    let mut expected = vec![2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2];
    expected.extend([9; 32]);
    expected.extend([1, 0]);
    expected.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0; 12]);
    assert_eq!(meta.encode(), expected);
    assert_eq!(SnapshotMeta::decode(&expected), Ok(meta));
}
