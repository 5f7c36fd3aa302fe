//! Urgent transactions ([`Transaction::urgency`]), which a leader must not leave out, and the
//! watch over one that does.
//!
//! Who gets one of a client hands it to all validators, and so does later everybody who still
//! has it: one of them may have started again since. Each of them that finds the signature
//! good and the author to have a say in such matters keeps it under watch: hands it to every
//! leader, and does not trust one under which it does not come into a block in time. A node goes by
//! what it has itself verified and handed over, never by what others say of the leader: so an
//! honest leader, which takes what it is given, is not deposed by lies, and one that leaves
//! rights out loses all honest nodes at once, which are more than two thirds of the power.
//!
//! It must never count against a leader what the author can cause: only a few of each are under
//! watch, and while so many others of the same author come into blocks that its place in the
//! leader's lane may have been taken, none of it is late.
//!
//! [`Transaction::urgency`]: consilium_proto::transaction::Transaction::urgency

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::{LogIndex, RaftId};
use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::{NodeId, TimeMs, TransactionId};
use consilium_proto::pb::ForwardResult;

use super::mempool::LANE;
use super::share::{Room, Rooms, Share, Shares};
use crate::io::{CallId, Output};

/// Transactions under watch of the administrators of one member. More wait like any other.
pub const WATCHED_OF_ADMINISTRATORS_MAX: usize = 4;
/// Transactions of all others of a member.
const WATCHED_OF_OTHERS_MAX: usize = 16;
/// Transactions of one member in all.
pub const WATCHED_PER_MEMBER_MAX: usize = WATCHED_OF_ADMINISTRATORS_MAX + WATCHED_OF_OTHERS_MAX;
const WATCH: Rooms = Rooms {
    administrators: Room { count: WATCHED_OF_ADMINISTRATORS_MAX, bytes: 512 * 1024 },
    identity: Room { count: 2, bytes: 128 * 1024 },
    member: Room { count: WATCHED_OF_OTHERS_MAX, bytes: 512 * 1024 },
};
/// Pause before what a node did not take under watch is offered to it again.
const SHARE_AGAIN_MS: u64 = 500;

#[derive(Debug)]
struct Watched {
    checked: CheckedTransaction,
    share: Share,
    /// Under watch since then, as far as it counts against the leader.
    since_ms: u64,
    /// What was executed meanwhile of those who share its place in a leader's lane.
    overtaken: Overtaken,
    /// What was committed when it was late: it may be in there.
    committed: Option<LogIndex>,
    /// From then on it is handed to all validators but these, who have it under watch.
    share_ms: u64,
    told: BTreeSet<NodeId>,
}

/// Others that came into blocks: if they could fill the room, it is not left out.
#[derive(Debug, Clone, Copy, Default)]
struct Overtaken {
    /// Of the same share.
    own: usize,
    /// Of all of the member's people.
    member: usize,
}

impl Overtaken {
    fn fills(self, share: &Share) -> bool {
        match share {
            Share::Administrators(_) => self.own >= LANE.administrators.count,
            Share::Identity(_) => self.own >= LANE.identity.count || self.member >= LANE.member.count,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Rights {
    patience_ms: u64,
    /// How long a leader that was late with one is not trusted.
    distrust_ms: u64,
    watched: BTreeMap<TransactionId, Watched>,
    shares: Shares,
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
            shares: Shares::new(WATCH),
            leader: None,
            leads: false,
            leader_since_ms: 0,
            calls: BTreeMap::new(),
            pauses: BTreeMap::new(),
        }
    }

    /// Puts an urgent transaction under watch, if there is room. Whether it is; and if so,
    /// whether it is new here.
    pub(crate) fn watch(&mut self, share: &Share, checked: &CheckedTransaction, now_ms: u64) -> Option<bool> {
        if self.watched.contains_key(&checked.transaction.id) {
            return Some(false);
        }
        if !self.shares.take(share, checked.transaction.size()) {
            return None;
        }
        let watched = Watched {
            checked: checked.clone(),
            share: share.clone(),
            since_ms: now_ms,
            overtaken: Overtaken::default(),
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
        if let Some(watched) = self.watched.remove(id) {
            self.shares.leave(&watched.share, watched.checked.transaction.size());
        }
    }

    /// Forgets what can never be executed because the ledger's time is past it.
    pub(crate) fn expire(&mut self, ledger_time: TimeMs) {
        let over = |watched: &Watched| watched.checked.transaction.head.valid_until < ledger_time;
        let expired: Vec<_> = self.watched.iter().filter(|(_, watched)| over(watched)).map(|(id, _)| *id).collect();
        expired.iter().for_each(|id| self.forget(id));
    }

    /// An urgent transaction is in a block.
    pub(crate) fn executed(&mut self, share: &Share) {
        for watched in self.watched.values_mut() {
            watched.overtaken.own += usize::from(watched.share == *share);
            watched.overtaken.member += usize::from(watched.share.is_beside(share));
        }
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
            } else if watched.overtaken.fills(&watched.share) {
                (watched.since_ms, watched.overtaken, watched.committed) = (now_ms, Overtaken::default(), None);
            } else if applied >= *watched.committed.get_or_insert(committed) {
                let again_ms = now_ms.saturating_add(self.distrust_ms.saturating_sub(self.patience_ms / 2));
                (watched.since_ms, watched.overtaken, watched.committed) = (again_ms, Overtaken::default(), None);
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
                | ForwardResult::OverQuota
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
