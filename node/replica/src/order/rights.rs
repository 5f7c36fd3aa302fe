//! Transactions by which members protect themselves ([`Transaction::is_right`]), and the
//! watch over a leader that leaves them out.
//!
//! Who gets one of a client hands it to all validators, and so does later everybody who still
//! has it: one of them may have started again since. Each of them that finds the signature
//! good and the author to be an administrator keeps it under watch: hands it to every leader,
//! and does not trust one under which it does not come into a block in time. A node goes by
//! what it has itself verified and handed over, never by what others say of the leader: so an
//! honest leader, which takes what it is given, is not deposed by lies, and one that leaves
//! rights out loses all honest nodes at once, which are more than two thirds of the power.
//!
//! It must never count against a leader what the author can cause: only a few of a member are
//! under watch, and while others of the same member come into blocks, none of it is late.
//!
//! [`Transaction::is_right`]: consilium_proto::transaction::Transaction::is_right

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::{LogIndex, RaftId};
use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::{NodeId, TimeMs, TransactionId};
use consilium_proto::names::MemberId;
use consilium_proto::pb::ForwardResult;

use crate::io::{CallId, Output};

/// Transactions of one member under watch. More wait like any other.
pub const WATCHED_PER_MEMBER_MAX: usize = 4;
/// Bytes of one member under watch, unless it is one transaction.
const WATCHED_BYTES_PER_MEMBER_MAX: usize = 512 * 1024;
/// So many others of the same member in blocks show that it is not left out: it has itself
/// filled its place in the leader's queue.
const OVERTAKEN_MAX: usize = super::mempool::RIGHTS_PER_MEMBER_MAX;
/// Pause before what a node did not take under watch is offered to it again.
const SHARE_AGAIN_MS: u64 = 500;

#[derive(Debug)]
struct Watched {
    checked: CheckedTransaction,
    member: MemberId,
    /// Under watch since then, as far as it counts against the leader.
    since_ms: u64,
    /// Others of its member that were executed meanwhile.
    overtaken: usize,
    /// What was committed when it was late: it may be in there.
    committed: Option<LogIndex>,
    /// From then on it is handed to all validators but these, who have it under watch.
    share_ms: u64,
    told: BTreeSet<NodeId>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Rights {
    patience_ms: u64,
    /// How long a leader that was late with one is not trusted.
    distrust_ms: u64,
    watched: BTreeMap<TransactionId, Watched>,
    /// The last leader that was known, whether it still is, and since when its time runs.
    leader: Option<RaftId>,
    leads: bool,
    leader_since_ms: u64,
    /// What is being handed to other validators.
    calls: BTreeMap<CallId, (NodeId, Vec<TransactionId>)>,
    /// Who is not called before.
    pauses: BTreeMap<NodeId, u64>,
}

impl Rights {
    pub(crate) fn new(patience_ms: u64, distrust_ms: u64) -> Self {
        Self {
            patience_ms,
            distrust_ms,
            watched: BTreeMap::new(),
            leader: None,
            leads: false,
            leader_since_ms: 0,
            calls: BTreeMap::new(),
            pauses: BTreeMap::new(),
        }
    }

    /// Puts a transaction of a member's administrator under watch, if there is room. Whether
    /// it is; and if so, whether it is new here.
    pub(crate) fn watch(&mut self, member: &MemberId, checked: &CheckedTransaction, now_ms: u64) -> Option<bool> {
        if self.watched.contains_key(&checked.transaction.id) {
            return Some(false);
        }
        let own = self.watched.values().filter(|watched| watched.member == *member);
        let (count, bytes) = own.fold((0, 0), |(n, bytes), own| (n + 1, bytes + own.checked.transaction.size()));
        let fits = count == 0 || bytes + checked.transaction.size() <= WATCHED_BYTES_PER_MEMBER_MAX;
        if count >= WATCHED_PER_MEMBER_MAX || !fits {
            return None;
        }
        let watched = Watched {
            checked: checked.clone(),
            member: member.clone(),
            since_ms: now_ms,
            overtaken: 0,
            committed: None,
            share_ms: now_ms.saturating_add(self.patience_ms / 2),
            told: BTreeSet::new(),
        };
        self.watched.insert(checked.transaction.id, watched);
        Some(true)
    }

    /// It came of a client: all validators are to have it.
    pub(crate) fn share(&mut self, id: &TransactionId, now_ms: u64) {
        if let Some(watched) = self.watched.get_mut(id) {
            watched.share_ms = watched.share_ms.min(now_ms);
        }
    }

    pub(crate) fn is_watched(&self, id: &TransactionId) -> bool {
        self.watched.contains_key(id)
    }

