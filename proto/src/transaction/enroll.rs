//! Enrolment of an identity: its certificate chain as it came, and its keys with the proof that
//! its holder has them. And of which unit of its member it is.

use bytes::Bytes;

use crate::error::{FieldError, fixed, length_in};
use crate::hash::sha256;
use crate::ids::{Fingerprint, LedgerId};
use crate::keys::EncryptionPublicKey;
use crate::limits::{CERTIFICATE_BYTES_MAX, CHAIN_CERTIFICATES_MAX};
use crate::names::{Role, SpiffeId, UnitCode};
use crate::pb;
use crate::signing::{self, Domain, VerifyingKey};

/// A parsed enrolment. The certificate is parsed by the rules, which know the
/// member's bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enroll {
    /// DER, leaf first.
    pub chain: Vec<Bytes>,
    /// The key that will sign transactions, if not the certificate's.
    pub signing_key: Option<VerifyingKey>,
    /// Its proof of possession; verified in a transaction, which knows the ledger.
    signing_key_proof: Option<[u8; 64]>,
    /// The key that records are wrapped for, if any.
    pub encryption_key: Option<EncryptionPublicKey>,
}

/// What a signing key signs at enrolment, to prove that its holder enrols it on
/// this ledger and for this certificate.
#[must_use]
pub fn enrollment_proof_input(ledger: LedgerId, certificate: &Fingerprint) -> Vec<u8> {
    signing::signing_input(Domain::ENROLL, &sha256(&[ledger.as_bytes(), certificate.as_bytes()]))
}

impl Enroll {
    pub(super) fn parse(m: pb::EnrollIdentity) -> Result<Self, FieldError> {
        length_in("certificate_chain", m.certificate_chain.len(), 1, CHAIN_CERTIFICATES_MAX)?;
        for der in &m.certificate_chain {
            length_in("certificate_chain", der.len(), 1, CERTIFICATE_BYTES_MAX)?;
        }
        let (signing_key, signing_key_proof) = parse_signing_key(&m)?;
        let encryption_key = match m.encryption_key.is_empty() {
            true => None,
            false => Some(
                EncryptionPublicKey::decode(&m.encryption_key)
                    .map_err(|_| FieldError::malformed("encryption_key", "is not a known encryption key"))?,
            ),
        };
        Ok(Self { chain: m.certificate_chain, signing_key, signing_key_proof, encryption_key })
    }

    /// Holds the signing key's proof against the certificate and the ledger.
    pub(super) fn check_proof(&self, ledger: LedgerId) -> Result<(), FieldError> {
        let (Some(key), Some(proof)) = (&self.signing_key, &self.signing_key_proof) else { return Ok(()) };
        key.verify(&enrollment_proof_input(ledger, &self.fingerprint()), proof)
            .map_err(|_| FieldError::malformed("signing_key_proof", "is not a signature by signing_key"))
    }

    /// SHA-256 of the leaf certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_bytes(sha256(&[self.chain.first().map_or(&[], |leaf| leaf.as_ref())]))
    }
}

/// The key and what claims to prove that the author has it.
fn parse_signing_key(m: &pb::EnrollIdentity) -> Result<(Option<VerifyingKey>, Option<[u8; 64]>), FieldError> {
    if m.signing_key.is_empty() {
        length_in("signing_key_proof", m.signing_key_proof.len(), 0, 0)?;
        return Ok((None, None));
    }
    let key = VerifyingKey::from_bytes(&m.signing_key)
        .map_err(|_| FieldError::malformed("signing_key", "is not a known signing key"))?;
    Ok((Some(key), Some(fixed("signing_key_proof", &m.signing_key_proof)?)))
}

/// See [`pb::AssignUnit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignUnit {
    /// Who; never a patient, whose unit would tell where it lies.
    pub identity: SpiffeId,
    /// Of which unit; `None`: of none any more.
    pub unit: Option<UnitCode>,
}

impl AssignUnit {
    pub(super) fn parse(m: &pb::AssignUnit) -> Result<Self, FieldError> {
        let identity: SpiffeId =
            m.spiffe_id.parse().map_err(|_| FieldError::malformed("spiffe_id", "is not a SPIFFE id"))?;
        if identity.role() == Role::Patient {
            return Err(FieldError::malformed("spiffe_id", "is a patient's, who is of no unit"));
        }
        Ok(Self { identity, unit: UnitCode::parse_optional("unit", &m.unit)? })
    }
}
