//! Publishing a revocation list: replaces the CA's list before it, and ends
//! every enrolled signer whose certificate it names, from this block on. It
//! speaks for one CA of the author's member, the one whose key signed it: it
//! says nothing about another CA, and nothing about another member.

use bytes::Bytes;
use consilium_proto::ids::Fingerprint;
use consilium_proto::pb::{CertificateIndexState, Outcome, SignerState};
use consilium_proto::state::{AuthorityName, CertificateName};

use super::{Author, Context, active_member};
use crate::authorities;
use crate::keys;
use crate::rules::{Refusal, RevocationList, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    crl: &Bytes,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    let refused = || Refusal::Rejected(Outcome::RevocationsRefused);
    let mut member = active_member(view, author.member())?;
    let list = cx.identities.verify_revocations(crl, &member.ca_bundle).ok_or_else(refused)?;
    let mut crls = Vec::with_capacity(member.crls.len() + 1);
    for before in &member.crls {
        let held = cx.identities.verify_revocations(before, &member.ca_bundle);
        if let Some(held) = held.filter(|held| held.authority == list.authority) {
            ensure(list.number > held.number, Outcome::RevocationsRefused)?;
        } else {
            crls.push(before.clone());
        }
    }
    crls.push(crl.clone());
    authorities::change_lists(cx.identities, &mut member, crls);
    view.put_member(&member);
    revoke_signers(view, cx, author, &list)
}

fn revoke_signers<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    list: &RevocationList,
) -> Result<(), Refusal> {
    let issuer = AuthorityName::new(author.member(), list.authority);
    for serial in &list.serials {
        let certificate = CertificateName::new(issuer.clone(), serial);
        let place = keys::certificate(&certificate);
        let index: CertificateIndexState = view.message(Table::State, &place)?.unwrap_or_default();
        for fingerprint in &index.signers {
            revoke_signer(view, cx, &certificate, fingerprint)?;
        }
    }
    Ok(())
}

fn revoke_signer<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    certificate: &CertificateName,
    fingerprint: &[u8],
) -> Result<(), Refusal> {
    let corrupt = |cause: &str| StoreFault::Corrupt { table: Table::State.name(), cause: cause.into() };
    let fingerprint = Fingerprint::try_from(fingerprint).map_err(|_| corrupt("certificate index"))?;
    let place = keys::signer(&fingerprint);
    let mut signer: SignerState =
        view.message(Table::State, &place)?.ok_or_else(|| corrupt("certificate index without signer"))?;
    let CertificateName { issuer, serial } = certificate;
    // The index has it by member already; what a list ends is looked at once more.
    let is_own = Author::of(&signer)?.member() == issuer.member;
    // A signing key that moved on to a newer certificate stays valid.
    let is_named = signer.authority[..] == issuer.key.as_bytes()[..] && signer.serial[..] == serial[..];
    if is_own && is_named && signer.revoked_ms == 0 {
        signer.revoked_ms = cx.time.0;
        view.put_message(Table::State, place, &signer);
    }
    Ok(())
}
