//! Encryption of a record's document: the payload.
//!
//! Format 1, the bytes whose SHA-256 is on the ledger:
//!
//! ```text
//! offset  length
//!      0       1  format = 1
//!      1      12  nonce, random
//!     13      32  commitment
//!     45       n  AES-256-GCM ciphertext of the padded document, tag at the end
//! ```
//!
//! With `context` = ledger id (32), record id (16), version (4, big endian) and
//! every domain prefixed by its length in one byte:
//!
//! ```text
//! key        = HMAC-SHA256(content key, "consilium/payload-key/v1"    || context)
//! commitment = HMAC-SHA256(content key, "consilium/payload-commit/v1" || context)
//! aad        =                          "consilium/payload/v1"        || context
//! ```
//!
//! The commitment is there because AES-GCM alone lets an author craft one
//! ciphertext that opens to two documents under two keys: the patient would see
//! another record than the doctor, both under one hash on the ledger.
//!
//! A content key encrypts one version only. This module never writes plaintext
//! or keys anywhere, and never says why opening failed.

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use super::aead::{self, NONCE_LEN, TAG_LEN};
use super::{EnvelopeContext, EnvelopeError, padding};
use crate::random::random_array;
use crate::signing::Domain;

const FORMAT: u8 = 1;
const COMMITMENT_LEN: usize = 32;
const HEADER_LEN: usize = 1 + NONCE_LEN + COMMITMENT_LEN;

/// Bytes that a payload has more than the padded document.
pub const PAYLOAD_OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// Largest document in bytes (32 MiB): larger ones (imaging) are stored elsewhere
/// and recorded by reference and hash.
pub const PLAINTEXT_LEN_MAX: usize = 32 * 1024 * 1024;

/// The key of one version of one record: 32 random bytes, wiped when dropped.
#[derive(Clone)]
pub struct ContentKey(Zeroizing<[u8; 32]>);

impl ContentKey {
    /// A fresh key from the randomness of the operating system.
    pub fn generate() -> Result<Self, EnvelopeError> {
        Ok(Self(Zeroizing::new(random_array()?)))
    }

    /// A key from known bytes, which stay the caller's to wipe.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The key bytes: to be wrapped, never to be stored or sent as they are.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA256 of the context in a domain, under this key.
    fn derive(&self, domain: Domain, context: &EnvelopeContext) -> Result<Zeroizing<[u8; 32]>, EnvelopeError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.expose());
        let mut out = Zeroizing::new([0u8; 32]);
        // Into our own buffer: the library's `Tag` would not be wiped.
        hmac::sign_to_buffer(&key, &context.bound_to(domain), &mut *out).map_err(|_| EnvelopeError::Library)?;
        Ok(out)
    }
}

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKey([redacted])")
    }
}

/// Pads and encrypts a document for one version of one record.
pub fn seal_payload(key: &ContentKey, context: &EnvelopeContext, plaintext: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    seal_with_nonce(key, context, plaintext, &random_array()?)
}

fn seal_with_nonce(
    key: &ContentKey,
    context: &EnvelopeContext,
    plaintext: &[u8],
    nonce: &[u8; NONCE_LEN],
) -> Result<Vec<u8>, EnvelopeError> {
    if plaintext.len() > PLAINTEXT_LEN_MAX {
        return Err(EnvelopeError::TooLarge(plaintext.len()));
    }
    let payload_key = key.derive(Domain::PAYLOAD_KEY, context)?;
    let aad = context.bound_to(Domain::PAYLOAD);
    let sealed = aead::seal(&payload_key, nonce, &aad, padding::pad(plaintext)?)?;
    let mut out = Vec::with_capacity(HEADER_LEN + sealed.len());
    out.push(FORMAT);
    out.extend_from_slice(nonce);
    out.extend_from_slice(&*key.derive(Domain::PAYLOAD_COMMIT, context)?);
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// Decrypts a payload. The document is wiped when the caller drops it.
pub fn open_payload(
    key: &ContentKey,
    context: &EnvelopeContext,
    payload: &[u8],
) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let truncated = EnvelopeError::Truncated(payload.len());
    let (format, rest) = payload.split_first().ok_or(truncated)?;
    if *format != FORMAT {
        return Err(EnvelopeError::UnknownFormat(*format));
    }
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(truncated)?;
    let (commitment, sealed) = rest.split_first_chunk::<COMMITMENT_LEN>().ok_or(truncated)?;
    if sealed.len() < TAG_LEN {
        return Err(truncated);
    }
    let expected = key.derive(Domain::PAYLOAD_COMMIT, context)?;
    constant_time::verify_slices_are_equal(commitment, &*expected).map_err(|_| EnvelopeError::Open)?;
    let payload_key = key.derive(Domain::PAYLOAD_KEY, context)?;
    let padded = aead::open(&payload_key, nonce, &context.bound_to(Domain::PAYLOAD), sealed)?;
    padding::unpad(&padded).map(|document| Zeroizing::new(document.to_vec()))
}

#[cfg(test)]
mod tests;
