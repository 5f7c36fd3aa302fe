//! For whom a version may be wrapped when it is written: its author, the custodian of that one's member
//! and its deputy, and the patient as the custodians of the record have accepted it. Whoever else may read it asks first, so that there is no key for anybody of whose
//! reading nothing is on the ledger. And for whom the salt of a patient's labels may be.

use consilium_proto::consent::Custodians;
use consilium_proto::ids::{Fingerprint, KeyId, PatientPseudonym};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{EncryptionKeyState, IdentityState, Outcome, PatientRelation, SignerState};
use consilium_proto::transaction::WriteRecord;

use super::{Author, Context, active_member, custody};
use crate::keys;
use crate::rights::reads_as;
use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// Refuses a version that is wrapped for somebody else.
pub(super) fn ensure_permitted<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    (custodians, write): (Custodians<'_>, &WriteRecord),
) -> Result<(), Refusal> {
    for wrap in &write.wraps {
        let key: Option<EncryptionKeyState> = view.message(Table::State, &keys::encryption_key(&wrap.recipient))?;
        let owner = key.ok_or(Refusal::Rejected(Outcome::UnknownRecipient))?.spiffe_id;
        let permitted = owner == author.id.to_string()
            || custody::keeps(view, cx, author.member(), &wrap.recipient)?
            || (reads_as(view, &write.patient, custodians, (&owner, cx.time))? == Some(PatientRelation::Self_)
                && is_newest_key(view, &owner, &wrap.recipient)?);
        ensure(permitted, Outcome::WrapNotPermitted)?;
    }
    Ok(())
}

/// Refuses a wrap of the salt under which the author's member blinds labels for somebody else than
/// those who write for it, its custodian and that one's deputy, and those who read for the patient.
pub(super) fn ensure_keeper<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    patient: &PatientPseudonym,
    key: &KeyId,
) -> Result<(), Refusal> {
    let enrolled: Option<EncryptionKeyState> = view.message(Table::State, &keys::encryption_key(key))?;
    let owner = enrolled.ok_or(Refusal::Rejected(Outcome::UnknownRecipient))?.spiffe_id;
    let id: SpiffeId = owner.parse().map_err(|e| corrupt(format!("encryption key: {e}")))?;
    let labels = matches!(id.role(), Role::Service | Role::Clinician) && id.member() == author.id.member();
    let own = Custodians::only(author.member());
    let keeps = labels
        || custody::keeps(view, cx, author.member(), key)?
        || (reads_as(view, patient, own, (&owner, cx.time))?.is_some() && is_newest_key(view, &owner, key)?);
    ensure(keeps, Outcome::WrapNotPermitted)
}

/// Whether a key is the newest one of an identity that has its rights: what is wrapped for
/// another one may be opened by a thief.
pub(crate) fn is_newest_key<R: StateReader>(view: &View<'_, R>, owner: &str, key: &KeyId) -> Result<bool, StoreFault> {
    let identity: Option<IdentityState> = view.message(Table::State, &keys::identity(owner))?;
    let identity = identity.ok_or_else(|| corrupt(format!("{owner} has a key and no row")))?;
    Ok(identity.encryption_key_id == key.as_bytes()[..] && has_rights(view, owner, &identity)?)
}

/// Whether an identity is revoked, or whoever vouched for it does so no more. That its certificate
/// has ended takes no rights from who has the key.
fn has_rights<R: StateReader>(view: &View<'_, R>, owner: &str, identity: &IdentityState) -> Result<bool, StoreFault> {
    let bad = |what: &str| corrupt(format!("{what} of {owner}"));
    let signer = Fingerprint::try_from(identity.signing_key_id.as_ref()).map_err(|_| bad("the signing key"))?;
    let signer: Option<SignerState> = view.message(Table::State, &keys::signer(&signer))?;
    let signer = signer.ok_or_else(|| bad("the signer"))?;
    let id: SpiffeId = owner.parse().map_err(|_| bad("the name"))?;
    match active_member(view, id.member().as_str()) {
        Ok(member) => Ok(signer.revoked_ms == 0 && !member.withdrawn.contains(&signer.authority)),
        Err(Refusal::Rejected(_)) => Ok(false),
        Err(Refusal::Fault(fault)) => Err(fault),
    }
}
