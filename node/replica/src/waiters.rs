//! Those who wait for transactions that came in here. Each transaction is kept
//! beside those who wait for it, so that a change of leader sends it again instead
//! of failing them; that is safe because it executes once.
//!
//! How many may wait is bounded, and who goes away makes room at once. Who waits for an urgent one has room of its own, which no
//! ordinary load takes away.

use std::collections::{BTreeMap, BTreeSet};

use consilium_ledger::CheckedTransaction;
use consilium_proto::header::Leaf;
use consilium_proto::ids::{Height, TimeMs, TransactionId};

use crate::io::{Output, RequestId};
use crate::order::share::{Room, Rooms, Share, Shares};
use crate::submission::{Located, Refused, WaitFor};

/// Room of those who wait for urgent ones.
pub(crate) const RESERVED: Rooms = Rooms {
    administrators: Room { count: 16, bytes: 2 * 1024 * 1024 },
    identity: Room { count: 8, bytes: 512 * 1024 },
    member: Room { count: 128, bytes: 2 * 1024 * 1024 },
};

/// Requests that may pass between one that its sender has left and its coming here: more are never
/// on their way.
const GONE_KEPT: u64 = 65_536;

/// Room that a waiter has: with all the others, or of its own and for so many bytes.
pub(crate) type Reserved = Option<(Share, usize)>;

#[derive(Debug)]
struct Waiter {
    request: RequestId,
    wait_for: WaitFor,
    deadline_ms: u64,
    reserved: Reserved,
}

#[derive(Debug)]
struct Pending {
    transaction: CheckedTransaction,
    waiters: Vec<Waiter>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Waiters {
    pending: BTreeMap<TransactionId, Pending>,
    uncertified: BTreeMap<Height, Vec<(Located, Waiter)>>,
    /// Waiters in both, but those with room of their own.
    count: usize,
    count_max: usize,
    reserved: Shares,
    /// Whose senders left before they came here.
    gone: BTreeSet<RequestId>,
    /// The newest request that came here.
    newest: RequestId,
}

impl Waiters {
    /// Nobody waits; so many may.
    pub(crate) fn new(count_max: usize) -> Self {
        Self {
            pending: BTreeMap::new(),
            uncertified: BTreeMap::new(),
            count: 0,
            count_max,
            reserved: Shares::new(RESERVED),
            gone: BTreeSet::new(),
            newest: RequestId(0),
        }
    }

    /// Whether no more may wait among all the others.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= self.count_max
    }

    /// Room for somebody who waits for a transaction of so many bytes, urgent if it has a share:
    /// to be given to [`Self::wait`]. `None` if there is none.
    pub(crate) fn room(&mut self, share: Option<Share>, bytes: usize) -> Option<Reserved> {
        match share.filter(|share| self.reserved.take(share, bytes)) {
            Some(share) => Some(Some((share, bytes))),
            None => (!self.is_full()).then_some(None),
        }
    }

    /// Somebody waits for a transaction that was not executed yet. Returns it if it
    /// is new here and must be sent.
    pub(crate) fn wait(
        &mut self,
        transaction: CheckedTransaction,
        (request, wait_for, deadline_ms): (RequestId, WaitFor, u64),
        reserved: Reserved,
    ) -> Option<CheckedTransaction> {
        self.count += usize::from(reserved.is_none());
        let waiter = Waiter { request, wait_for, deadline_ms, reserved };
        if let Some(pending) = self.pending.get_mut(&transaction.transaction.id) {
            pending.waiters.push(waiter);
            return None;
        }
        let pending = Pending { transaction: transaction.clone(), waiters: vec![waiter] };
        self.pending.insert(transaction.transaction.id, pending);
        Some(transaction)
    }

    /// Somebody waits for the certificate of an executed transaction.
    pub(crate) fn wait_certified(&mut self, located: Located, (request, deadline_ms): (RequestId, u64)) {
        let waiter = Waiter { request, wait_for: WaitFor::Certified, deadline_ms, reserved: None };
        self.count += 1;
        self.uncertified.entry(located.height).or_default().push((located, waiter));
    }

    /// Whether somebody waits for a transaction's execution.
    pub(crate) fn is_awaited(&self, id: &TransactionId) -> bool {
        self.pending.contains_key(id)
    }

    /// One that somebody waits for.
    pub(crate) fn get(&self, id: &TransactionId) -> Option<CheckedTransaction> {
        self.pending.get(id).map(|pending| pending.transaction.clone())
    }

