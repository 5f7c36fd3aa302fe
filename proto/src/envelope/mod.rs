//! Record envelopes: how a record stays secret from everyone who was not given it.
//!
//! Everything here runs in clients and custodians, never in a node:
//!
//! 1. the author makes a fresh [`ContentKey`] for each version of a record;
//! 2. [`seal_payload`] pads and encrypts the document (AES-256-GCM);
//! 3. [`wrap_key`] encrypts the content key for each recipient (HPKE, RFC 9180);
//! 4. [`SearchKey`] turns what one searches by into tags that tell a node nothing.
//!
//! Payload and wraps both bind the [`EnvelopeContext`], so neither can be moved to
//! another ledger, record or version. This module never decides who may read, and
//! no error of it carries plaintext or key bytes.

mod addressed;
pub mod aead;
mod blind;
mod padding;
mod payload;
mod text;
mod wrap;

pub use addressed::SealedText;
pub use blind::{SearchKey, TAG_LEN, blind_tag, lookup_tag};
pub use padding::padded_len;
pub use payload::{ContentKey, PAYLOAD_OVERHEAD, PLAINTEXT_LEN_MAX, open_payload, seal_payload};
pub use text::{open_text, seal_text, seal_text_for};
pub use wrap::{KeyWrap, unwrap_key, wrap_key};

use crate::keys::{KemId, KeyError};
use crate::random::RandomUnavailable;
use crate::signing::Domain;

/// Why an envelope cannot be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The plaintext is larger than [`PLAINTEXT_LEN_MAX`].
    #[error("document of {0} bytes is larger than {PLAINTEXT_LEN_MAX} bytes")]
    TooLarge(usize),
    /// The bytes end before the envelope does.
    #[error("envelope is too short: {0} bytes")]
    Truncated(usize),
    /// The first byte names a format that this version does not know.
    #[error("unknown envelope format {0}")]
    UnknownFormat(u8),
    /// Wrong key, wrong ledger, record or version, or altered bytes; which of
    /// these it was cannot be told, and must not be.
    #[error("envelope does not open with this key and context")]
    Open,
    /// The payload decrypts but is not padded as the format says: its author's
    /// software is broken.
    #[error("envelope is not padded correctly")]
    Padding,
    /// A key wrap has the wrong length for its KEM.
    #[error("key wrap for {kem}: expected {expected} bytes, got {got}")]
    WrapLength {
        /// The KEM that the wrap names.
        kem: KemId,
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that it has.
        got: usize,
    },
    /// The wrap was made for another KEM than the key's.
    #[error("key wrap is for {wrap}, the key is for {key}")]
    KemMismatch {
        /// The KEM that the wrap names.
        wrap: KemId,
        /// The KEM of the private key.
        key: KemId,
    },
    /// The recipient's key cannot be encrypted to (a point of small order).
    #[error("cannot encapsulate to this {0} key")]
    Encapsulation(KemId),
    /// The KEM is none of ours.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No randomness for a key or a nonce.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
    /// The cryptographic library failed to encrypt.
    #[error("the cryptographic library failed")]
    Library,
}

/// What an envelope belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvelopeContext {
    /// The ledger's id: hash of its genesis document.
    pub ledger_id: [u8; 32],
    /// The record's id.
    pub record_id: [u8; 16],
    /// The record's version, from 1.
    pub version: u32,
}

impl EnvelopeContext {
    /// Domain prefix, ledger id (32), record id (16), version (4, big endian).
    fn bound_to(&self, domain: Domain) -> Vec<u8> {
        let mut out = domain.prefix();
        out.extend_from_slice(&self.ledger_id);
        out.extend_from_slice(&self.record_id);
        out.extend_from_slice(&self.version.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests;
