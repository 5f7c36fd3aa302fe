//! I6: whoever executes the chain again from the genesis document gets the same
//! roots, and believes nothing that the certificates do not cover.

use std::cell::RefCell;
use std::rc::Rc;

use consilium_kit::Rules;
use consilium_ledger::{BlockInput, execute, genesis_block};
use consilium_proto::genesis::Genesis;
use consilium_proto::header::Header;
use consilium_proto::ids::Height;
use consilium_replica::catch_up::{ChainCheck, Serving};

use super::Check;
use crate::disk::{LedgerHandle, LedgerStore};

/// Executes a node's certified chain on an empty store.
///
/// # Errors
/// Where it differs.
pub fn check(genesis: &Genesis, ledger: &LedgerHandle) -> Check {
    let store = LedgerHandle { store: Rc::new(RefCell::new(LedgerStore::default())), tripwire: Rc::default() };
    let first = genesis_block(&store, genesis).map_err(|e| e.to_string())?;
    let mut tip = first.tip.clone();
    store.store.borrow_mut().write_block(Default::default(), &first, None);
    let set = genesis.validators().map_err(|e| e.to_string())?;
    let mut chain = ChainCheck::new(genesis.ledger_id, set, (Height::GENESIS, tip.header.hash()));
    let certified = ledger.store.borrow().newest_certified().map_or(Height::GENESIS, |c| c.header.height);
    while tip.header.height < certified {
        let mut serving = Serving::new(genesis.ledger_id, tip.header.height.next(), certified);
        while let Some(served) = serving.next(ledger).map_err(|e| e.to_string())? {
            let blocks = chain.push(served).map_err(|e| e.to_string())?;
            for block in blocks.map(|(blocks, _)| blocks).unwrap_or_default() {
                let Header { time, proposer, log_hash, .. } = block.header;
                let (transactions, observed) = (&block.transactions, &block.observed);
                let input = BlockInput { time, proposer, transactions, observed, log_hash };
                let executed = execute(&store, &Rules, &tip, &input).map_err(|e| e.to_string())?;
                if executed.tip.header != block.header {
                    return Err(format!("replaying gives another header at height {}", block.header.height));
                }
                tip = executed.tip.clone();
                if let Some(next) = executed.events.next_set() {
                    chain.set_validators(next.clone());
                }
                store.store.borrow_mut().write_block(block.position, &executed, None);
            }
        }
    }
    Ok(())
}
