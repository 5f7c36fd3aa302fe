//! How much is read for a stream at a time.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;

use super::*;

fn block(bytes: usize) -> impl Fn(Height) -> Result<(Height, pb::Block), StorageError> {
    move |height| {
        let withheld =
            pb::WithheldTransaction { transaction_id: vec![0; bytes].into(), signature_sha256: Bytes::new() };
        let transaction = pb::ExecutedTransaction { withheld: Some(withheld), ..Default::default() };
        Ok((height, pb::Block { transactions: vec![transaction], ..pb::Block::default() }))
    }
}

fn heights(read: Vec<(Height, pb::Block)>) -> Vec<u64> {
    read.into_iter().map(|(height, _)| height.0).collect()
}

#[test]
fn small_blocks_are_read_together_and_large_ones_alone() {
    let few = heights(some(3..=5, block(10)).unwrap());
    assert_eq!(few, [3, 4, 5]);
    let many = heights(some(3..=1_000, block(10)).unwrap());
    assert_eq!((many.len(), many.first(), many.last()), (BLOCKS_AT_ONCE, Some(&3), Some(&18)));
    assert_eq!(heights(some(3..=1_000, block(BYTES_AT_ONCE)).unwrap()), [3], "one always");
    assert_eq!(heights(some(3..=1_000, block(BYTES_AT_ONCE / 2)).unwrap()), [3, 4]);
    assert!(some(3..=5, |_| Err::<(Height, pb::Block), _>(StorageError::corrupt("block", "absent"))).is_err());
}
