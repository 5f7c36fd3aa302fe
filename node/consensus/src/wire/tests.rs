#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use raft::eraftpb::Entry;

use super::*;

#[test]
fn limits_hold_before_decoding() {
    let message = Message { entries: vec![Entry::default(); 5], ..Message::default() };
    let bytes = encode(&message);
    assert_eq!(decode(&bytes, 1000), Ok(message));
    assert_eq!(decode(&bytes, 9), Err(WireError::TooLarge { len: 10, max: 9 }));
    let snapshot = raft::eraftpb::Snapshot { data: vec![0; 70_000], metadata: None };
    let bytes = encode(&Message { snapshot: Some(snapshot), ..Message::default() });
    assert_eq!(decode(&bytes, 100_000), Err(WireError::SnapshotTooLarge { len: 70_004 }));
}

/// A megabyte never becomes more than eight.
#[test]
fn entries_are_as_many_as_their_bytes_justify() {
    let of = |len: usize, count| {
        let entry = Entry { data: vec![7; len], ..Entry::default() };
        decode(&encode(&Message { entries: vec![entry; count], ..Message::default() }), 8 << 20).map(drop)
    };
    assert_eq!(of(0, ENTRIES_FREE), Ok(()));
    assert_eq!(of(0, ENTRIES_FREE + 1), Err(WireError::TooManyEntries { max: ENTRIES_FREE }));
    assert!(matches!(of(0, 2_000_000), Err(WireError::TooManyEntries { .. })));
    // As small as an entry of a block is, and the most of them.
    assert_eq!(of(40, 100_000), Ok(()));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes.into(), 1000);
    }
}
