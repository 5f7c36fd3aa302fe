#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use raft::eraftpb::Entry;

use super::*;

#[test]
fn limits_hold_before_decoding() {
    let message = Message { entries: vec![Entry::default(); 5], ..Message::default() };
    let bytes = encode(&message);
    assert_eq!(decode(&bytes, 1000, 5), Ok(message));
    assert_eq!(decode(&bytes, 1000, 4), Err(WireError::TooManyEntries { max: 4 }));
    assert_eq!(decode(&bytes, 9, 5), Err(WireError::TooLarge { len: 10, max: 9 }));
    let snapshot = raft::eraftpb::Snapshot { data: vec![0; 70_000], metadata: None };
    let bytes = encode(&Message { snapshot: Some(snapshot), ..Message::default() });
    assert_eq!(decode(&bytes, 100_000, 5), Err(WireError::SnapshotTooLarge { len: 70_004 }));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes.into(), 1000, 10);
    }
}
