//! Salts of a patient's labels: put by each member for the records that its own people write, and
//! wrapped for those who keep them. What is in a wrap nobody sees here, and a false one misleads
//! nobody: whoever opens it holds it against the id.
//!
//! A salt never changes, and none takes the place of another: consents and versions name it by its
//! id. What a consent denies by labels it goes on denying under a newer salt, since it has nothing
//! under that one ([`consilium_proto::consent`]).

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_proto::ids::PolicyTag;
use consilium_proto::limits::SALT_KEEPERS_MAX;
use consilium_proto::pb::{Outcome, PatientSalt, PatientSaltState, SaltWrap};
use consilium_proto::state::SaltName;
use consilium_proto::transaction::{PutPatientSalt, WrapRef, WriteRecord};

use super::patients::registered;
use super::recipients::ensure_keeper;
use super::{Author, Context};
use crate::keys;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, View};

/// A new salt, or further keepers of one. Again for the same key a wrap replaces the one before.
pub(super) fn put<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    put: &PutPatientSalt,
) -> Result<(), Refusal> {
    registered(view, &put.patient)?;
    let place = keys::patient_salt(&SaltName::new(put.patient, author.member()));
    let mut state: PatientSaltState = view.message(Table::State, &place)?.unwrap_or_default();
    let salt_id = Bytes::copy_from_slice(&put.salt.0);
    if put.number == state.salts.len() + 1 {
        ensure(state.salts.iter().all(|salt| salt.salt_id != salt_id), Outcome::SaltConflict)?;
        state.salts.push(PatientSalt { salt_id, keepers: Vec::new(), height: cx.height.0 });
    } else {
        let same = state.salts.get(put.number - 1).is_some_and(|salt| salt.salt_id == salt_id);
        ensure(same, Outcome::SaltConflict)?;
    }
    let keepers = &mut state.salts[put.number - 1].keepers;
    for WrapRef { recipient, wrap_hash } in &put.wraps {
        ensure_keeper(view, cx, author, &put.patient, recipient)?;
        let keeper = SaltWrap { recipient_key_id: recipient.to_bytes(), wrap_sha256: wrap_hash.to_bytes() };
        match keepers.iter_mut().find(|known| known.recipient_key_id == keeper.recipient_key_id) {
            Some(known) => *known = keeper,
            None => keepers.push(keeper),
        }
    }
    ensure(keepers.len() <= SALT_KEEPERS_MAX, Outcome::TooManyOfPatient)?;
    view.put_message(Table::State, place, &state);
    Ok(())
}

/// Refuses labels under a salt that nobody could ever name in a consent: those of the author's member
/// count, and those of the member whose record it is, so that who keeps it can leave it its labels.
pub(super) fn ensure_known<R: StateReader>(
    view: &View<'_, R>,
    members: [&str; 2],
    write: &WriteRecord,
) -> Result<(), Refusal> {
    if write.policy_tags.is_empty() {
        return Ok(());
    }
    let salts =
        members.map(|member| view.message(Table::State, &keys::patient_salt(&SaltName::new(write.patient, member))));
    let mut known = BTreeSet::new();
    for salts in salts {
        let state: PatientSaltState = salts?.unwrap_or_default();
        known.extend(state.salts.into_iter().map(|salt| salt.salt_id));
    }
    let known = |tag: &PolicyTag| known.contains(&tag.salt().0[..]);
    ensure(write.policy_tags.iter().all(known), Outcome::SaltConflict)
}
