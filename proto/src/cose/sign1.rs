//! COSE_Sign1 with ES256 (RFC 9052, RFC 9053), the part that receipts need.
//!
//! Stricter than the RFC where it leaves a choice: the tag is required, and the
//! algorithm stands in the protected header and only there, because a verifier
//! that takes it from elsewhere lets an attacker choose it. It never re-encodes
//! the protected header: the signature is over the bytes as received.

use coset::{Algorithm, CoseSign1, TaggedCborSerializable, iana};

use super::CoseError;
use crate::signing::{SignatureAlgorithm, VerifyingKey, signature_from_slice};

/// Decodes a tagged message and checks algorithm and critical headers.
pub(super) fn decode(bytes: &[u8]) -> Result<CoseSign1, CoseError> {
    let message = CoseSign1::from_tagged_slice(bytes).map_err(|_| CoseError::Malformed)?;
    let es256 = Some(Algorithm::Assigned(iana::Algorithm::ES256));
    if message.protected.header.alg != es256 || message.unprotected.alg.is_some() {
        return Err(CoseError::Algorithm);
    }
    if !message.protected.header.crit.is_empty() || !message.unprotected.crit.is_empty() {
        return Err(CoseError::Critical);
    }
    Ok(message)
}

/// Verifies the signature of a message without payload over a detached one.
pub(super) fn verify_signature(
    message: &CoseSign1,
    payload: &[u8],
    external_aad: &[u8],
    key: &VerifyingKey,
) -> Result<(), CoseError> {
    if key.algorithm() != SignatureAlgorithm::Es256 {
        return Err(CoseError::KeyAlgorithm(key.algorithm()));
    }
    // Not `tbs_detached_data`, which panics when there is a payload.
    let tbs = coset::sig_structure_data(
        coset::SignatureContext::CoseSign1,
        message.protected.clone(),
        None,
        external_aad,
        payload,
    );
    let signature = signature_from_slice(&message.signature).map_err(|_| CoseError::Signature)?;
    key.verify(&tbs, &signature).map_err(|_| CoseError::Signature)
}

/// Verifies a tagged COSE_Sign1 with ES256 and answers with its payload.
///
/// `detached` is the payload when the message has none in itself; giving one to
/// a message that has its own is refused, and so is giving none to one without.
pub fn verify_sign1(
    bytes: &[u8],
    detached: Option<&[u8]>,
    external_aad: &[u8],
    key: &VerifyingKey,
) -> Result<Vec<u8>, CoseError> {
    let message = decode(bytes)?;
    let payload = match (&message.payload, detached) {
        (Some(attached), None) => attached.clone(),
        (None, Some(detached)) => detached.to_vec(),
        (Some(_), Some(_)) | (None, None) => return Err(CoseError::PayloadCount),
    };
    verify_signature(&message, &payload, external_aad, key)?;
    Ok(payload)
}
