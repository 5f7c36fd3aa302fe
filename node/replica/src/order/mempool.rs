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
mod tests;
