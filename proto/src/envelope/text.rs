//! Texts of people for one recipient or a few, beside the ledger: what a patient asks, what a hospital
//! answers. A fresh content key, wrapped for each recipient, and the padded text under it:
//!
//! ```text
//! offset  length
//!      0       2  length of the wrap, big endian; 8000 (hexadecimal) more if another wrap follows
//!      2       w  the wrap
//!              n  after the last wrap, the payload
//! ```
//!
//! Wrap and payload are those of a record ([`super::wrap`], [`super::payload`]) in a context
//! whose version no record has, so that neither can be passed off as the other.

use zeroize::Zeroizing;

use super::{ContentKey, EnvelopeContext, EnvelopeError, KeyWrap, open_payload, seal_payload, unwrap_key, wrap_key};
use crate::keys::{EncryptionPrivateKey, EncryptionPublicKey};

const LENGTH_FIELD_LEN: usize = 2;
/// In the length of a wrap: another one follows. No wrap is as long.
const FURTHER: u16 = 0x8000;

/// Seals a text for one recipient.
///
/// # Errors
/// If the text is too large, or cryptography fails.
pub fn seal_text(
    recipient: &EncryptionPublicKey,
    context: &EnvelopeContext,
    text: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    seal_text_for(recipient, None, context, text)
}

/// Seals a text for one recipient and, so that it can be read again, for who wrote it.
///
/// # Errors
/// As [`seal_text`].
pub fn seal_text_for(
    recipient: &EncryptionPublicKey,
    author: Option<&EncryptionPublicKey>,
    context: &EnvelopeContext,
    text: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let key = ContentKey::generate()?;
    let mut out = Vec::new();
    for (further, to) in author.map(|to| (FURTHER, to)).into_iter().chain([(0, recipient)]) {
        let wrap = wrap_key(&key, to, context)?.encode();
        let length = u16::try_from(wrap.len()).ok().filter(|length| *length < FURTHER);
        let length = length.ok_or(EnvelopeError::TooLarge(wrap.len()))?;
        out.extend_from_slice(&(length | further).to_be_bytes());
        out.extend_from_slice(&wrap);
    }
    out.extend_from_slice(&seal_payload(&key, context, text)?);
    Ok(out)
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
    let (mut rest, mut opened, mut further) = (sealed, Err(EnvelopeError::Open), true);
    // As many turns as there are wraps: each takes bytes away.
    while further {
        let (length, behind) = rest.split_first_chunk::<LENGTH_FIELD_LEN>().ok_or(truncated)?;
        let length = u16::from_be_bytes(*length);
        let (wrap, behind) = behind.split_at_checked((length & !FURTHER).into()).ok_or(truncated)?;
        if opened.is_err() {
            opened = unwrap_key(&KeyWrap::decode(wrap)?, private, context);
        }
        (rest, further) = (behind, length & FURTHER != 0);
    }
    open_payload(&opened?, context, rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::KemId;

    #[test]
    fn who_wrote_a_text_opens_it_too_and_nobody_else() {
        let context = EnvelopeContext { ledger_id: [1; 32], record_id: [2; 16], version: 0 };
        let key = |kem| EncryptionPrivateKey::generate(kem).unwrap();
        let (custodian, author) = (key(KemId::XWing), key(KemId::X25519HkdfSha256));
        let sealed = seal_text_for(&custodian.public_key(), Some(&author.public_key()), &context, b"why?").unwrap();
        for private in [&custodian, &author] {
            assert_eq!(&open_text(private, &context, &sealed).unwrap()[..], b"why?");
        }
        assert_eq!(open_text(&key(KemId::XWing), &context, &sealed), Err(EnvelopeError::Open));
        assert!(open_text(&key(KemId::X25519HkdfSha256), &context, &sealed).is_err());
        for cut in (0..sealed.len()).step_by(61) {
            assert!(open_text(&custodian, &context, &sealed[..cut]).is_err(), "{cut}");
        }
        // The longest text of a petition still fits, with the longest wraps.
        let other = key(KemId::XWing).public_key();
        let longest = seal_text_for(&custodian.public_key(), Some(&other), &context, &[b'x'; 8 * 1024]).unwrap();
        assert!(longest.len() <= crate::limits::PETITION_TEXT_BYTES_MAX, "{}", longest.len());
    }

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
