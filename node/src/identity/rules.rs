//! X.509 for the rules of the ledger: pure, with the block's time.

use bytes::Bytes;
use consilium_certs::{CaBundle, Crl, IdentityCertificate, KeyType, Purpose, RevocationPolicy, verify_chain};
use consilium_ledger::{IdentityRules, RevocationList, VerifiedIdentity};
use consilium_proto::names::MemberId;
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use rustls_pki_types::CertificateDer;

/// The profile's answers. Lists past their next update still count: which list
/// is the newest is a fact of the ledger, and the answer must not depend on
/// when it is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct X509Rules;

const POLICY: RevocationPolicy = RevocationPolicy { enforce_expiry: false };

impl IdentityRules for X509Rules {
    fn claimed_member(&self, chain: &[Bytes]) -> Option<MemberId> {
        let leaf = IdentityCertificate::parse(chain.first()?).ok()?;
        Some(leaf.spiffe_id().member().clone())
    }

    fn verify(&self, chain: &[Bytes], bundle: &[Bytes], crls: &[Bytes], at_s: u64) -> Option<VerifiedIdentity> {
        let bundle = CaBundle::from_ders(bundle).ok()?;
        let crls: Vec<Crl> = crls.iter().filter_map(|der| Crl::parse(der, &bundle).ok()).collect();
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
        let at = i64::try_from(at_s).ok()?;
        let identity = verify_chain(&chain, &bundle, &crls, POLICY, at, Purpose::Client).ok()?;
        Some(VerifiedIdentity {
            spiffe_id: identity.spiffe_id().clone(),
            key: certificate_key(&identity),
            serial: identity.serial().as_bytes().to_vec(),
            not_before_s: u64::try_from(identity.not_before()).ok()?,
            not_after_s: u64::try_from(identity.not_after()).ok()?,
            issuer_key_id: identity.issuer_key_id().to_vec(),
        })
    }

    fn check_bundle(&self, member: &MemberId, bundle: &[Bytes]) -> bool {
        CaBundle::from_ders(bundle).is_ok_and(|bundle| bundle.member() == member)
    }

    fn verify_revocations(&self, crl: &[u8], bundle: &[Bytes]) -> Option<RevocationList> {
        let bundle = CaBundle::from_ders(bundle).ok()?;
        let crl = Crl::parse(crl, &bundle).ok()?;
        Some(RevocationList {
            issuer_key_id: crl.issuer_key_id().to_vec(),
            number: crl.number().to_be_bytes().to_vec(),
            serials: crl.revoked().map(|s| s.as_bytes().to_vec()).collect(),
        })
    }
}

/// The certificate's key, if it can sign transactions.
#[must_use]
pub fn certificate_key(identity: &IdentityCertificate) -> Option<VerifyingKey> {
    match identity.key_type() {
        KeyType::EcP256 => VerifyingKey::from_raw(SignatureAlgorithm::Es256, identity.public_key().point()).ok(),
        KeyType::EcP384 => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use consilium_certs::{MemberCa, Validity};
    use time::{Duration, OffsetDateTime};

    fn ca(member: &str) -> Bytes {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let validity = Validity { not_before: now, not_after: now + Duration::days(365) };
        MemberCa::create(&member.parse().unwrap(), validity).unwrap().certificate().der().to_vec().into()
    }

    #[test]
    fn a_bundle_holds_cas_of_its_member_alone() {
        let (a, next, b) = (ca("a.example"), ca("a.example"), ca("b.example"));
        let is_bundle = |bundle: &[&Bytes]| {
            let bundle: Vec<Bytes> = bundle.iter().map(|der| (*der).clone()).collect();
            X509Rules.check_bundle(&"a.example".parse().unwrap(), &bundle)
        };
        assert!(is_bundle(&[&a]) && is_bundle(&[&a, &next]));
        assert!(!is_bundle(&[&b]) && !is_bundle(&[&a, &b]) && !is_bundle(&[&a, &a]));
        assert!(!is_bundle(&[]) && !is_bundle(&[&Bytes::from_static(b"no certificate")]));
    }
}
