//! The leader's queue: transactions that wait for a block. Bounded by count
//! and bytes; each id is in it once. Urgent ones
//! ([`urgency`](consilium_proto::transaction::Transaction::urgency)) have a lane of their
//! own, in which everybody has a few places: nobody else's load keeps them out. They go
//! first, and take at most half of a block while others wait.

use std::collections::{BTreeSet, VecDeque};

use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::TransactionId;

use super::share::{Room, Rooms, Share, Shares};

/// Places in the lane. More stand with all the others.
pub(crate) const LANE: Rooms = Rooms {
    administrators: Room { count: 8, bytes: 1024 * 1024 },
    identity: Room { count: 4, bytes: 256 * 1024 },
    member: Room { count: 64, bytes: 1024 * 1024 },
};

/// A transaction that waits.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) checked: CheckedTransaction,
    /// Whose room it takes, if it is urgent.
    pub(crate) right_of: Option<Share>,
}

impl Queued {
    fn size(&self) -> usize {
        self.checked.transaction.size()
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Mempool {
    rights: VecDeque<Queued>,
    /// Who has which places in there.
    shares: Shares,
    queue: VecDeque<Queued>,
    bytes: usize,
    ids: BTreeSet<TransactionId>,
    count_max: usize,
    bytes_max: usize,
}

impl Mempool {
    /// An empty queue with limits, which hold for all that have no place in the lane.
    #[must_use]
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Self {
        Self {
            rights: VecDeque::new(),
            shares: Shares::new(LANE),
            queue: VecDeque::new(),
            bytes: 0,
            ids: BTreeSet::new(),
            count_max,
            bytes_max,
        }
    }

    /// Whether there is a place in the lane for an urgent one.
    #[must_use]
    pub(crate) fn has_place(&self, share: &Share, bytes: usize) -> bool {
        self.shares.has_room(share, bytes)
    }

    /// Whether it waits already.
    #[must_use]
    pub(crate) fn holds(&self, id: &TransactionId) -> bool {
        self.ids.contains(id)
    }

    /// Takes a transaction, if there is room.
    ///
    /// # Errors
    /// The transaction's id, if not.
    pub(crate) fn push(&mut self, queued: Queued) -> Result<(), TransactionId> {
        let (id, size) = (queued.checked.transaction.id, queued.size());
        if self.ids.contains(&id) {
            return Ok(());
        }
        if self.takes_right(&queued) {
            self.rights.push_back(queued);
        } else if self.queue.len() >= self.count_max || self.bytes + size > self.bytes_max {
            return Err(id);
        } else {
            self.bytes += size;
            self.queue.push_back(queued);
        }
        self.ids.insert(id);
        Ok(())
    }

    /// Whether it has a place in the lane, which it has then taken.
    fn takes_right(&mut self, queued: &Queued) -> bool {
        queued.right_of.as_ref().is_some_and(|share| self.shares.take(share, queued.size()))
    }

    /// Takes out the next block's transactions, at least one if there is one.
    pub(crate) fn cut(&mut self, count_max: usize, bytes_max: usize) -> Vec<Queued> {
        let share = if self.queue.is_empty() { 1 } else { 2 };
        let mut block = cut(&mut self.rights, (count_max.div_ceil(share), bytes_max / share), true);
        let bytes: usize = block.iter().map(Queued::size).sum();
        let room = (count_max.saturating_sub(block.len()), bytes_max.saturating_sub(bytes));
        for right in &block {
            right.right_of.iter().for_each(|share| self.shares.leave(share, right.size()));
        }
        let others = cut(&mut self.queue, room, block.is_empty());
        self.bytes -= others.iter().map(Queued::size).sum::<usize>();
        block.extend(others);
        block.iter().for_each(|queued| _ = self.ids.remove(&queued.checked.transaction.id));
        block
    }

    /// Whether anything is queued that goes first.
    pub(crate) fn holds_rights(&self) -> bool {
        !self.rights.is_empty()
    }

    /// Drops everything: this node no longer leads.
    pub(crate) fn clear(&mut self) {
        self.rights.clear();
        self.shares.clear();
        self.queue.clear();
        self.ids.clear();
        self.bytes = 0;
    }

    /// Transactions waiting in no lane, which has limits of its own.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.rights.is_empty()
    }
}

/// Takes from the front while there is room; the first one in any case, if it must be.
fn cut(queue: &mut VecDeque<Queued>, (count_max, bytes_max): (usize, usize), one_at_least: bool) -> Vec<Queued> {
    let (mut cut, mut bytes) = (Vec::new(), 0);
    while let Some(next) = queue.front() {
        bytes += next.size();
        let fits = cut.len() < count_max && bytes <= bytes_max;
        if !fits && (!one_at_least || !cut.is_empty()) {
            break;
        }
        cut.extend(queue.pop_front());
    }
    cut
}

#[cfg(test)]
mod tests;
