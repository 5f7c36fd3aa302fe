//! Custody: what a member's people write is wrapped for the member's custody key, too, so
//! that it can be opened for those whom the patient lets read it. A member without such a key
//! writes for the recipients that it names, and for nobody later.

use consilium_proto::ids::KeyId;
use consilium_proto::limits::CUSTODY_OVERLAP_MS;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{CustodyState, EncryptionKeyState, Outcome};
use consilium_proto::transaction::WriteRecord;

use super::{Author, Context};
use crate::keys;
use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, View};

/// Names the member's custody key, in the place of one before.
pub(super) fn set<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    key: &KeyId,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    let enrolled: Option<EncryptionKeyState> = view.message(Table::State, &keys::encryption_key(key))?;
    let enrolled = enrolled.ok_or(Refusal::Rejected(Outcome::UnknownRecipient))?;
    let owner: SpiffeId = enrolled.spiffe_id.parse().map_err(|e| corrupt(format!("encryption key: {e}")))?;
    let fits = owner.member() == author.id.member() && owner.role() == Role::Service;
    ensure(fits, Outcome::CustodianRefused)?;
    let place = keys::custody(author.member());
    let before: Option<CustodyState> = view.message(Table::State, &place)?;
    let previous_key_id = match before {
        // Named again: what came before it counts no longer than it did.
        Some(before) if before.encryption_key_id == key.as_bytes()[..] => return Ok(()),
        Some(before) => before.encryption_key_id,
        None => Default::default(),
    };
    let state = CustodyState {
        encryption_key_id: key.to_bytes(),
        custodian: enrolled.spiffe_id,
        since_ms: cx.time.0,
        previous_key_id,
    };
    view.put_message(Table::State, place, &state);
    Ok(())
}

/// Refuses a version that the member's custodian could not open.
pub(super) fn ensure_wrapped<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    write: &WriteRecord,
) -> Result<(), Refusal> {
    let custody: Option<CustodyState> = view.message(Table::State, &keys::custody(author.member()))?;
    let Some(custody) = custody else { return Ok(()) };
    let wrapped = |key: &[u8]| write.wraps.iter().any(|wrap| wrap.recipient.as_bytes()[..] == *key);
    let overlaps = cx.time.0 < custody.since_ms.saturating_add(CUSTODY_OVERLAP_MS);
    let held = wrapped(&custody.encryption_key_id) || (overlaps && wrapped(&custody.previous_key_id));
    ensure(held, Outcome::CustodyWrapMissing)
}
