#![allow(clippy::unwrap_used)]

use super::*;
use crate::envelope::tests::{example_context, other_contexts};
use crate::hash::sha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use proptest::prelude::*;
use std::convert::Infallible;

/// Counts up: for golden bytes only.
struct Counting(u8);

impl TryRng for Counting {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("HPKE asks for bytes only")
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("HPKE asks for bytes only")
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Infallible> {
        for byte in dest {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

fn fixed_wrap(kem: KemId) -> (EncryptionPrivateKey, KeyWrap) {
    let private = EncryptionPrivateKey::from_raw(kem, &[0x33; 32]).unwrap();
    let key = ContentKey::from_bytes(&[0x42; 32]);
    let public = private.public_key();
    let wrap = wrap_with_random(&key, &public, &example_context(), &mut Counting(0)).unwrap();
    (private, wrap)
}

/// The X25519 bytes were also derived with Python from RFC 9180 and this
/// module's description alone.
#[test]
fn golden() {
    let golden = [
        (KemId::P256HkdfSha256, 116, "5abb23b67a58fa05d94f9013b3097e08215489c72a894b8e2d29a94d94210c8e"),
        (KemId::X25519HkdfSha256, 83, "b8416b5912f00198fa8b8fc0a13e89358f5e5ed3475031b24fbccea611db1f09"),
        (KemId::XWing, 1171, "c9231a90a28908a890aa1d2931ec78a450d50f4b0321c43914d8d6854a65ba4f"),
    ];
    for (kem, length, hash) in golden {
        let (private, wrap) = fixed_wrap(kem);
        let bytes = wrap.encode();
        assert_eq!(bytes.len(), length, "{kem}");
        assert_eq!(hex::encode(sha256(&[&bytes])), hash, "{kem}");
        let decoded = KeyWrap::decode(&bytes).unwrap();
        let key = unwrap_key(&decoded, &private, &example_context()).unwrap();
        assert_eq!(key.expose(), &[0x42; 32]);
    }
}

#[test]
fn round_trip_for_every_kem() {
    for kem in KemId::ALL {
        let private = EncryptionPrivateKey::generate(kem).unwrap();
        let key = ContentKey::generate().unwrap();
        let wrap = wrap_key(&key, &private.public_key(), &example_context()).unwrap();
        let again = wrap_key(&key, &private.public_key(), &example_context()).unwrap();
        assert_ne!(wrap, again, "encapsulations are fresh");
        let opened = unwrap_key(&wrap, &private, &example_context()).unwrap();
        assert_eq!(opened.expose(), key.expose());
    }
}

#[test]
fn other_context_or_recipient_is_refused() {
    for kem in KemId::ALL {
        let (private, wrap) = fixed_wrap(kem);
        for context in other_contexts(example_context()) {
            assert_eq!(unwrap_key(&wrap, &private, &context).err(), Some(EnvelopeError::Open));
        }
        let other = EncryptionPrivateKey::generate(kem).unwrap();
        assert_eq!(unwrap_key(&wrap, &other, &example_context()).err(), Some(EnvelopeError::Open));
    }
}

#[test]
fn kem_must_match() {
    let (_, wrap) = fixed_wrap(KemId::XWing);
    let private = EncryptionPrivateKey::generate(KemId::X25519HkdfSha256).unwrap();
    assert_eq!(
        unwrap_key(&wrap, &private, &example_context()).err(),
        Some(EnvelopeError::KemMismatch { wrap: KemId::XWing, key: KemId::X25519HkdfSha256 })
    );
}

#[test]
fn small_order_recipient_is_refused() {
    let zero = EncryptionPublicKey::from_raw(KemId::X25519HkdfSha256, &[0; 32]).unwrap();
    let key = ContentKey::generate().unwrap();
    assert_eq!(wrap_key(&key, &zero, &example_context()), Err(EnvelopeError::Encapsulation(KemId::X25519HkdfSha256)));
}

#[test]
fn lengths_and_formats_are_exact() {
    let (_, wrap) = fixed_wrap(KemId::X25519HkdfSha256);
    let bytes = wrap.encode();
    assert_eq!(KeyWrap::decode(&bytes[..2]), Err(EnvelopeError::Truncated(2)));
    for length in [3, 82] {
        assert_eq!(
            KeyWrap::decode(&bytes[..length]),
            Err(EnvelopeError::WrapLength { kem: KemId::X25519HkdfSha256, expected: 83, got: length })
        );
    }
    let mut unknown = bytes.clone();
    unknown[2] = 0x21;
    assert_eq!(KeyWrap::decode(&unknown), Err(EnvelopeError::Key(crate::keys::KeyError::UnknownKem(0x21))));
}

proptest! {
    #[test]
    fn hostile_wrap_never_panics_nor_opens(
        kem in proptest::sample::select(KemId::ALL.to_vec()),
        flips in proptest::collection::vec((any::<usize>(), 1u8..), 1..4),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = KeyWrap::decode(&noise);
        let (private, wrap) = fixed_wrap(kem);
        let mut bytes = wrap.encode();
        let length = bytes.len();
        for (position, mask) in flips {
            bytes[3 + position % (length - 3)] ^= mask;
        }
        let decoded = KeyWrap::decode(&bytes).unwrap();
        if decoded != wrap {
            prop_assert!(unwrap_key(&decoded, &private, &example_context()).is_err());
        }
    }
}
