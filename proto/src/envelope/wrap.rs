//! Key wraps: a content key encrypted for one recipient.
//!
//! HPKE base mode (RFC 9180) with HKDF-SHA256 and AES-256-GCM; the KEM is that of
//! the recipient's key and is named in the wrap. `info` is the domain prefix of
//! `consilium/key-wrap/v1`, ledger id, record id, version (4 bytes, big endian)
//! and the recipient's fingerprint, so a wrap cannot be moved to another record or
//! passed off as another recipient's. The additional data is empty.
//!
//! Base mode does not say who made the wrap; the signed transaction that carries
//! it does. This module never chooses recipients.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable, kem};
use zeroize::Zeroizing;

use super::{ContentKey, EnvelopeContext, EnvelopeError};
use crate::keys::{Derived, EncryptionPrivateKey, EncryptionPublicKey, KemId, with_kem};
use crate::random::{OsRandom, RandomUnavailable};
use crate::signing::Domain;

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 3;
/// Encrypted content key: 32 bytes and a tag of 16.
const CIPHERTEXT_LEN: usize = 48;

/// A content key, encrypted for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWrap {
    kem: KemId,
    encapsulated: Vec<u8>,
    ciphertext: [u8; CIPHERTEXT_LEN],
}

impl KeyWrap {
    /// Reads [`Self::encode`]; the length must be exact.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let [format, high, low, rest @ ..] = bytes else {
            return Err(EnvelopeError::Truncated(bytes.len()));
        };
        if *format != FORMAT {
            return Err(EnvelopeError::UnknownFormat(*format));
        }
        let kem = KemId::try_from(u16::from_be_bytes([*high, *low]))?;
        let wrong_length = EnvelopeError::WrapLength {
            kem,
            expected: HEADER_LEN + kem.encapsulated_len() + CIPHERTEXT_LEN,
            got: bytes.len(),
        };
        let (encapsulated, ciphertext) = rest.split_at_checked(kem.encapsulated_len()).ok_or(wrong_length)?;
        let ciphertext = ciphertext.try_into().map_err(|_| wrong_length)?;
        Ok(Self { kem, encapsulated: encapsulated.to_vec(), ciphertext })
    }

    /// Format (1 byte, 1), KEM (2 bytes, big endian), encapsulated key, ciphertext
    /// with tag (48 bytes): 83, 116 or 1,171 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let length = HEADER_LEN + self.encapsulated.len() + CIPHERTEXT_LEN;
        let mut out = Vec::with_capacity(length);
        out.push(FORMAT);
        out.extend_from_slice(&self.kem.code().to_be_bytes());
        out.extend_from_slice(&self.encapsulated);
        out.extend_from_slice(&self.ciphertext);
        out
    }

    /// The KEM with which this wrap was made.
    pub fn kem(&self) -> KemId {
        self.kem
    }

    /// The encapsulated key (`enc` of RFC 9180).
    pub fn encapsulated(&self) -> &[u8] {
        &self.encapsulated
    }

    /// The encrypted content key with its tag.
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }
}

/// Encrypts a content key for one recipient.
pub fn wrap_key(
    content_key: &ContentKey,
    recipient: &EncryptionPublicKey,
    context: &EnvelopeContext,
) -> Result<KeyWrap, EnvelopeError> {
    let mut random = OsRandom::default();
    let wrap = wrap_with_random(content_key, recipient, context, &mut random)?;
    if random.failed() {
        return Err(RandomUnavailable.into());
    }
    Ok(wrap)
}

fn wrap_with_random(
    content_key: &ContentKey,
    recipient: &EncryptionPublicKey,
    context: &EnvelopeContext,
    random: &mut impl CryptoRng,
) -> Result<KeyWrap, EnvelopeError> {
    let kem = recipient.kem();
    let info = info(context, recipient);
    let (encapsulated, ciphertext) =
        with_kem!(kem, K => seal::<K>(recipient.raw(), &info, content_key.expose(), random))
            .map_err(|_| EnvelopeError::Encapsulation(kem))?;
    let ciphertext = ciphertext.try_into().map_err(|_| EnvelopeError::Library)?;
    Ok(KeyWrap { kem, encapsulated, ciphertext })
}

/// Decrypts a content key that was wrapped for `private` in this context.
pub fn unwrap_key(
    wrap: &KeyWrap,
    private: &EncryptionPrivateKey,
    context: &EnvelopeContext,
) -> Result<ContentKey, EnvelopeError> {
    if wrap.kem != private.kem() {
        return Err(EnvelopeError::KemMismatch { wrap: wrap.kem, key: private.kem() });
    }
    let info = info(context, &private.public_key());
    let opened = match private.derived() {
        Derived::P256(key) => open::<kem::DhP256HkdfSha256>(key, wrap, &info),
        Derived::X25519(key) => open::<kem::X25519HkdfSha256>(key, wrap, &info),
        Derived::XWing(key) => open::<kem::XWing>(key, wrap, &info),
    }
    .map_err(|_| EnvelopeError::Open)?;
    let bytes: &[u8; 32] = opened.as_slice().try_into().map_err(|_| EnvelopeError::Open)?;
    Ok(ContentKey::from_bytes(bytes))
}

/// HPKE `info`: what the wrap is for and for whom.
fn info(context: &EnvelopeContext, recipient: &EncryptionPublicKey) -> Vec<u8> {
    let mut info = context.bound_to(Domain::KEY_WRAP);
    info.extend_from_slice(&recipient.fingerprint());
    info
}

fn seal<K: Kem>(
    recipient: &[u8],
    info: &[u8],
    plaintext: &[u8],
    random: &mut impl CryptoRng,
) -> Result<(Vec<u8>, Vec<u8>), HpkeError> {
    let recipient = K::PublicKey::from_bytes(recipient)?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, K>(
        &OpModeS::Base,
        &recipient,
        info,
        plaintext,
        b"",
        random,
    )?;
    Ok((encapsulated.to_bytes().to_vec(), ciphertext))
}

fn open<K: Kem>(private: &K::PrivateKey, wrap: &KeyWrap, info: &[u8]) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
    let encapsulated = K::EncappedKey::from_bytes(&wrap.encapsulated)?;
    let (mode, ciphertext) = (OpModeR::Base, &wrap.ciphertext);
    hpke::single_shot_open::<AesGcm256, HkdfSha256, K>(&mode, private, &encapsulated, info, ciphertext, b"")
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests;