    /// Transactions that somebody still waits for: to be sent to a new leader.
    pub(crate) fn unanswered(&self) -> Vec<CheckedTransaction> {
        self.pending.values().map(|pending| pending.transaction.clone()).collect()
    }

    /// A leaf of an executed block.
    pub(crate) fn executed(&mut self, leaf: &Leaf, certified: Height, out: &mut Vec<Output>) {
        let Some(pending) = self.pending.remove(&leaf.transaction_id) else { return };
        let located = Located { height: leaf.height, outcome: leaf.outcome };
        for waiter in pending.waiters {
            if waiter.wait_for == WaitFor::Ordered || leaf.height <= certified {
                self.answer(&waiter, Ok(located), out);
            } else {
                self.uncertified.entry(leaf.height).or_default().push((located, waiter));
            }
        }
    }

    /// Everything up to `height` is certified.
    pub(crate) fn certified(&mut self, height: Height, out: &mut Vec<Output>) {
        let open = self.uncertified.split_off(&height.next());
        for (located, waiter) in std::mem::replace(&mut self.uncertified, open).into_values().flatten() {
            self.answer(&waiter, Ok(located), out);
        }
    }

    /// Ends the wait for a transaction.
    pub(crate) fn refuse(&mut self, id: &TransactionId, why: Refused, out: &mut Vec<Output>) {
        let Some(pending) = self.pending.remove(id) else { return };
        for waiter in pending.waiters {
            self.answer(&waiter, Err(why), out);
        }
    }

    /// Somebody's transaction came here; whether the sender still waits for it.
    pub(crate) fn is_there(&mut self, request: RequestId) -> bool {
        self.newest = self.newest.max(request);
        !self.gone.remove(&request)
    }

    /// Those who made these requests wait no more. A transaction that nobody else waits for is not
    /// sent again; it may be in a block already.
    pub(crate) fn leave(&mut self, requests: Vec<RequestId>) {
        let mut gone: BTreeSet<_> = requests.into_iter().collect();
        let mut left = Vec::new();
        let is_gone = |waiter: &mut Waiter| gone.remove(&waiter.request);
        self.take_out(is_gone, &mut left);
        left.iter().for_each(|waiter| self.make_room(waiter));
        // Of those that are not here some were answered just now, the others are on their way.
        self.gone.extend(gone);
        let oldest = RequestId(self.newest.0.saturating_sub(GONE_KEPT));
        while self.gone.first().is_some_and(|request| *request < oldest) {
            self.gone.pop_first();
        }
    }

    /// Takes out the waiters that `which` names.
    fn take_out(&mut self, mut which: impl FnMut(&mut Waiter) -> bool, taken: &mut Vec<Waiter>) {
        self.pending.retain(|_, pending| {
            taken.extend(pending.waiters.extract_if(.., &mut which));
            !pending.waiters.is_empty()
        });
        self.uncertified.retain(|_, waiting| {
            taken.extend(waiting.extract_if(.., |(_, waiter)| which(waiter)).map(|(_, waiter)| waiter));
            !waiting.is_empty()
        });
    }

    /// Ends the waits that are over: whose deadline has come, and for what can never
    /// be executed any more because the ledger's time is past it. A node that took
    /// blocks over from a peer learns only so of what expired in them: they hold what
    /// was executed.
    pub(crate) fn expire(&mut self, now_ms: u64, ledger_time: TimeMs, out: &mut Vec<Output>) {
        let over = |pending: &Pending| pending.transaction.transaction.head.valid_until < ledger_time;
        let expired = self.pending.iter().filter(|(_, pending)| over(pending)).map(|(id, _)| *id);
        for id in expired.collect::<Vec<_>>() {
            self.refuse(&id, Refused::Expired, out);
        }
        let mut late = Vec::new();
        self.take_out(|waiter| waiter.deadline_ms <= now_ms, &mut late);
        late.iter().for_each(|waiter| self.answer(waiter, Err(Refused::TimedOut), out));
    }

    fn answer(&mut self, waiter: &Waiter, result: Result<Located, Refused>, out: &mut Vec<Output>) {
        self.make_room(waiter);
        out.push(Output::Answer { request: waiter.request, result });
    }

    fn make_room(&mut self, waiter: &Waiter) {
        match &waiter.reserved {
            Some((share, bytes)) => self.reserved.leave(share, *bytes),
            None => self.count -= 1,
        }
    }

    /// Those who wait among all the others.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests;
