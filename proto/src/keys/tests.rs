#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

#[test]
fn codes_are_those_of_the_registry() {
    assert_eq!(KemId::ALL.map(KemId::code), [0x0010, 0x0020, 0x647a]);
    for kem in KemId::ALL {
        assert_eq!(KemId::try_from(kem.code()), Ok(kem));
    }
    assert_eq!(KemId::try_from(0x0021), Err(KeyError::UnknownKem(0x0021)));
}

#[test]
fn keys_round_trip() {
    for kem in KemId::ALL {
        let private = EncryptionPrivateKey::generate(kem).unwrap();
        let public = private.public_key();
        assert_eq!(public.raw().len(), kem.public_key_len());
        assert_eq!(private.derived().to_raw().len(), kem.private_key_len());
        assert_eq!(EncryptionPublicKey::decode(&public.encode()), Ok(public.clone()));
        assert_eq!(EncryptionPublicKey::from_pem(&public.to_pem().unwrap()), Ok(public.clone()));
        let pem = private.to_pem().unwrap();
        let again = EncryptionPrivateKey::from_pem(&pem).unwrap();
        assert_eq!(again.encode(), private.encode());
        assert_eq!(again.public_key(), public);
        assert!(EncryptionPublicKey::from_pem(&pem).is_err(), "label decides");
    }
}

#[test]
fn generated_keys_differ() {
    let one = EncryptionPrivateKey::generate(KemId::XWing).unwrap();
    let two = EncryptionPrivateKey::generate(KemId::XWing).unwrap();
    assert_ne!(one.encode(), two.encode());
}

/// RFC 7748 section 6.1, Alice's key pair.
#[test]
fn x25519_encoding_golden() {
    let raw = "77076d0a7318a57d3c16c17251b26645c6c2f6c9f2a1f7ad8b2b6f0c4a3f6b2a";
    let public = EncryptionPublicKey::from_raw(KemId::X25519HkdfSha256, &hex::decode(raw).unwrap()).unwrap();
    assert_eq!(hex::encode(public.encode()), format!("010020{raw}"));
    let mut preimage = vec![27];
    preimage.extend_from_slice(b"consilium/encryption-key/v1");
    preimage.extend_from_slice(&public.encode());
    assert_eq!(public.fingerprint(), sha256(&[&preimage]));
}

#[test]
fn malformed_keys_are_named() {
    let public = EncryptionPrivateKey::generate(KemId::P256HkdfSha256).unwrap().public_key();
    let good = public.encode();
    assert_eq!(EncryptionPublicKey::decode(&good[..2]), Err(KeyError::Truncated));
    let mut bad = good.clone();
    bad[0] = 2;
    assert_eq!(EncryptionPublicKey::decode(&bad), Err(KeyError::UnknownFormat(2)));
    let mut bad = good.clone();
    bad[67] ^= 1;
    assert_eq!(EncryptionPublicKey::decode(&bad), Err(KeyError::Encoding(KemId::P256HkdfSha256)));
    assert_eq!(
        EncryptionPublicKey::decode(&good[..67]),
        Err(KeyError::Length { kem: KemId::P256HkdfSha256, expected: 65, got: 64 })
    );
    // ML-KEM coefficients above q are refused (FIPS 203 section 7.2).
    assert_eq!(EncryptionPublicKey::from_raw(KemId::XWing, &[0xff; 1216]), Err(KeyError::Encoding(KemId::XWing)));
    // A zero scalar is no P-256 key.
    assert_eq!(
        EncryptionPrivateKey::from_raw(KemId::P256HkdfSha256, &[0; 32]).err(),
        Some(KeyError::Encoding(KemId::P256HkdfSha256))
    );
}

#[test]
fn debug_is_redacted() {
    let private = EncryptionPrivateKey::from_raw(KemId::XWing, &[0x5a; 32]).unwrap();
    assert_eq!(format!("{private:?}"), "EncryptionPrivateKey(X-Wing [redacted])");
}

proptest! {
    #[test]
    fn hostile_keys_never_panic(
        code in prop_oneof![Just(0x10u16), Just(0x20), Just(0x647a), any::<u16>()],
        raw in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..70),
            proptest::collection::vec(any::<u8>(), 1216),
        ],
    ) {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&code.to_be_bytes());
        bytes.extend_from_slice(&raw);
        if let Ok(key) = EncryptionPublicKey::decode(&bytes) {
            prop_assert_eq!(key.encode(), bytes.clone());
        }
        let _ = EncryptionPrivateKey::decode(&bytes);
        let _ = EncryptionPublicKey::from_pem(&String::from_utf8_lossy(&raw));
    }
}
