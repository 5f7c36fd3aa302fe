//! Texts of people for one recipient, beside the ledger: what a patient asks, what a hospital
//! answers. A fresh content key, wrapped for the recipient, and the padded text under it:
//!
//! ```text
//! offset  length
//!      0       2  length of the wrap, big endian
//!      2       w  the wrap
//!  2 + w       n  the payload
//! ```
//!
//! Wrap and payload are those of a record ([`super::wrap`], [`super::payload`]) in a context
//! whose version no record has, so that neither can be passed off as the other.

use zeroize::Zeroizing;

use super::{ContentKey, EnvelopeContext, EnvelopeError, KeyWrap, open_payload, seal_payload, unwrap_key, wrap_key};
use crate::keys::{EncryptionPrivateKey, EncryptionPublicKey};

const LENGTH_FIELD_LEN: usize = 2;

/// Seals a text for one recipient.
///
/// # Errors
/// If the text is too large, or cryptography fails.
pub fn seal_text(
    recipient: &EncryptionPublicKey,
    context: &EnvelopeContext,
    text: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let key = ContentKey::generate()?;
    let wrap = wrap_key(&key, recipient, context)?.encode();
    let length = u16::try_from(wrap.len()).map_err(|_| EnvelopeError::TooLarge(wrap.len()))?;
    let payload = seal_payload(&key, context, text)?;
    Ok([&length.to_be_bytes()[..], &wrap, &payload].concat())
}

/// Opens one. The text is wiped when the caller drops it.
///
/// # Errors
/// If it is none, or is not for this key and context.
pub fn open_text(
    private: &EncryptionPrivateKey,
    context: &EnvelopeContext,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let truncated = EnvelopeError::Truncated(sealed.len());
    let (length, rest) = sealed.split_first_chunk::<LENGTH_FIELD_LEN>().ok_or(truncated)?;
    let (wrap, payload) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(truncated)?;
    let key = unwrap_key(&KeyWrap::decode(wrap)?, private, context)?;
    open_payload(&key, context, payload)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::KemId;

    #[test]
    fn texts_open_for_their_recipient_in_their_context_and_only_there() {
        for kem in [KemId::X25519HkdfSha256, KemId::XWing] {
            let private = EncryptionPrivateKey::generate(kem).unwrap();
            let context = EnvelopeContext { ledger_id: [1; 32], record_id: [2; 16], version: 0 };
            let sealed = seal_text(&private.public_key(), &context, b"why?").unwrap();
            assert_eq!(&open_text(&private, &context, &sealed).unwrap()[..], b"why?");
            let elsewhere = EnvelopeContext { version: u32::MAX, ..context };
            assert_eq!(open_text(&private, &elsewhere, &sealed), Err(EnvelopeError::Open));
            let other = EncryptionPrivateKey::generate(kem).unwrap();
            assert_eq!(open_text(&other, &context, &sealed), Err(EnvelopeError::Open));
            for cut in [0, 1, 2, 40, sealed.len() - 1] {
                assert!(open_text(&private, &context, &sealed[..cut]).is_err(), "{cut}");
            }
        }
    }
}
