//! I18, G10: a transaction is on the ledger at most once, across restarts,
//! changes of leader and catching up.

use std::collections::BTreeMap;

use consilium_proto::ids::{Height, TransactionId};

use super::Check;
use crate::disk::LedgerStore;

/// Looks through a whole ledger.
///
/// # Errors
/// If a transaction is there twice.
pub fn check(ledger: &LedgerStore) -> Check {
    let mut seen: BTreeMap<TransactionId, Height> = BTreeMap::new();
    let top = ledger.tip().map_or(0, |(_, tip)| tip.header.height.0);
    for height in 1..=top {
        let block = ledger.block(Height(height)).ok_or_else(|| format!("block {height} is absent"))?;
        for executed in &block.transactions {
            let transaction = executed.transaction.as_ref().ok_or_else(|| format!("block {height} lacks one"))?;
            let id = consilium_proto::transaction::transaction_id(transaction).map_err(|e| e.to_string())?;
            if let Some(first) = seen.insert(id, Height(height)) {
                return Err(format!("a transaction is on the ledger at {first} and at {height}"));
            }
        }
    }
    Ok(())
}
