//! Tags by which nodes can match records without knowing what they match.
//!
//! Both functions are HMAC-SHA256 under a [`SearchKey`] that the members' clients
//! share and no node has, cut to 16 bytes. The same input gives the same tag, so
//! a node sees *that* two records share a value; whoever holds the key can try
//! values, so it must stay with members. This module never normalises: callers
//! must agree on one spelling of a value before they come here.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::EnvelopeError;
use crate::random::random_array;
use crate::signing::Domain;

/// Length of a tag in bytes.
pub const TAG_LEN: usize = 16;

/// The members' shared key for tags: 32 bytes, wiped when dropped.
#[derive(Clone)]
pub struct SearchKey(Zeroizing<[u8; 32]>);

impl SearchKey {
    /// A fresh key from the randomness of the operating system.
    pub fn generate() -> Result<Self, EnvelopeError> {
        Ok(Self(Zeroizing::new(random_array()?)))
    }

    /// A key from known bytes, which stay the caller's to wipe.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The key bytes, to be stored by the client.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.expose());
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        let mut tag = [0u8; TAG_LEN];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG_LEN]);
        tag
    }
}

impl std::fmt::Debug for SearchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SearchKey([redacted])")
    }
}

/// Search tag of a value of a kind, e.g. kind `code`, value `http://loinc.org|718-7`.
///
/// HMAC over the prefix of `consilium/search-tag/v1`, the length of the kind
/// (8 bytes, big endian), the kind (UTF-8) and the value; the first 16 bytes.
pub fn blind_tag(key: &SearchKey, kind: &str, value: &[u8]) -> [u8; TAG_LEN] {
    let kind_len = (kind.len() as u64).to_be_bytes();
    key.mac(&[&Domain::SEARCH_TAG.prefix(), &kind_len, kind.as_bytes(), value])
}

/// Tag of a patient's identifier, e.g. `urn:oid:1.2.3|123456`, by which the pseudonym is found.
///
/// HMAC over the prefix of `consilium/patient-lookup/v1` and the identifier; the first
/// 16 bytes.
pub fn lookup_tag(key: &SearchKey, identifier: &[u8]) -> [u8; TAG_LEN] {
    key.mac(&[&Domain::PATIENT_LOOKUP.prefix(), identifier])
}

#[cfg(test)]
mod tests;
