//! Signatures of the ledger: algorithms, keys, domain separation, batches.
//!
//! Owns the decision which signature is valid. Every validator must reach the
//! same answer on every input, so each rule here is exact:
//!
//! - **Ed25519** is verified by the rules of ZIP-215 (cofactored equation,
//!   canonical `s`), under which batch and single verification agree on every
//!   input. Keys of small order and non-canonical key encodings are refused when
//!   the key is parsed, so no key exists that verifies everything.
//! - **ES256** is ECDSA on P-256 with SHA-256 and the signature as `r || s`
//!   (IEEE P1363). Both `s` and `n - s` are accepted: HSMs emit either, and no id
//!   of the ledger depends on signature bytes, so nothing is gained by refusing.
//!
//! What is signed is never a bare message but [`signing_input`]: a domain string,
//! so that a signature made for one purpose is worthless for every other, and a
//! SHA-256 digest of the bytes as they were received.
//!
//! This module never re-encodes a message to verify it, and never prints a key.

mod batch;
mod secret;
mod verifying;

pub use batch::{BATCH_LEN_MAX, BatchVerifier, verify_batch};
pub use secret::{KeyFileError, SigningKey};
pub use verifying::{VerifyingKey, verify};

use crate::random::RandomUnavailable;

/// Length of every signature of the ledger in bytes, whatever the algorithm.
pub const SIGNATURE_LEN: usize = 64;

/// Signature bytes: Ed25519 as in RFC 8032 (`R || s`), ES256 as `r || s`.
pub type SignatureBytes = [u8; SIGNATURE_LEN];

/// Why a key or a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The first byte of an encoded key names no algorithm of the ledger.
    #[error("unknown signature algorithm tag {0}")]
    UnknownAlgorithm(u8),
    /// An encoded key has no bytes at all.
    #[error("empty key")]
    EmptyKey,
    /// The key has the wrong length for its algorithm.
    #[error("{algorithm} key: expected {expected} bytes, got {got}")]
    KeyLength {
        /// The algorithm that the key claims.
        algorithm: SignatureAlgorithm,
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that it has.
        got: usize,
    },
    /// The key is not a point, not canonical, compressed, or not on the curve.
    #[error("{0} key: not a valid encoding of a public key")]
    KeyEncoding(SignatureAlgorithm),
    /// An Ed25519 key of small order: signatures under it bind nothing.
    #[error("Ed25519 key of small order")]
    WeakKey,
    /// A signature is not 64 bytes long.
    #[error("signature: expected 64 bytes, got {0}")]
    SignatureLength(usize),
    /// The signature is not one of this key over this message.
    #[error("{0} signature is not valid")]
    Invalid(SignatureAlgorithm),
    /// A private key is not PKCS#8 with an Ed25519 or P-256 key, or its public
    /// half does not belong to it.
    #[error("not a PKCS#8 key for Ed25519 or P-256")]
    Pkcs8,
    /// The cryptographic library could not sign or export.
    #[error("the cryptographic library failed")]
    Library,
    /// No randomness for a new key.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// The signature algorithms of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// Ed25519 (RFC 8032), verified by ZIP-215. The default.
    Ed25519,
    /// ECDSA P-256 with SHA-256, for keys in HSMs; COSE algorithm -7.
    Es256,
}

impl SignatureAlgorithm {
    /// The byte in front of an encoded key. Changing it breaks state.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Es256 => 2,
        }
    }

    /// Length of a raw public key in bytes: 32, or 65 for an uncompressed point.
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::Es256 => 65,
        }
    }
}

impl TryFrom<u8> for SignatureAlgorithm {
    type Error = SigningError;

    fn try_from(tag: u8) -> Result<Self, SigningError> {
        match tag {
            1 => Ok(Self::Ed25519),
            2 => Ok(Self::Es256),
            other => Err(SigningError::UnknownAlgorithm(other)),
        }
    }
}

impl std::fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
            Self::Es256 => "ES256",
        })
    }
}

/// What a signature, a hash or a derived key is for. Only the constants exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(&'static str);

