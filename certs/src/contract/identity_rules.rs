//! X.509 for the rules of the ledger: pure, with the block's time. The same
//! arguments always give the same answer, whatever the machine or the clock.

use consilium_proto::names::MemberId;
use rustls_pki_types::CertificateDer;

use crate::ca::CaBundle;
use crate::crl::Crl;
use crate::identity::IdentityCertificate;
use crate::verify::{Purpose, RevocationPolicy, VerifyError, verify_chain};

/// Lists past their next update still count: which list is the newest is a fact
/// of the ledger, and the answer must not depend on when it is asked.
const POLICY: RevocationPolicy = RevocationPolicy { enforce_expiry: false };

/// The member that a chain's leaf names, without verifying anything.
#[must_use]
pub fn claimed_member<D: AsRef<[u8]>>(chain: &[D]) -> Option<MemberId> {
    let leaf = IdentityCertificate::parse(chain.first()?.as_ref()).ok()?;
    Some(leaf.spiffe_id().member().clone())
}

/// Verifies a chain under a member's bundle and revocation lists at a time.
/// Lists that do not verify under the bundle say nothing.
#[must_use]
pub fn verify<D: AsRef<[u8]>>(chain: &[D], bundle: &[D], crls: &[D], at_s: u64) -> Option<IdentityCertificate> {
    let bundle = CaBundle::from_ders(bundle).ok()?;
    let crls: Vec<Crl> = crls.iter().filter_map(|der| Crl::parse(der.as_ref(), &bundle).ok()).collect();
    verify_under(chain, &bundle, &crls, at_s).ok()
}

/// As [`verify`], under a bundle and lists that are parsed already.
///
/// # Errors
/// Why the chain is refused.
pub fn verify_under<D: AsRef<[u8]>>(
    chain: &[D],
    bundle: &CaBundle,
    crls: &[Crl],
    at_s: u64,
) -> Result<IdentityCertificate, VerifyError> {
    let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
    // A time beyond i64 is after the end of every certificate.
    let at = i64::try_from(at_s).unwrap_or(i64::MAX);
    verify_chain(&chain, bundle, crls, POLICY, at, Purpose::Client)
}

/// Whether certificates are the CA bundle of a member. Says nothing about time.
#[must_use]
pub fn is_bundle_of<D: AsRef<[u8]>>(member: &MemberId, bundle: &[D]) -> bool {
    CaBundle::of_member(member, bundle).is_ok()
}

/// Verifies a revocation list under a member's bundle.
#[must_use]
pub fn verify_revocations<D: AsRef<[u8]>>(crl: &[u8], bundle: &[D]) -> Option<Crl> {
    Crl::parse(crl, &CaBundle::from_ders(bundle).ok()?).ok()
}
