//! I36, G6: a link of two pseudonyms stands in the rows of both, by the same member, from the same
//! block to the same block, and stays there once it is taken back: what happened meanwhile is
//! found by it.

use consilium_ledger::keys;
use consilium_proto::ids::{Height, PatientPseudonym};
use consilium_proto::pb::PatientState;
use consilium_proto::state::{StateKey, StateRow};
use prost::Message;

use super::Check;
use crate::chronicle::Effect;
use crate::disk::LedgerStore;
use crate::judge::Judge;

/// Compares a ledger's patients with its blocks.
///
/// # Errors
/// What differs.
pub fn check(ledger: &LedgerStore, effects: &[Effect]) -> Check {
    let mut judge = Judge::new(0);
    for effect in effects {
        effect.transaction.actions.iter().for_each(|action| judge.hear(effect, action));
    }
    for (key, row) in ledger.rows(&[StateRow::Patient as u8]) {
        let row = PatientState::decode(row.clone()).map_err(|e| e.to_string())?;
        let Some(StateKey::Patient(patient)) = StateKey::decode(key) else { continue };
        let links = row.links.iter().map(|link| {
            let other = PatientPseudonym::parse("other", &link.other).ok();
            (other, &link.member[..], Height(link.from_height), Height(link.to_height))
        });
        let expected = judge.links().of(&patient).iter();
        let expected = expected.map(|link| (Some(link.other), &link.member[..], link.from, link.to));
        if !expected.eq(links) {
            return Err(format!("other links than were made: {}", keys::describe(key)));
        }
    }
    Ok(())
}
