//! Those who wait for transactions that this node took in. The transaction is
//! kept beside them, so that a change of leader re-sends it instead of failing
//! the caller; sending again is safe because it executes once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use consilium_ledger::CheckedTransaction;
use consilium_proto::header::Leaf;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb::Outcome;
use tokio::sync::oneshot;

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Executed here.
    Ordered,
    /// In a certified block.
    Certified,
}

/// An executed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Its block.
    pub height: Height,
    /// What the rules said.
    pub outcome: Outcome,
}

/// Why a transaction will not be executed from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The queue is full.
    Overloaded,
    /// The signature is not by the author's key.
    BadSignature,
    /// Nobody with that fingerprint is enrolled.
    UnknownAuthor,
    /// Its validity ended before it was ordered.
    Expired,
}

type Reply = oneshot::Sender<Result<Located, Refused>>;

#[derive(Debug)]
struct Waiter {
    wait_for: WaitFor,
    reply: Reply,
}

#[derive(Debug, Default)]
struct Pending {
    transaction: Option<CheckedTransaction>,
    waiters: Vec<Waiter>,
}

#[derive(Debug, Default)]
struct Inner {
    pending: HashMap<TransactionId, Pending>,
    uncertified: BTreeMap<Height, Vec<(Located, Reply)>>,
}

/// The registry.
#[derive(Debug, Default)]
pub struct Waiters(Mutex<Inner>);

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a transaction. Register before looking it up and before
    /// sending it, so that its execution cannot be missed. Returns whether it
    /// is new here and must be sent.
    pub fn register(
        &self,
        id: TransactionId,
        wait_for: WaitFor,
    ) -> (bool, oneshot::Receiver<Result<Located, Refused>>) {
        let (reply, receiver) = oneshot::channel();
        let mut inner = self.lock();
        let pending = inner.pending.entry(id).or_default();
        pending.waiters.retain(|w| !w.reply.is_closed());
        let new = pending.waiters.is_empty();
        pending.waiters.push(Waiter { wait_for, reply });
        (new, receiver)
    }

    /// Keeps a verified transaction for sending again. `false` if nobody waits.
    pub fn keep(&self, transaction: &CheckedTransaction) -> bool {
        match self.lock().pending.get_mut(&transaction.transaction.id) {
            Some(pending) => {
                pending.transaction = Some(transaction.clone());
                true
            }
            None => false,
        }
    }

    /// Transactions that someone still waits for: to be sent to a new leader.
    pub fn unanswered(&self) -> Vec<CheckedTransaction> {
        let mut inner = self.lock();
        inner.pending.retain(|_, pending| {
            pending.waiters.retain(|w| !w.reply.is_closed());
            !pending.waiters.is_empty()
        });
        inner.pending.values().filter_map(|p| p.transaction.clone()).collect()
    }

    /// Leaves of an executed block.
    pub fn executed<'a>(&self, leaves: impl Iterator<Item = &'a Leaf>, certified: Height) {
        let mut inner = self.lock();
        for leaf in leaves {
            let Some(pending) = inner.pending.remove(&leaf.transaction_id) else { continue };
            let located = Located { height: leaf.height, outcome: leaf.outcome };
            for waiter in pending.waiters {
                if waiter.wait_for == WaitFor::Ordered || leaf.height <= certified {
                    // A caller that has gone away is no error.
                    let _ = waiter.reply.send(Ok(located));
                } else {
                    inner.uncertified.entry(leaf.height).or_default().push((located, waiter.reply));
                }
            }
        }
    }

    /// Everything up to `height` is certified.
    pub fn certified(&self, height: Height) {
        let done = {
            let mut inner = self.lock();
            let rest = inner.uncertified.split_off(&height.next());
            std::mem::replace(&mut inner.uncertified, rest)
        };
        for (located, reply) in done.into_values().flatten() {
            let _ = reply.send(Ok(located));
        }
    }

    /// Ends the wait for a transaction.
    pub fn refuse(&self, id: &TransactionId, why: Refused) {
        let Some(pending) = self.lock().pending.remove(id) else { return };
        for waiter in pending.waiters {
            let _ = waiter.reply.send(Err(why));
        }
    }

    /// Transactions waited for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().pending.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn leaf(id: u8, height: u64) -> Leaf {
        Leaf { transaction_id: TransactionId::from_bytes([id; 32]), height: Height(height), outcome: Outcome::Applied }
    }

    #[test]
    fn ordered_answers_at_execution_and_certified_at_the_certificate() {
        let waiters = Waiters::default();
        let id = TransactionId::from_bytes([1; 32]);
        let (new, mut ordered) = waiters.register(id, WaitFor::Ordered);
        let (second, mut certified) = waiters.register(id, WaitFor::Certified);
        assert!(new && !second);
        waiters.executed([leaf(1, 5)].iter(), Height(4));
        let located = Located { height: Height(5), outcome: Outcome::Applied };
        assert_eq!(ordered.try_recv().unwrap(), Ok(located));
        assert!(certified.try_recv().is_err());
        waiters.certified(Height(4));
        assert!(certified.try_recv().is_err());
        waiters.certified(Height(6));
        assert_eq!(certified.try_recv().unwrap(), Ok(located));
        assert!(waiters.is_empty());
    }

    #[test]
    fn callers_that_went_away_are_forgotten() {
        let waiters = Waiters::default();
        let id = TransactionId::from_bytes([1; 32]);
        drop(waiters.register(id, WaitFor::Ordered));
        assert!(waiters.unanswered().is_empty());
        assert!(waiters.is_empty());
        let (new, _kept) = waiters.register(id, WaitFor::Ordered);
        assert!(new, "the next caller sends it again");
    }

    #[test]
    fn a_refusal_reaches_everyone_who_waits() {
        let waiters = Waiters::default();
        let id = TransactionId::from_bytes([1; 32]);
        let (_, mut first) = waiters.register(id, WaitFor::Ordered);
        let (_, mut second) = waiters.register(id, WaitFor::Certified);
        waiters.refuse(&id, Refused::Overloaded);
        assert_eq!(first.try_recv().unwrap(), Err(Refused::Overloaded));
        assert_eq!(second.try_recv().unwrap(), Err(Refused::Overloaded));
    }
}
