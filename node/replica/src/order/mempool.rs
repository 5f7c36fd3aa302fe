//! The leader's queue: transactions that wait for a block. Bounded by count
//! and bytes; each id is in it once. Those by which members protect themselves
//! have a lane of their own, in which each member has a few places: nobody else's
//! load keeps them out. They go first, and take at most half of a block while
//! others wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::TransactionId;
use consilium_proto::names::MemberId;

/// Places of one member in the lane of rights. More stand with all the others.
pub(crate) const RIGHTS_PER_MEMBER_MAX: usize = 8;
/// Bytes of one member there, unless it is one transaction.
const RIGHTS_BYTES_PER_MEMBER_MAX: usize = 1024 * 1024;

/// A transaction that waits.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) checked: CheckedTransaction,
    /// The member that protects itself by it.
    pub(crate) right_of: Option<MemberId>,
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
    /// Count and bytes of each member in there.
    of_member: BTreeMap<MemberId, (usize, usize)>,
    queue: VecDeque<Queued>,
    bytes: usize,
    ids: BTreeSet<TransactionId>,
    count_max: usize,
    bytes_max: usize,
}

impl Mempool {
    /// An empty queue with limits, which hold for all that are no rights.
    #[must_use]
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Self {
        Self {
            rights: VecDeque::new(),
            of_member: BTreeMap::new(),
            queue: VecDeque::new(),
            bytes: 0,
            ids: BTreeSet::new(),
            count_max,
            bytes_max,
        }
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

    /// Whether it has a place in the lane of rights, which it has then taken.
    fn takes_right(&mut self, queued: &Queued) -> bool {
        let Some(member) = &queued.right_of else { return false };
        let (count, bytes) = self.of_member.get(member).copied().unwrap_or_default();
        let fits = count == 0 || bytes + queued.size() <= RIGHTS_BYTES_PER_MEMBER_MAX;
        if count >= RIGHTS_PER_MEMBER_MAX || !fits {
            return false;
        }
        self.of_member.insert(member.clone(), (count + 1, bytes + queued.size()));
        true
    }

    /// Takes out the next block's transactions, at least one if there is one.
    pub(crate) fn cut(&mut self, count_max: usize, bytes_max: usize) -> Vec<Queued> {
        let share = if self.queue.is_empty() { 1 } else { 2 };
        let mut block = cut(&mut self.rights, (count_max.div_ceil(share), bytes_max / share), true);
        let bytes: usize = block.iter().map(Queued::size).sum();
        let room = (count_max.saturating_sub(block.len()), bytes_max.saturating_sub(bytes));
        for right in &block {
            self.leave_lane(right);
        }
        let others = cut(&mut self.queue, room, block.is_empty());
        self.bytes -= others.iter().map(Queued::size).sum::<usize>();
        block.extend(others);
        block.iter().for_each(|queued| _ = self.ids.remove(&queued.checked.transaction.id));
        block
    }

    fn leave_lane(&mut self, right: &Queued) {
        let Some(member) = &right.right_of else { return };
        if let Some((count, bytes)) = self.of_member.get_mut(member) {
            *count -= 1;
            *bytes -= right.size();
            if *count == 0 {
                self.of_member.remove(member);
            }
        }
    }

    /// Drops everything: this node no longer leads.
    pub(crate) fn clear(&mut self) {
        self.rights.clear();
        self.of_member.clear();
        self.queue.clear();
        self.ids.clear();
        self.bytes = 0;
    }

    /// Transactions waiting that are no rights, which have limits of their own.
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
