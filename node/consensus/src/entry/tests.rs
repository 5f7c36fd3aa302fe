#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::ids::RaftId;

fn entry(kind: EntryKind) -> LogEntry {
    let seal = RaftId::new(0x0405).map(|leader| Seal { leader, signature: [8; 64] });
    LogEntry { term: Term(3), index: LogIndex(0x0102), kind, hash: LogHash::from_bytes([9; 32]), seal }
}

#[test]
fn golden_bytes() {
    let head = |tag: u8| {
        let (index, term, leader) = ([0, 0, 0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 0, 0, 4, 5]);
        [&[3, tag], &index[..], &term, &[9; 32], &leader, &[8; 64]].concat()
    };
    let normal = entry(EntryKind::Normal(Bytes::from_static(b"ab")));
    assert_eq!(normal.encode(), [head(1), b"ab".to_vec()].concat());
    assert_eq!(entry(EntryKind::ConfChange(Bytes::new())).encode(), head(2));
    assert_eq!(entry(EntryKind::Empty).encode(), head(3));
    let unsealed = LogEntry { seal: None, ..normal };
    let bytes = unsealed.encode();
    assert_eq!((bytes.len(), &bytes[50..122]), (124, [0; 72].as_slice()));
    assert_eq!(LogEntry::decode(&bytes), Ok(unsealed));
}

#[test]
fn refuses_what_no_leader_writes() {
    let mut bytes = entry(EntryKind::Empty).encode().to_vec();
    bytes[1] = TAG_NORMAL;
    assert_eq!(LogEntry::decode(&bytes.clone().into()), Err(DecodeError::Truncated { missing: 1 }));
    bytes[1] = 9;
    assert_eq!(LogEntry::decode(&bytes.clone().into()), Err(DecodeError::Tag { found: 9 }));
    bytes[0] = 1;
    assert_eq!(LogEntry::decode(&bytes.into()), Err(DecodeError::Version { found: 1 }));
    assert_eq!(LogEntry::decode(&Bytes::from_static(&[3, 1, 0])), Err(DecodeError::Truncated { missing: 7 }));
}

/// Another implementation of the same words: SHA-256 of a sequence that is written out.
#[test]
fn a_hash_commits_to_all_of_an_entry_and_to_the_one_before() {
    let before = LogHash::from_bytes([5; 32]);
    let normal = EntryKind::Normal(Bytes::from_static(b"ab"));
    let bytes = [
        b"consilium/log-entry/v1".as_slice(),
        &[5; 32],
        &[0, 0, 0, 0, 0, 0, 0, 3],
        &[0, 0, 0, 0, 0, 0, 1, 2],
        &[1],
        b"ab",
    ];
    let expected = LogHash::from_bytes(sha256(&[&bytes.concat()]));
    let link =
        |before: &LogHash, term, index, kind: &EntryKind| LogEntry::link(before, Term(term), LogIndex(index), kind);
    assert_eq!(link(&before, 3, 0x0102, &normal), expected);
    let others = [
        link(&LogHash::NONE, 3, 0x0102, &normal),
        link(&before, 4, 0x0102, &normal),
        link(&before, 3, 0x0103, &normal),
        link(&before, 3, 0x0102, &EntryKind::Normal(Bytes::from_static(b"ac"))),
        link(&before, 3, 0x0102, &EntryKind::ConfChange(Bytes::from_static(b"ab"))),
        link(&before, 3, 0x0102, &EntryKind::Empty),
    ];
    assert!(others.iter().all(|other| *other != expected));
}

proptest! {
    #[test]
    fn round_trip(term: u64, index: u64, data in proptest::collection::vec(any::<u8>(), 1..64)) {
        for kind in [
            EntryKind::Normal(data.clone().into()),
            EntryKind::ConfChange(data.clone().into()),
            EntryKind::Empty,
        ] {
            let entry = LogEntry::new(&LogHash::NONE, Term(term), LogIndex(index), kind);
            prop_assert_eq!(LogEntry::decode(&entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn decode_is_total_and_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..192)) {
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
        }
        let bytes = Bytes::from(bytes);
        if let Ok(entry) = LogEntry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }
}