impl Domain {
    /// Signature of an author over the head of a transaction.
    pub const TX: Self = Self("consilium/tx/v2");
    /// Transaction id: hash of the head.
    pub const TX_ID: Self = Self("consilium/txid/v2");
    /// What hides an action of a transaction that is not shown.
    pub const ACTION_SALT: Self = Self("consilium/action-salt/v1");
    /// Vote of a validator over a header hash.
    pub const VOTE: Self = Self("consilium/vote/v1");
    /// Binding of signing and encryption keys to an identity at enrolment.
    pub const ENROLL: Self = Self("consilium/enroll/v2");
    /// Genesis document; its hash is the ledger id.
    pub const GENESIS: Self = Self("consilium/genesis/v1");
    /// Signature of a founding member's administrator over a ledger id.
    pub const ENDORSEMENT: Self = Self("consilium/endorsement/v1");
    /// Header hash.
    pub const HEADER: Self = Self("consilium/header/v1");
    /// Attestation of a node that it has erased a record.
    pub const ERASURE: Self = Self("consilium/erasure/v1");
    /// Fingerprint of a signing key.
    pub const SIGNING_KEY: Self = Self("consilium/signing-key/v1");
    /// Fingerprint of an encryption key.
    pub const ENCRYPTION_KEY: Self = Self("consilium/encryption-key/v1");
    /// Key of a payload, derived from its content key.
    pub const PAYLOAD_KEY: Self = Self("consilium/payload-key/v1");
    /// Commitment of a payload to its content key.
    pub const PAYLOAD_COMMIT: Self = Self("consilium/payload-commit/v1");
    /// Additional data of a payload.
    pub const PAYLOAD: Self = Self("consilium/payload/v1");
    /// HPKE `info` of a key wrap.
    pub const KEY_WRAP: Self = Self("consilium/key-wrap/v1");
    /// Blinded search tag.
    pub const SEARCH_TAG: Self = Self("consilium/search-tag/v1");
    /// Blinded identifier of a patient.
    pub const PATIENT_LOOKUP: Self = Self("consilium/patient-lookup/v1");
    /// Id of a salt of a patient's labels.
    pub const PATIENT_SALT: Self = Self("consilium/patient-salt/v1");

    /// All domains, for tests that they differ.
    pub const ALL: [Self; 18] = [
        Self::TX,
        Self::TX_ID,
        Self::ACTION_SALT,
        Self::VOTE,
        Self::ENROLL,
        Self::GENESIS,
        Self::ENDORSEMENT,
        Self::HEADER,
        Self::ERASURE,
        Self::SIGNING_KEY,
        Self::ENCRYPTION_KEY,
        Self::PAYLOAD_KEY,
        Self::PAYLOAD_COMMIT,
        Self::PAYLOAD,
        Self::KEY_WRAP,
        Self::SEARCH_TAG,
        Self::PATIENT_LOOKUP,
        Self::PATIENT_SALT,
    ];

    /// The domain string itself, ASCII.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// One byte with the length of the string, then the string.
    ///
    /// The strings are shorter than 64 bytes, so the first byte never equals
    /// that of a COSE `Sig_structure` (0x84), which the same ES256 key may sign.
    pub fn prefix(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + self.0.len());
        // Every constant above is far below 256 bytes; a test holds this.
        out.push(self.0.len() as u8);
        out.extend_from_slice(self.0.as_bytes());
        out
    }
}

/// The bytes that are signed: length of the domain (1 byte), domain (ASCII),
/// digest (32 bytes).
///
/// In Python, for a transaction:
///
/// ```text
/// d = b"consilium/tx/v2"
/// to_sign = bytes([len(d)]) + d + hashlib.sha256(head).digest()
/// signature = ed25519_private_key.sign(to_sign)
/// ```
///
/// For ES256 the same bytes are the *message*: the algorithm hashes them again
/// with SHA-256, as every library does by default.
pub fn signing_input(domain: Domain, digest: &[u8; 32]) -> Vec<u8> {
    let mut out = domain.prefix();
    out.extend_from_slice(digest);
    out
}

/// A signature from received bytes; refuses any length but 64.
pub fn signature_from_slice(bytes: &[u8]) -> Result<SignatureBytes, SigningError> {
    bytes.try_into().map_err(|_| SigningError::SignatureLength(bytes.len()))
}

#[cfg(test)]
mod tests;
