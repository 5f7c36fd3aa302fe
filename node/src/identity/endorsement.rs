//! Checks that every founding member has endorsed the genesis document.

use consilium_certs::{CaBundle, Purpose, RevocationPolicy, verify_chain};
use consilium_proto::error::fixed;
use consilium_proto::genesis::{Genesis, Member, endorsement_input};
use consilium_proto::names::Role;
use consilium_proto::pb::Endorsement;
use rustls_pki_types::CertificateDer;

use super::rules::certificate_key;

/// A genesis document that not all members stand behind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the genesis document lacks a valid endorsement of {member}: {reason}")]
pub struct EndorsementError {
    member: String,
    reason: String,
}

/// Verifies each member's endorsement under that member's own bundle, at the
/// genesis' time.
///
/// # Errors
/// The first member whose endorsement is absent or wrong.
pub fn verify_endorsements(genesis: &Genesis) -> Result<(), EndorsementError> {
    for member in &genesis.members {
        let fail = |reason: String| EndorsementError { member: member.id.to_string(), reason };
        let endorsement = genesis.endorsements.iter().find(|e| e.member == member.id.as_str());
        let endorsement = endorsement.ok_or_else(|| fail("absent".into()))?;
        verify(genesis, member, endorsement).map_err(fail)?;
    }
    Ok(())
}

fn verify(genesis: &Genesis, member: &Member, endorsement: &Endorsement) -> Result<(), String> {
    let bundle = CaBundle::from_ders(&member.ca_bundle).map_err(|e| e.to_string())?;
    if bundle.member().as_str() != member.id.as_str() {
        return Err(format!("the bundle is of {}", bundle.member().as_str()));
    }
    let chain: Vec<_> = endorsement.certificate_chain.iter().map(|d| CertificateDer::from(d.as_ref())).collect();
    let at = i64::try_from(genesis.time.0 / 1_000).map_err(|e| e.to_string())?;
    let policy = RevocationPolicy { enforce_expiry: false };
    let admin = verify_chain(&chain, &bundle, &[], policy, at, Purpose::Client).map_err(|e| e.to_string())?;
    if admin.spiffe_id().role() != Role::Admin {
        return Err(format!("signed by {}, which is no administrator", admin.spiffe_id()));
    }
    let key = certificate_key(&admin).ok_or("the administrator's key is not P-256")?;
    let signature = fixed::<64>("signature", &endorsement.signature).map_err(|e| e.to_string())?;
    key.verify(&endorsement_input(&genesis.ledger_id), &signature).map_err(|_| "the signature is wrong".to_owned())
}
