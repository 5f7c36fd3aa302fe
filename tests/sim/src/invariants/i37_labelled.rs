//! I37, G7: a member's salts of a patient's labels stand in its row in the order in which they came,
//! none in the place of another one, wrapped for those who write for the member, keep its keys or
//! read for the patient; no record is labelled under any other.

use std::collections::BTreeSet;

use consilium_ledger::keys;
use consilium_proto::ids::{KeyId, SaltId};
use consilium_proto::pb::{PatientSalt, PatientSaltState};
use consilium_proto::state::{SaltName, StateRow};
use consilium_proto::transaction::Action;

use crate::chronicle::Effect;
use crate::disk::LedgerStore;
use crate::judge::Judge;
use crate::judge::custody::Custody;
use crate::judge::salts::{Kept, Salts};

/// What a look at a ledger found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Salts.
    pub salts: u64,
    /// For whom they are wrapped.
    pub keepers: u64,
    /// Records that carry labels.
    pub labelled: u64,
}

/// Compares a ledger's salts with its blocks.
///
/// # Errors
/// What differs.
pub fn check(ledger: &LedgerStore, effects: &[Effect]) -> Result<Seen, String> {
    let (mut judge, mut custody, mut salts) = (Judge::new(0), Custody::default(), Salts::default());
    for effect in effects {
        for action in &effect.transaction.actions {
            salts.hear((&judge, &custody), effect, action)?;
            // Who keeps keys is asked here, and not what waits for them.
            if !matches!(action, Action::AddWraps(_)) {
                custody.hear(&judge, effect, action)?;
            }
            judge.hear(effect, action);
        }
    }
    let rows = ledger.rows(&[StateRow::PatientSalt as u8]).count();
    for ((patient, member), expected) in salts.all() {
        let key = keys::patient_salt(&SaltName::new(*patient, member));
        let row: PatientSaltState = ledger.message(&key).unwrap_or_default();
        if row.salts.iter().map(read).collect::<Option<Vec<_>>>().as_ref() != Some(expected) {
            return Err(format!("other salts stand there than were put: {}", keys::describe(&key)));
        }
    }
    if rows != salts.all().len() {
        return Err("there are salts that nobody has put".to_owned());
    }
    let put = || salts.all().values().flatten();
    let keepers = put().map(|(_, keepers)| keepers.len() as u64).sum();
    Ok(Seen { salts: put().count() as u64, keepers, labelled: salts.labelled })
}

fn read(row: &PatientSalt) -> Option<Kept> {
    let keepers = row.keepers.iter().map(|wrap| KeyId::try_from(wrap.recipient_key_id.as_ref()).ok());
    let keepers: Option<Vec<_>> = keepers.collect();
    let keepers = keepers?;
    let distinct: BTreeSet<KeyId> = keepers.iter().copied().collect();
    (distinct.len() == keepers.len()).then_some(())?;
    Some((SaltId::parse("salt_id", &row.salt_id).ok()?, distinct))
}
