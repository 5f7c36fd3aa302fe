//! Which CAs vouch for a member's identities. A CA is its key: whatever its
//! certificate or those that it issues say about it plays no part, so that no
//! CA can be taken for another one, of this member or of another.
//!
//! A signer is bound to the CA that vouched for it. When that CA leaves the
//! bundle the signer is refused, however many rotations it took; when it comes
//! back, so do the signers that it has not revoked. Its revocations never leave:
//! the newest list of a CA that goes is kept, and counts again when it returns.
//! A CA that another one of the bundle has revoked cannot be kept without it,
//! and cannot return.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::ids::AuthorityId;
use consilium_proto::pb::{FormerAuthorityState, MemberState};
use consilium_proto::state::AuthorityName;

use crate::keys;
use crate::rules::IdentityRules;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// Puts another bundle in the place of a member's, with the lists that belong
/// to it.
pub(crate) fn change_bundle<R: StateReader>(
    view: &mut View<'_, R>,
    identities: &dyn IdentityRules,
    member: &mut MemberState,
    bundle: &[Bytes],
) -> Result<(), StoreFault> {
    let before = std::mem::replace(&mut member.ca_bundle, bundle.to_vec());
    let (known, coming) = (identities.authorities(&before, &[]), identities.authorities(bundle, &[]));
    let vouched = identities.authorities(&before, &member.crls);
    let mut lists = by_authority(identities, &before, std::mem::take(&mut member.crls));
    for authority in &known {
        let crl = lists.remove(authority);
        if coming.contains(authority) {
            member.crls.extend(crl);
            continue;
        }
        let revoked = !vouched.contains(authority);
        if crl.is_some() || revoked {
            let former = FormerAuthorityState { crl: crl.unwrap_or_default(), revoked };
            view.put_message(Table::State, place(member, *authority), &former);
        }
    }
    for authority in coming {
        let place = place(member, authority);
        if let Some(former) = view.message::<FormerAuthorityState>(Table::State, &place)? {
            member.crls.extend(Some(former.crl).filter(|crl| !crl.is_empty()));
            view.remove(Table::State, place);
        }
    }
    withdraw(identities, member, known);
    Ok(())
}

/// Whether a bundle holds a CA that was revoked by another one, of the bundle in
/// force or of one before.
pub(crate) fn holds_revoked<R: StateReader>(
    view: &View<'_, R>,
    identities: &dyn IdentityRules,
    member: &MemberState,
    bundle: &[Bytes],
) -> Result<bool, StoreFault> {
    let vouching = identities.authorities(&member.ca_bundle, &member.crls);
    let mut revoked = identities.authorities(&member.ca_bundle, &[]);
    revoked.retain(|authority| !vouching.contains(authority));
    for authority in identities.authorities(bundle, &[]) {
        let former: Option<FormerAuthorityState> = view.message(Table::State, &place(member, authority))?;
        if revoked.contains(&authority) || former.is_some_and(|former| former.revoked) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn place(member: &MemberState, authority: AuthorityId) -> Vec<u8> {
    keys::former_authority(&AuthorityName::new(&member.id, authority))
}

/// The lists that verify under a bundle.
fn by_authority(identities: &dyn IdentityRules, bundle: &[Bytes], crls: Vec<Bytes>) -> BTreeMap<AuthorityId, Bytes> {
    let authority = |crl: &Bytes| identities.verify_revocations(crl, bundle).map(|list| list.authority);
    crls.into_iter().filter_map(|crl| Some((authority(&crl)?, crl))).collect()
}

/// Takes a list that verified into a member's, in the place of those given up.
pub(crate) fn change_lists(identities: &dyn IdentityRules, member: &mut MemberState, crls: Vec<Bytes>) {
    member.crls = crls;
    let known = identities.authorities(&member.ca_bundle, &[]);
    withdraw(identities, member, known);
}

/// Whoever vouched once, or is in the bundle, and does not vouch now is withdrawn.
fn withdraw(identities: &dyn IdentityRules, member: &mut MemberState, known: Vec<AuthorityId>) {
    let vouching = identities.authorities(&member.ca_bundle, &member.crls);
    let all = identities.authorities(&member.ca_bundle, &[]);
    let known = known.into_iter().chain(all).map(|authority| authority.to_bytes());
    member.withdrawn.extend(known);
    member.withdrawn.sort();
    member.withdrawn.dedup();
    member.withdrawn.retain(|id| vouching.iter().all(|vouches| vouches.as_bytes()[..] != id[..]));
}

/// Whether two bundles have a CA in common.
pub(crate) fn overlap(identities: &dyn IdentityRules, one: &[Bytes], other: &[Bytes]) -> bool {
    let other = identities.authorities(other, &[]);
    identities.authorities(one, &[]).iter().any(|authority| other.contains(authority))
}
