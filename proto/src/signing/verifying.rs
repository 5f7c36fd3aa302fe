//! Public keys and single verification.
//!
//! A [`VerifyingKey`] that exists is valid: it was checked when it was parsed, so
//! nothing that holds one has to check again. It never accepts two encodings of
//! one key, because fingerprints are made of the encoding.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use ed25519_zebra::{Signature, VerificationKey};

use super::{Domain, SIGNATURE_LEN, SignatureAlgorithm, SigningError, signature_from_slice};
use crate::hash::sha256;

/// A public key that verifies signatures of the ledger.
#[derive(Clone)]
pub struct VerifyingKey(Inner);

#[derive(Clone)]
enum Inner {
    Ed25519(VerificationKey),
    Es256 {
        point: [u8; 65],
        // Parsed once: parsing costs a point decompression and a curve check.
        parsed: Arc<ParsedPublicKey>,
    },
}

impl VerifyingKey {
    /// Reads a key from its tag byte and raw bytes (see [`Self::to_bytes`]).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SigningError> {
        let (tag, raw) = bytes.split_first().ok_or(SigningError::EmptyKey)?;
        Self::from_raw(SignatureAlgorithm::try_from(*tag)?, raw)
    }

    /// Reads a raw key: 32 bytes as in RFC 8032, or the 65 bytes of an
    /// uncompressed point as in SEC 1 (0x04, x, y).
    ///
    /// Compressed and hybrid points, points off the curve, non-canonical
    /// encodings and keys of small order are refused.
    pub fn from_raw(algorithm: SignatureAlgorithm, raw: &[u8]) -> Result<Self, SigningError> {
        let expected = algorithm.public_key_len();
        if raw.len() != expected {
            return Err(SigningError::KeyLength { algorithm, expected, got: raw.len() });
        }
        match algorithm {
            SignatureAlgorithm::Ed25519 => Self::ed25519(raw),
            SignatureAlgorithm::Es256 => Self::es256(raw),
        }
    }

    fn ed25519(raw: &[u8]) -> Result<Self, SigningError> {
        let malformed = SigningError::KeyEncoding(SignatureAlgorithm::Ed25519);
        let bytes: [u8; 32] = raw.try_into().map_err(|_| malformed)?;
        if is_small_order(&bytes) {
            return Err(SigningError::WeakKey);
        }
        if !is_canonical(&bytes) {
            return Err(malformed);
        }
        let key = VerificationKey::try_from(bytes).map_err(|_| malformed)?;
        Ok(Self(Inner::Ed25519(key)))
    }

    fn es256(raw: &[u8]) -> Result<Self, SigningError> {
        let malformed = SigningError::KeyEncoding(SignatureAlgorithm::Es256);
        let point: [u8; 65] = raw.try_into().map_err(|_| malformed)?;
        if point[0] != 0x04 {
            return Err(malformed);
        }
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| malformed)?;
        Ok(Self(Inner::Es256 { point, parsed: Arc::new(parsed) }))
    }

    /// The algorithm of this key.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match &self.0 {
            Inner::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Inner::Es256 { .. } => SignatureAlgorithm::Es256,
        }
    }

    /// The raw key: 32 or 65 bytes.
    pub fn raw(&self) -> &[u8] {
        match &self.0 {
            Inner::Ed25519(key) => key.as_ref(),
            Inner::Es256 { point, .. } => point,
        }
    }

    /// The tag of the algorithm (1 byte), then the raw key: the form on the ledger.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + self.raw().len());
        out.push(self.algorithm().tag());
        out.extend_from_slice(self.raw());
        out
    }

    /// SHA-256 of the domain prefix and [`Self::to_bytes`]: names the key as an author.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&[&Domain::SIGNING_KEY.prefix(), &self.to_bytes()])
    }

    /// The SHA-256 thumbprint of RFC 9679: what the world names this key by, in the `kid`
    /// of COSE objects and of JWKs. The `COSE_Key` that it hashes holds the type, the curve
    /// and the coordinates, in deterministic encoding.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        match &self.0 {
            // {1: 1 (OKP), -1: 6 (Ed25519), -2: x}
            Inner::Ed25519(key) => sha256(&[&[0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20], key.as_ref()]),
            // {1: 2 (EC2), -1: 1 (P-256), -2: x, -3: y}
            Inner::Es256 { point, .. } => {
                let (x, y) = point[1..].split_at(32);
                sha256(&[&[0xa4, 0x01, 0x02, 0x20, 0x01, 0x21, 0x58, 0x20], x, &[0x22, 0x58, 0x20], y])
            }
        }
    }

    /// Verifies one signature over `message` (for the ledger: a `signing_input`).
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Result<(), SigningError> {
        let invalid = SigningError::Invalid(self.algorithm());
        match &self.0 {
            Inner::Ed25519(key) => key.verify(&Signature::from_bytes(signature), message).map_err(|_| invalid),
            Inner::Es256 { parsed, .. } => parsed.verify_sig(message, signature).map_err(|_| invalid),
        }
    }

    /// The Ed25519 key inside, for the batch verifier.
    pub(super) fn as_ed25519(&self) -> Option<&VerificationKey> {
        match &self.0 {
            Inner::Ed25519(key) => Some(key),
            Inner::Es256 { .. } => None,
        }
    }
}

/// Verifies one signature given as received bytes; any length but 64 is refused.
pub fn verify(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), SigningError> {
    key.verify(message, &signature_from_slice(signature)?)
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm() == other.algorithm() && self.raw() == other.raw()
    }
}

impl Eq for VerifyingKey {}

impl PartialOrd for VerifyingKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VerifyingKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.algorithm(), self.raw()).cmp(&(other.algorithm(), other.raw()))
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({} {})", self.algorithm(), hex::encode(self.raw()))
    }
}

/// The y coordinates (little endian, sign bit clear) of all points whose order
/// divides 8, with the two non-canonical forms p and p + 1.
const SMALL_ORDER_Y: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn is_small_order(key: &[u8; 32]) -> bool {
    let mut y = *key;
    y[31] &= 0x7f;
    let mut decoded = [0u8; 32];
    SMALL_ORDER_Y.iter().any(|entry| hex::decode_to_slice(entry, &mut decoded).is_ok() && decoded == y)
}

/// Whether y is below p = 2^255 - 19 (RFC 8032 section 5.1.3 step 1).
fn is_canonical(key: &[u8; 32]) -> bool {
    let middle_full = key[1..31].iter().all(|byte| *byte == 0xff);
    !(middle_full && key[31] & 0x7f == 0x7f && key[0] >= 0xed)
}

#[cfg(test)]
mod tests;
