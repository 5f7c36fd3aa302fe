//! Publishing a revocation list: replaces the CA's list before it, and ends
//! every enrolled signer whose certificate it names, from this block on.

use bytes::Bytes;
use consilium_proto::ids::Fingerprint;
use consilium_proto::pb::{CertificateIndexState, Outcome, SignerState};
use consilium_proto::state::CertificateName;

use super::{Author, Context, active_member};
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
    let refused = || Refusal::Rejected(Outcome::RevocationsRefused);
    let mut member = active_member(view, author.member())?;
    let list = cx.identities.verify_revocations(crl, &member.ca_bundle).ok_or_else(refused)?;
    let mut kept = Vec::with_capacity(member.crls.len() + 1);
    for before in &member.crls {
        // A list of a CA that has left the bundle no longer verifies and goes.
        let Some(old) = cx.identities.verify_revocations(before, &member.ca_bundle) else { continue };
        if old.issuer_key_id == list.issuer_key_id {
            ensure(list.number > old.number, Outcome::RevocationsRefused)?;
        } else {
            kept.push(before.clone());
        }
    }
    kept.push(crl.clone());
    member.crls = kept;
    view.put_member(&member);
    revoke_signers(view, cx, &list)
}

fn revoke_signers<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    list: &RevocationList,
) -> Result<(), Refusal> {
    for serial in &list.serials {
        let place = keys::certificate(&CertificateName::new(&list.issuer_key_id, serial));
        let index: CertificateIndexState = view.message(Table::State, &place)?.unwrap_or_default();
        for fingerprint in &index.signers {
            revoke_signer(view, cx, fingerprint, serial)?;
        }
    }
    Ok(())
}

fn revoke_signer<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    fingerprint: &[u8],
    serial: &[u8],
) -> Result<(), Refusal> {
    let corrupt = |cause: &str| StoreFault::Corrupt { table: Table::State.name(), cause: cause.into() };
    let fingerprint = Fingerprint::try_from(fingerprint).map_err(|_| corrupt("certificate index"))?;
    let place = keys::signer(&fingerprint);
    let mut signer: SignerState =
        view.message(Table::State, &place)?.ok_or_else(|| corrupt("certificate index without signer"))?;
    // A signing key that moved on to a newer certificate stays valid.
    if signer.serial == serial && signer.revoked_ms == 0 {
        signer.revoked_ms = cx.time.0;
        view.put_message(Table::State, place, &signer);
    }
    Ok(())
}
