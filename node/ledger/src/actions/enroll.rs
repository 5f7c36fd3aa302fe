//! Enrolment: binds keys to an identity certificate that verifies under its
//! member's bundle at the block's time. That the certificate's own key signed the
//! transaction was checked before; the signing key's proof of possession, for this
//! ledger and this certificate, was a stateless check. Nothing proves an encryption
//! key but the author's word: a key that cannot sign proves nothing in a transaction.
//! Enrolling again with a newer certificate keeps older signers valid until
//! their own certificates end, and the unit.

use consilium_proto::ids::{Fingerprint, KeyId};
use consilium_proto::limits::SIGNERS_PER_CERTIFICATE_MAX;
use consilium_proto::pb::{CertificateIndexState, EncryptionKeyState, IdentityState, Outcome, SignerState};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::state::{AuthorityName, CertificateName};
use consilium_proto::transaction::{Enroll, encryption_key_id, signing_key_fingerprint};

use super::{Context, active_member, units};
use crate::keys;
use crate::rules::{Refusal, VerifiedIdentity, ensure};
use crate::table::Table;
use crate::view::{StateReader, View};

pub(super) fn run<R: StateReader>(view: &mut View<'_, R>, cx: &Context<'_>, enroll: &Enroll) -> Result<(), Refusal> {
    let identity = verify(view, cx, enroll)?;
    let certificate_key = identity.key.clone().ok_or(Refusal::Rejected(Outcome::CertificateRefused))?;
    let certificate = enroll.fingerprint();
    let mut signers = vec![(certificate, certificate_key)];
    if let Some(key) = &enroll.signing_key {
        signers.push((signing_key_fingerprint(key), key.clone()));
    }
    for (fingerprint, key) in &signers {
        put_signer(view, cx, &identity, certificate, *fingerprint, key)?;
    }
    put_certificate_index(view, &identity, &signers)?;
    let encryption_key_id = put_encryption_key(view, &identity, enroll)?;
    let spiffe_id = identity.spiffe_id.to_string();
    let newest = IdentityState {
        certificate_sha256: certificate.to_bytes(),
        signing_key_id: signers.last().map(|(f, _)| f.to_bytes()).unwrap_or_default(),
        encryption_key_id: encryption_key_id.map(|id| id.to_bytes()).unwrap_or_default(),
        unit: units::of(view, &spiffe_id)?,
    };
    view.put_message(Table::State, keys::identity(&spiffe_id), &newest);
    Ok(())
}

fn verify<R: StateReader>(view: &View<'_, R>, cx: &Context<'_>, enroll: &Enroll) -> Result<VerifiedIdentity, Refusal> {
    let refused = || Refusal::Rejected(Outcome::CertificateRefused);
    let member_id = cx.identities.claimed_member(&enroll.chain).ok_or_else(refused)?;
    let member = active_member(view, member_id.as_str())?;
    let at_s = cx.time.0 / 1_000;
    cx.identities.verify(&enroll.chain, &member.ca_bundle, &member.crls, at_s).ok_or_else(refused)
}

/// A key belongs to one identity for ever; enrolling it again for the same one
/// moves it to the newer certificate.
fn put_signer<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    identity: &VerifiedIdentity,
    certificate: Fingerprint,
    fingerprint: Fingerprint,
    key: &VerifyingKey,
) -> Result<(), Refusal> {
    let (place, spiffe_id) = (keys::signer(&fingerprint), identity.spiffe_id.to_string());
    if let Some(before) = view.message::<SignerState>(Table::State, &place)? {
        ensure(before.spiffe_id == spiffe_id, Outcome::KeyInUse)?;
    }
    let signer = SignerState {
        spiffe_id,
        signing_key: key.to_bytes().into(),
        certificate_sha256: certificate.to_bytes(),
        serial: identity.serial.clone().into(),
        not_before_s: identity.not_before_s,
        not_after_s: identity.not_after_s,
        revoked_ms: 0,
        enrolled_height: cx.height.0,
        authority: identity.authority.to_bytes(),
    };
    view.put_message(Table::State, place, &signer);
    Ok(())
}

fn put_certificate_index<R: StateReader>(
    view: &mut View<'_, R>,
    identity: &VerifiedIdentity,
    signers: &[(Fingerprint, VerifyingKey)],
) -> Result<(), Refusal> {
    let issuer = AuthorityName::new(identity.spiffe_id.member().as_str(), identity.authority);
    let place = keys::certificate(&CertificateName::new(issuer, &identity.serial));
    let mut index: CertificateIndexState = view.message(Table::State, &place)?.unwrap_or_default();
    index.signers.extend(signers.iter().map(|(f, _)| f.to_bytes()));
    index.signers.sort();
    index.signers.dedup();
    ensure(index.signers.len() <= SIGNERS_PER_CERTIFICATE_MAX, Outcome::TooManySigners)?;
    view.put_message(Table::State, place, &index);
    Ok(())
}

fn put_encryption_key<R: StateReader>(
    view: &mut View<'_, R>,
    identity: &VerifiedIdentity,
    enroll: &Enroll,
) -> Result<Option<KeyId>, Refusal> {
    let Some(key) = &enroll.encryption_key else { return Ok(None) };
    let id = encryption_key_id(key);
    let (place, spiffe_id) = (keys::encryption_key(&id), identity.spiffe_id.to_string());
    if let Some(before) = view.message::<EncryptionKeyState>(Table::State, &place)? {
        ensure(before.spiffe_id == spiffe_id, Outcome::KeyInUse)?;
    }
    let key = EncryptionKeyState { spiffe_id, encryption_key: key.encode().into() };
    view.put_message(Table::State, place, &key);
    Ok(Some(id))
}
