//! X.509 for the rules of the ledger: pure, with the block's time. The same
//! arguments always give the same answer, whatever the machine or the clock.

use std::collections::BTreeSet;

use consilium_proto::names::MemberId;
use rustls_pki_types::CertificateDer;

use crate::ca::{CaBundle, CaCertificate};
use crate::crl::Crl;
use crate::identity::IdentityCertificate;
use crate::verify::{Purpose, RevocationPolicy, VerifiedChain, VerifyError, verify_chain};
use consilium_proto::ids::AuthorityId;

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
pub fn verify<D: AsRef<[u8]>>(chain: &[D], bundle: &[D], crls: &[D], at_s: u64) -> Option<VerifiedChain> {
    let bundle = CaBundle::from_ders(bundle).ok()?;
    let crls = lists(crls, &bundle);
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
) -> Result<VerifiedChain, VerifyError> {
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

/// The CAs of a bundle that vouch for identities under its lists, ascending.
#[must_use]
pub fn authorities<D: AsRef<[u8]>>(bundle: &[D], crls: &[D]) -> Vec<AuthorityId> {
    let Ok(bundle) = CaBundle::from_ders(bundle) else { return Vec::new() };
    let crls = lists(crls, &bundle);
    let authorities: BTreeSet<_> = bundle.vouching(&crls).map(CaCertificate::authority).collect();
    authorities.into_iter().collect()
}

fn lists<D: AsRef<[u8]>>(crls: &[D], bundle: &CaBundle) -> Vec<Crl> {
    crls.iter().filter_map(|der| Crl::parse(der.as_ref(), bundle).ok()).collect()
}

/// Verifies a revocation list under a member's bundle.
#[must_use]
pub fn verify_revocations<D: AsRef<[u8]>>(crl: &[u8], bundle: &[D]) -> Option<Crl> {
    Crl::parse(crl, &CaBundle::from_ders(bundle).ok()?).ok()
}
