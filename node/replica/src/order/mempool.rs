//! The leader's queue: transactions that wait for a block. Bounded by count
//! and bytes; each id is in it once.

use std::collections::{BTreeSet, VecDeque};

use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::TransactionId;

/// The queue.
#[derive(Debug)]
pub(crate) struct Mempool {
    queue: VecDeque<CheckedTransaction>,
    ids: BTreeSet<TransactionId>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Mempool {
    /// An empty queue with limits.
    #[must_use]
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { queue: VecDeque::new(), ids: BTreeSet::new(), bytes: 0, count_max, bytes_max }
    }

    /// Takes a transaction; `false` if the queue is full.
    #[must_use]
    pub(crate) fn push(&mut self, checked: CheckedTransaction) -> bool {
        let size = checked.transaction.size();
        if self.ids.contains(&checked.transaction.id) {
            return true;
        }
        if self.queue.len() >= self.count_max || self.bytes + size > self.bytes_max {
            return false;
        }
        self.ids.insert(checked.transaction.id);
        self.bytes += size;
        self.queue.push_back(checked);
        true
    }

    /// Takes out the next block's transactions, at least one if there is one.
    pub(crate) fn cut(&mut self, count_max: usize, bytes_max: usize) -> Vec<CheckedTransaction> {
        let mut block = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            let size = next.transaction.size();
            if block.len() >= count_max || (!block.is_empty() && bytes + size > bytes_max) {
                break;
            }
            let Some(next) = self.queue.pop_front() else { break };
            self.ids.remove(&next.transaction.id);
            self.bytes -= size;
            bytes += size;
            block.push(next);
        }
        block
    }

    /// Drops everything: this node no longer leads.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.ids.clear();
        self.bytes = 0;
    }

    /// Transactions waiting.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use consilium_proto::ids::{Fingerprint, TimeMs};
    use consilium_proto::transaction::Transaction;

    fn transaction(id: u8, bytes: usize) -> CheckedTransaction {
        let transaction = Transaction {
            id: TransactionId::from_bytes([id; 32]),
            author: Fingerprint::from_bytes([0; 32]),
            signature: [0; 64],
            body: Bytes::from(vec![0; bytes]),
            valid_until: TimeMs(0),
            actions: Vec::new(),
            attachments: Vec::new(),
        };
        CheckedTransaction { transaction, verified_under: None }
    }

    fn ids(block: &[CheckedTransaction]) -> Vec<u8> {
        block.iter().map(|t| t.transaction.id.as_bytes()[0]).collect()
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
}