    pub(crate) fn get(&self, id: &TransactionId) -> Option<CheckedTransaction> {
        self.watched.get(id).map(|watched| watched.checked.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.watched.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// All of them: for a new leader.
    pub(crate) fn unexecuted(&self) -> Vec<CheckedTransaction> {
        self.watched.values().map(|watched| watched.checked.clone()).collect()
    }

    /// It was executed, or can never be any more.
    pub(crate) fn forget(&mut self, id: &TransactionId) {
        self.watched.remove(id);
    }

    /// Forgets what can never be executed because the ledger's time is past it.
    pub(crate) fn expire(&mut self, ledger_time: TimeMs) {
        self.watched.retain(|_, watched| watched.checked.transaction.head.valid_until >= ledger_time);
    }

    /// A right of a member is in a block.
    pub(crate) fn executed(&mut self, member: &MemberId) {
        let others = self.watched.values_mut().filter(|watched| watched.member == *member);
        others.for_each(|watched| watched.overtaken += 1);
    }

    /// Another leader gets all of the time; the same one, elected again, half of it: nobody
    /// could give it anything meanwhile.
    pub(crate) fn leadership_changed(&mut self, leader: Option<RaftId>, now_ms: u64) {
        let again = leader.is_some() && leader == self.leader;
        if again && !self.leads {
            let half = now_ms.saturating_sub(self.patience_ms / 2);
            self.leader_since_ms = self.leader_since_ms.max(half);
        } else if leader.is_some() && !again {
            self.leader = leader;
            self.leader_since_ms = now_ms;
            for watched in self.watched.values_mut() {
                (watched.since_ms, watched.committed) = (watched.since_ms.min(now_ms), None);
            }
        }
        self.leads = leader.is_some();
    }

    /// The transaction that the leader should have in a block by now, if there is one. A leader
    /// that is trusted again gets half of the time, so that all are more often of one mind.
    pub(crate) fn late(&mut self, applied: LogIndex, committed: LogIndex, now_ms: u64) -> Option<TransactionId> {
        if !self.leads {
            return None;
        }
        let mut late = None;
        for (id, watched) in &mut self.watched {
            let since_ms = watched.since_ms.max(self.leader_since_ms);
            if now_ms.saturating_sub(since_ms) <= self.patience_ms {
                watched.committed = None;
            } else if watched.overtaken >= OVERTAKEN_MAX {
                (watched.since_ms, watched.overtaken, watched.committed) = (now_ms, 0, None);
            } else if applied >= *watched.committed.get_or_insert(committed) {
                let again_ms = now_ms.saturating_add(self.distrust_ms.saturating_sub(self.patience_ms / 2));
                (watched.since_ms, watched.overtaken, watched.committed) = (again_ms, 0, None);
                watched.told.clear();
                late.get_or_insert(*id);
            }
        }
        late
    }

    /// Hands on what is to be shared, in one call to a node at a time.
    pub(crate) fn call(
        &mut self,
        nodes: impl Iterator<Item = NodeId>,
        now_ms: u64,
        next: &mut CallId,
        out: &mut Vec<Output>,
    ) {
        for to in nodes {
            let busy = self.calls.values().any(|(node, _)| *node == to);
            if busy || self.pauses.get(&to).is_some_and(|until_ms| now_ms < *until_ms) {
                continue;
            }
            let lacks = |watched: &&Watched| now_ms >= watched.share_ms && !watched.told.contains(&to);
            let lacking = self.watched.values().filter(lacks).map(|watched| watched.checked.transaction.clone());
            let transactions: Vec<_> = lacking.take(crate::forward::FORWARD_MAX).collect();
            if !transactions.is_empty() {
                let call = next.take();
                self.calls.insert(call, (to, transactions.iter().map(|transaction| transaction.id).collect()));
                out.push(Output::Forward { call, to, transactions });
            }
        }
    }

    /// A node's answer to such a call.
    pub(crate) fn answered(&mut self, call: CallId, results: &[ForwardResult], now_ms: u64) {
        let Some((node, ids)) = self.calls.remove(&call) else { return };
        let results = results.iter().copied().chain(std::iter::repeat(ForwardResult::Unspecified));
        self.pauses.remove(&node);
        for (id, result) in ids.iter().zip(results) {
            match result {
                ForwardResult::Queued | ForwardResult::Watched => {
                    self.watched.get_mut(id).into_iter().for_each(|watched| _ = watched.told.insert(node));
                }
                ForwardResult::Unspecified
                | ForwardResult::Overloaded
                | ForwardResult::NotLeader
                | ForwardResult::Invalid => {
                    self.pauses.insert(node, now_ms + SHARE_AGAIN_MS);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
