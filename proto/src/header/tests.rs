#![allow(clippy::unwrap_used)]

use super::*;

fn header() -> Header {
    let h = |b| Hash::from_bytes([b; 32]);
    Header {
        ledger_id: LedgerId::from_bytes([1; 32]),
        height: Height(2),
        previous_hash: HeaderHash::from_bytes([3; 32]),
        time: TimeMs(4),
        epoch: Epoch(5),
        tree_size: 6,
        tree_root: h(7),
        state_root: h(8),
        validators_hash: h(9),
        next_validators_hash: h(10),
        proposer: NodeId(11),
        log_hash: h(12),
    }
}

#[test]
fn layout_is_golden() {
    let layout = header().layout();
    assert_eq!(&layout[..32], &[1; 32]);
    assert_eq!(&layout[32..40], &[0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(&layout[224..232], &[0, 0, 0, 0, 0, 0, 0, 11]);
    assert_eq!(&layout[232..], &[12; 32]);
    assert_eq!(
        hex::encode(header().hash().as_bytes()),
        "986894cc025be093d8c92268b4dd45ea5aa9c432c60af68a22a542df69c8d162"
    );
}

#[test]
fn header_round_trips_and_every_field_is_hashed() {
    let h = header();
    assert_eq!(Header::try_from(&pb::Header::from(&h)).unwrap(), h);
    let base = h.layout();
    for i in 0..base.len() {
        let mut other = base;
        other[i] ^= 1;
        assert_ne!(other, base);
    }
}

#[test]
fn leaf_round_trips_and_refuses_unknown_outcomes() {
    let leaf = Leaf {
        transaction_id: TransactionId::from_bytes([9; 32]),
        height: Height(77),
        outcome: pb::Outcome::Expired,
        signature_hash: Hash::from_bytes([8; 32]),
    };
    assert_eq!(Leaf::from_entry(&leaf.entry()).unwrap(), leaf);
    let mut entry = leaf.entry();
    entry[43] = 200;
    assert!(Leaf::from_entry(&entry).is_err());
    entry[43] = 0;
    assert!(Leaf::from_entry(&entry).is_err());
}
