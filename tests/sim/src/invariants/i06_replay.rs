//! I6: whoever executes the chain again from the genesis document gets the same
//! roots, and believes nothing that the certificates do not cover.

use consilium_consensus::LogPosition;
use consilium_ledger::{BlockInput, execute, genesis_block};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::Height;

use super::Check;
use crate::disk::LedgerStore;
use crate::fixture::rules::SimRules;
use crate::node::chain::{ChainCheck, serve};

/// Executes a node's certified chain on an empty store.
///
/// # Errors
/// Where it differs.
pub fn check(genesis: &Genesis, ledger: &LedgerStore) -> Check {
    let mut store = LedgerStore::default();
    let first = genesis_block(&store, genesis).map_err(|e| e.to_string())?;
    let mut tip = first.tip.clone();
    store.write_block(LogPosition::default(), &first, None);
    let set = genesis.validators().map_err(|e| e.to_string())?;
    let mut chain = ChainCheck::new(genesis.ledger_id, set, (Height::GENESIS, tip.header.hash()));
    for served in serve(ledger, genesis.ledger_id, Height(1), u64::MAX) {
        for block in chain.push(served)?.map(|(blocks, _)| blocks).unwrap_or_default() {
            let (time, proposer) = (block.header.time, block.header.proposer);
            let input = BlockInput { time, proposer, transactions: &block.transactions, observed: &block.observed };
            let executed = execute(&store, &SimRules, &tip, &input).map_err(|e| e.to_string())?;
            if executed.tip.header != block.header {
                return Err(format!("replaying gives another header at height {}", block.header.height));
            }
            tip = executed.tip.clone();
            if let Some(next) = executed.events.next_set() {
                chain.set_validators(next.clone());
            }
            store.write_block(block.position, &executed, None);
        }
    }
    Ok(())
}
