//! I7, G1: what a client was told is certified stays so, on every honest node.

use std::collections::BTreeMap;

use consilium_proto::ids::{Height, TransactionId};

use super::Check;
use crate::disk::LedgerStore;

/// What clients were told.
#[derive(Default)]
pub struct Acknowledged {
    transactions: BTreeMap<TransactionId, (Height, i32)>,
}

impl Acknowledged {
    /// A client was told that a transaction is certified.
    ///
    /// # Errors
    /// If it was told something else before (G10).
    pub fn acknowledged(&mut self, id: TransactionId, height: Height, outcome: i32) -> Check {
        let first = *self.transactions.entry(id).or_insert((height, outcome));
        if first == (height, outcome) {
            return Ok(());
        }
        Err(format!("a client was told of {first:?} and of {:?}", (height, outcome)))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.transactions.len() as u64
    }

    /// Compares with the ledger of a node that has caught up.
    ///
    /// # Errors
    /// If something is missing.
    pub fn check(&self, ledger: &LedgerStore) -> Check {
        for (id, (height, outcome)) in &self.transactions {
            let location = ledger.location(id);
            if location.map(|l| (l.height, l.outcome)) != Some((*height, *outcome)) {
                return Err(format!("a transaction acknowledged at height {height} is not there"));
            }
        }
        Ok(())
    }
}
