use super::*;
use crate::fixture::{number, transaction};

fn ids(block: &[CheckedTransaction]) -> Vec<u16> {
    block.iter().map(|t| number(&t.transaction.id)).collect()
}

#[test]
fn limits_hold_and_repeats_are_taken_once() {
    let mut pool = Mempool::new(2, 10_000);
    assert!(pool.push(transaction(1, 10)) && pool.push(transaction(1, 10)) && pool.push(transaction(2, 10)));
    assert!(!pool.push(transaction(3, 10)));
    assert_eq!(pool.len(), 2);
    assert_eq!(ids(&pool.cut(10, 10_000)), [1, 2]);
    assert!(pool.push(transaction(1, 10)), "what was cut may come again");
    pool.clear();
    assert!(pool.is_empty());
    assert!(!pool.push(transaction(4, 20_000)), "too large for the whole queue");
}

#[test]
fn a_block_is_cut_by_count_and_bytes_and_is_never_empty() {
    let mut pool = Mempool::new(10, 1 << 20);
    (1..=4).for_each(|id| assert!(pool.push(transaction(id, 1_000))));
    assert_eq!(ids(&pool.cut(1, 1 << 20)), [1]);
    assert_eq!(ids(&pool.cut(10, 1)), [2]);
    assert_eq!(ids(&pool.cut(10, 1 << 20)), [3, 4]);
    assert!(pool.cut(10, 1 << 20).is_empty());
}
