//! A sealed text that names the key which opens it: the reason of an emergency, for the custody
//! key of its author's member, whichever that was.
//!
//! ```text
//! offset  length
//!      0       1  format = 1
//!      1      32  id of the key that it is sealed for
//!     33       n  the sealed text
//! ```
//!
//! The sealed text is that of [`super::text`], with the id of the emergency in place of a record's
//! and version 0, which no record has.

use zeroize::Zeroizing;

use super::{EnvelopeContext, EnvelopeError, open_text, seal_text};
use crate::ids::{EmergencyId, KeyId, LedgerId};
use crate::keys::{EncryptionPrivateKey, EncryptionPublicKey};
use crate::transaction::encryption_key_id;

const FORMAT: u8 = 1;

/// A text that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedText {
    key: KeyId,
    sealed: Vec<u8>,
}

impl SealedText {
    /// Seals a text.
    ///
    /// # Errors
    /// As [`seal_text`].
    pub fn seal(
        recipient: &EncryptionPublicKey,
        (ledger, emergency): (&LedgerId, &EmergencyId),
        text: &[u8],
    ) -> Result<Self, EnvelopeError> {
        let sealed = seal_text(recipient, &context(ledger, emergency), text)?;
        Ok(Self { key: encryption_key_id(recipient), sealed })
    }

    /// Id of the key that it is sealed for.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Opens it.
    ///
    /// # Errors
    /// As [`open_text`].
    pub fn open(
        &self,
        private: &EncryptionPrivateKey,
        (ledger, emergency): (&LedgerId, &EmergencyId),
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        open_text(private, &context(ledger, emergency), &self.sealed)
    }

    /// See the module.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&[FORMAT], &self.key.as_bytes()[..], &self.sealed].concat()
    }

    /// Reads [`Self::encode`].
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let truncated = EnvelopeError::Truncated(bytes.len());
        let (format, rest) = bytes.split_first().ok_or(truncated)?;
        if *format != FORMAT {
            return Err(EnvelopeError::UnknownFormat(*format));
        }
        let (key, sealed) = rest.split_first_chunk::<32>().ok_or(truncated)?;
        Ok(Self { key: KeyId::from_bytes(*key), sealed: sealed.to_vec() })
    }
}

fn context(ledger: &LedgerId, emergency: &EmergencyId) -> EnvelopeContext {
    EnvelopeContext { ledger_id: *ledger.as_bytes(), record_id: emergency.0, version: 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::KemId;
    use crate::limits::{EMERGENCY_PLAINTEXT_BYTES_MAX, EMERGENCY_TEXT_BYTES_MAX};

    #[test]
    fn a_text_opens_for_its_key_its_ledger_and_its_emergency_alone() {
        let of = (&LedgerId::from_bytes([1; 32]), &EmergencyId([2; 16]));
        let [key, other] = [0; 2].map(|_| EncryptionPrivateKey::generate(KemId::XWing).unwrap());
        let sealed = SealedText::seal(&key.public_key(), of, b"found without consciousness").unwrap();
        let bytes = sealed.encode();
        let read = SealedText::decode(&bytes).unwrap();
        assert_eq!((&read, read.key()), (&sealed, encryption_key_id(&key.public_key())));
        assert_eq!(&read.open(&key, of).unwrap()[..], b"found without consciousness");
        assert_eq!(read.open(&other, of), Err(EnvelopeError::Open));
        assert_eq!(read.open(&key, (of.0, &EmergencyId([3; 16]))), Err(EnvelopeError::Open));
        assert_eq!(read.open(&key, (&LedgerId::from_bytes([4; 32]), of.1)), Err(EnvelopeError::Open));
        for cut in [0, 1, 32] {
            assert!(SealedText::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        assert_eq!(SealedText::decode(&[&[2], &bytes[1..]].concat()), Err(EnvelopeError::UnknownFormat(2)));
        let longest = SealedText::seal(&key.public_key(), of, &[b'x'; EMERGENCY_PLAINTEXT_BYTES_MAX]);
        assert!(longest.unwrap().encode().len() <= EMERGENCY_TEXT_BYTES_MAX);
    }
}
