//! I31, G6: the log of each patient has an event for each request that took effect, in the
//! order of the ledger, and its count and root are those of these events; requests for whom
//! there is not are in the log of the reader's member.

use std::collections::BTreeMap;

use consilium_ledger::{keys, log};
use consilium_proto::ids::TransactionId;
use consilium_proto::merkle::{leaf_hash, root_of};
use consilium_proto::pb::{AccessEvent, LogState};
use consilium_proto::state::StateRow;
use prost::Message;

use super::Check;
use crate::chronicle::Effect;
use crate::disk::LedgerStore;
use crate::judge::Judge;

/// Compares a ledger's logs with its blocks.
///
/// # Errors
/// What differs.
pub fn check(ledger: &LedgerStore, effects: &[Effect]) -> Check {
    let mut expected = expected(effects);
    for kind in [StateRow::AccessLog, StateRow::UnmatchedLog] {
        for (key, row) in ledger.rows(&[kind as u8]) {
            let row = LogState::decode(row.clone()).map_err(|e| e.to_string())?;
            let events = expected.remove(key).unwrap_or_default();
            check_log(ledger, key, &row, &events).map_err(|what| format!("{}: {what}", keys::describe(key)))?;
        }
    }
    match expected.keys().next() {
        Some(key) => Err(format!("there is no {}", keys::describe(key))),
        None => Ok(()),
    }
}

/// Requests by the log that they belong into.
fn expected(effects: &[Effect]) -> BTreeMap<Vec<u8>, Vec<&Effect>> {
    let mut judge = Judge::new(0);
    let mut logs: BTreeMap<Vec<u8>, Vec<&Effect>> = BTreeMap::new();
    for effect in effects {
        for action in &effect.transaction.actions {
            if let consilium_proto::transaction::Action::RequestAccess(request) = action {
                let log = match judge.knows(&request.patient) {
                    true => keys::access_log(&request.patient),
                    false => keys::unmatched_log(effect.author.member().as_str()),
                };
                logs.entry(log).or_default().push(effect);
            }
            judge.hear(effect, action);
        }
    }
    logs
}

fn check_log(ledger: &LedgerStore, key: &[u8], row: &LogState, expected: &[&Effect]) -> Check {
    if row.count != expected.len() as u64 {
        return Err(format!("counts {} events, the blocks hold {}", row.count, expected.len()));
    }
    let mut leaves = Vec::new();
    for (place, effect) in (0..).zip(expected) {
        let entry = log::entry(ledger, key, place).map_err(|e| e.to_string())?;
        let entry = entry.ok_or_else(|| format!("lacks event {place}"))?;
        let event = AccessEvent::decode(entry.clone()).map_err(|e| e.to_string())?;
        let id = TransactionId::try_from(event.transaction_id.as_ref()).ok();
        let same = id == Some(effect.transaction.id)
            && (event.sequence, event.height, event.time_ms) == (place, effect.height.0, effect.time.0)
            && event.reader == effect.author.to_string();
        if !same {
            return Err(format!("event {place} is not that of the request in block {}", effect.height));
        }
        leaves.push(leaf_hash(&entry));
    }
    let root = root_of(leaves).map_err(|e| e.to_string())?;
    match root.as_bytes()[..] == row.root {
        true => Ok(()),
        false => Err("has another root than its events".to_owned()),
    }
}
