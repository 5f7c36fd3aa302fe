//! Clients that wait at a node. A transaction is kept beside its waiter, so that
//! a change of leader sends it again.

use std::collections::BTreeMap;

use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::{Height, TransactionId};

use crate::env::Env;

/// Transactions that somebody waits for.
#[derive(Default)]
pub struct Waiters {
    pending: BTreeMap<TransactionId, CheckedTransaction>,
    uncertified: BTreeMap<Height, Vec<(TransactionId, i32)>>,
}

impl Waiters {
    /// Somebody waits for a transaction.
    pub(crate) fn keep(&mut self, checked: CheckedTransaction) {
        self.pending.insert(checked.transaction.id, checked);
    }

    /// Those to be sent to a new leader.
    pub(crate) fn unanswered(&self) -> Vec<CheckedTransaction> {
        self.pending.values().cloned().collect()
    }

    /// A transaction was executed; its waiter is answered with the certificate.
    pub(crate) fn executed(&mut self, id: TransactionId, height: Height, outcome: i32) {
        self.pending.remove(&id);
        self.uncertified.entry(height).or_default().push((id, outcome));
    }

    /// It came too late.
    pub(crate) fn forget(&mut self, id: &TransactionId) {
        self.pending.remove(id);
    }

    /// All up to a height is certified: answers.
    pub(crate) fn certified(&mut self, height: Height, env: &mut Env) {
        let open = self.uncertified.split_off(&height.next());
        for (height, executed) in std::mem::replace(&mut self.uncertified, open) {
            for (id, outcome) in executed {
                env.oracle.acknowledged(id, height, outcome);
                env.answers.push(id);
            }
        }
    }
}
