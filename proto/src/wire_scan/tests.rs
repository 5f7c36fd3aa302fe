#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::pb;

#[test]
fn fields_come_in_order_and_whole() {
    let transactions = vec![pb::SignedTransaction { signature: Bytes::from_static(b"body"), ..Default::default() }; 2];
    let proposal = pb::BlockProposal { time_ms: 1 << 40, proposer: 3, transactions, ..Default::default() };
    let bytes = proposal.encode_to_vec();
    let inner = proposal.transactions[0].encode_to_vec();
    let expected =
        [(1, Value::Varint(1 << 40)), (2, Value::Varint(3)), (3, Value::Bytes(&inner)), (3, Value::Bytes(&inner))];
    assert_eq!(fields(&bytes).collect::<Result<Vec<_>, _>>().unwrap(), expected);
    assert_eq!(fields(&[0x0d, 1, 2, 3, 4]).collect::<Vec<_>>(), [Ok((1, Value::Fixed))]);
}

#[test]
fn what_is_cut_off_ends_with_an_error() {
    for bytes in [&[0x80_u8][..], &[0x08], &[0x1a, 2, 0], &[0x09, 1], &[0x0b], &[0x08, 0x80]] {
        assert_eq!(fields(bytes).collect::<Vec<_>>(), [Err(Malformed)], "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(fields(&bytes).count() <= bytes.len());
    }
}
