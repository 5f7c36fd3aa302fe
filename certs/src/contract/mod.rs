//! The rules of the contract that need X.509: what a genesis document, an
//! invitation and an enrolment have to be. Each is written once and called by
//! node and client alike, so that no node starts on a document that the command
//! line refuses.
//!
//! Nothing here reads a file, a clock or a ledger: documents and times are
//! arguments.

pub mod genesis;
pub mod identity_rules;
pub mod invitation;

use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};

use crate::identity::IdentityCertificate;
use crate::profile::KeyType;

/// The key in a certificate, if transactions and endorsements can be signed
/// with it: on P-256.
#[must_use]
pub fn certificate_key(identity: &IdentityCertificate) -> Option<VerifyingKey> {
    match identity.key_type() {
        KeyType::EcP256 => VerifyingKey::from_raw(SignatureAlgorithm::Es256, identity.public_key().point()).ok(),
        KeyType::EcP384 => None,
    }
}
