//! Handing transactions to the leader, while this node is not it. What cannot be
//! handed over stays with those who wait for it and is tried again, until their
//! deadline or another leader. Urgent ones go first, and in calls of their own: they wait
//! neither for room in a call nor for the answer to one.

use std::collections::{BTreeMap, VecDeque};

use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::{NodeId, TransactionId};
use consilium_proto::pb::ForwardResult;

use crate::io::{CallId, Output};

/// Transactions handed over in one call.
pub const FORWARD_MAX: usize = 256;
/// Bytes handed over in one call, unless one transaction is larger.
const BYTES_MAX: usize = consilium_proto::limits::FORWARD_BATCH_BYTES;
/// Calls under way.
const CALLS_MAX: usize = 8;
/// Calls with urgent ones that are under way besides.
pub const URGENT_CALLS_MAX: usize = 2;
/// Pause before what was not taken is offered again.
const RETRY_MS: u64 = 100;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    urgent: Lane,
    others: Lane,
    again: VecDeque<(u64, CheckedTransaction)>,
}

/// Transactions that wait, and those in calls.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<CheckedTransaction>,
    calls: BTreeMap<CallId, Vec<CheckedTransaction>>,
}

impl Forwarding {
    /// A transaction for the leader.
    pub(crate) fn push(&mut self, transaction: CheckedTransaction) {
        let lane = match transaction.transaction.urgency() {
            Some(_) => &mut self.urgent,
            None => &mut self.others,
        };
        lane.queue.push_back(transaction);
    }

    /// A transaction that the leader had no room for, and that is offered again.
    pub(crate) fn later(&mut self, transaction: CheckedTransaction, now_ms: u64) {
        self.again.push_back((now_ms + RETRY_MS, transaction));
    }

    /// Another leader, or none: what waits is sent again from where it is kept.
    pub(crate) fn clear(&mut self) {
        self.urgent.queue.clear();
        self.others.queue.clear();
        self.again.clear();
    }

    /// Begins calls.
    pub(crate) fn call(&mut self, leader: NodeId, next: &mut CallId, out: &mut Vec<Output>) {
        self.urgent.call(URGENT_CALLS_MAX, leader, next, out);
        self.others.call(CALLS_MAX, leader, next, out);
    }

    /// The leader's answer; returns the transactions that it does not take, and whether that is
    /// for their author's quota or for want of room.
    pub(crate) fn answered(
        &mut self,
        call: CallId,
        results: &[ForwardResult],
        now_ms: u64,
    ) -> Vec<(TransactionId, bool)> {
        let batch = self.urgent.calls.remove(&call).or_else(|| self.others.calls.remove(&call)).unwrap_or_default();
        let mut refused = Vec::new();
        let results = results.iter().copied().chain(std::iter::repeat(ForwardResult::Unspecified));
        for (checked, result) in batch.into_iter().zip(results) {
            match result {
                ForwardResult::Queued => {}
                ForwardResult::Overloaded => refused.push((checked.transaction.id, false)),
                ForwardResult::OverQuota => refused.push((checked.transaction.id, true)),
                ForwardResult::NotLeader
                | ForwardResult::Watched
                | ForwardResult::Invalid
                | ForwardResult::Unspecified => self.later(checked, now_ms),
            }
        }
        refused
    }

    /// What is to be offered again now.
    pub(crate) fn due(&mut self, now_ms: u64) -> Vec<CheckedTransaction> {
        let count = self.again.iter().take_while(|(due, _)| *due <= now_ms).count();
        self.again.drain(..count).map(|(_, checked)| checked).collect()
    }
}

impl Lane {
    fn call(&mut self, calls_max: usize, leader: NodeId, next: &mut CallId, out: &mut Vec<Output>) {
        while self.calls.len() < calls_max && !self.queue.is_empty() {
            let batch = self.cut();
            let transactions = batch.iter().map(|checked| checked.transaction.clone()).collect();
            let call = next.take();
            self.calls.insert(call, batch);
            out.push(Output::Forward { call, to: leader, transactions });
        }
    }

    fn cut(&mut self) -> Vec<CheckedTransaction> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < FORWARD_MAX && bytes < BYTES_MAX {
            let Some(next) = self.queue.pop_front() else { break };
            bytes += next.transaction.size();
            batch.push(next);
        }
        batch
    }
}

#[cfg(test)]
mod tests;
