//! Answers the ledger's questions: about X.509 with the rules of the contract, about the access
//! policy with the engine of this build.

use bytes::Bytes;
use consilium_certs::contract::{certificate_key, identity_rules};
use consilium_certs::{IdentityCertificate, VerifiedChain};
use consilium_ledger::{IdentityRules, RevocationList, VerifiedIdentity};
use consilium_policy::Engine;
use consilium_proto::access::{Facts, PolicyFault, PolicyRules};
use consilium_proto::ids::AuthorityId;
use consilium_proto::names::MemberId;
use consilium_proto::pb::AccessGround;
use consilium_proto::signing::VerifyingKey;

/// The certificate profile and the policy engine, as the ledger asks for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct X509Rules;

impl PolicyRules for X509Rules {
    fn is_policy(&self, text: &str) -> bool {
        Engine::shared().is_policy(text)
    }

    fn decide(&self, text: Option<&str>, facts: &Facts<'_>) -> Result<AccessGround, PolicyFault> {
        PolicyRules::decide(Engine::shared(), text, facts)
    }
}

impl IdentityRules for X509Rules {
    fn claimed_member(&self, chain: &[Bytes]) -> Option<MemberId> {
        identity_rules::claimed_member(chain)
    }

    fn certificate_key(&self, leaf: &[u8]) -> Option<VerifyingKey> {
        certificate_key(&IdentityCertificate::parse(leaf).ok()?)
    }

    fn verify(&self, chain: &[Bytes], bundle: &[Bytes], crls: &[Bytes], at_s: u64) -> Option<VerifiedIdentity> {
        let VerifiedChain { identity, authority, .. } = identity_rules::verify(chain, bundle, crls, at_s)?;
        Some(VerifiedIdentity {
            spiffe_id: identity.spiffe_id().clone(),
            key: certificate_key(&identity),
            serial: identity.serial().as_bytes().to_vec(),
            not_before_s: u64::try_from(identity.not_before()).ok()?,
            not_after_s: u64::try_from(identity.not_after()).ok()?,
            authority,
        })
    }

    fn check_bundle(&self, member: &MemberId, bundle: &[Bytes]) -> bool {
        identity_rules::is_bundle_of(member, bundle)
    }

    fn authorities(&self, bundle: &[Bytes], crls: &[Bytes]) -> Vec<AuthorityId> {
        identity_rules::authorities(bundle, crls)
    }

    fn verify_revocations(&self, crl: &[u8], bundle: &[Bytes]) -> Option<RevocationList> {
        let crl = identity_rules::verify_revocations(crl, bundle)?;
        Some(RevocationList {
            authority: crl.authority(),
            number: crl.number().to_be_bytes().to_vec(),
            serials: crl.revoked().map(|s| s.as_bytes().to_vec()).collect(),
        })
    }
}
