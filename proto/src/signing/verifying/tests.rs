#![allow(clippy::unwrap_used)]

use super::*;
use crate::signing::SigningKey;

/// (R = identity, s = 0) satisfies the cofactored equation for every message
/// exactly when the key has small order: the reason for the block list.
fn verifies_everything(key: VerificationKey) -> bool {
    let mut forged = [0u8; 64];
    forged[0] = 1;
    key.verify(&Signature::from_bytes(&forged), b"any message").is_ok()
}

#[test]
fn small_order_keys_are_refused_and_were_dangerous() {
    let mut dangerous = 0;
    for entry in SMALL_ORDER_Y {
        for sign in [0u8, 0x80] {
            let mut key: [u8; 32] = hex::decode(entry).unwrap().try_into().unwrap();
            key[31] |= sign;
            if let Ok(parsed) = VerificationKey::try_from(key) {
                assert!(verifies_everything(parsed), "{entry}");
                dangerous += 1;
            }
            assert_eq!(VerifyingKey::from_raw(SignatureAlgorithm::Ed25519, &key), Err(SigningError::WeakKey));
        }
    }
    assert_eq!(dangerous, 14, "every entry of the list is a point");
    let honest = SigningKey::from_ed25519_seed(&[1; 32]).verifying_key();
    assert!(!verifies_everything(*honest.as_ed25519().unwrap()));
}

#[test]
fn non_canonical_keys_are_refused() {
    let malformed = Err(SigningError::KeyEncoding(SignatureAlgorithm::Ed25519));
    let mut key = [0xff; 32];
    let mut decodable = 0;
    for low in 0xef..=0xff {
        for high in [0x7f, 0xff] {
            key[0] = low;
            key[31] = high;
            decodable += usize::from(VerificationKey::try_from(key).is_ok());
            assert_eq!(VerifyingKey::from_raw(SignatureAlgorithm::Ed25519, &key), malformed);
        }
    }
    assert!(decodable > 0, "ZIP-215 alone would take some of these");
}

#[test]
fn es256_takes_only_uncompressed_points_on_the_curve() {
    let key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap().verifying_key();
    let raw = key.raw().to_vec();
    assert_eq!(VerifyingKey::from_raw(SignatureAlgorithm::Es256, &raw), Ok(key));
    let malformed = Err(SigningError::KeyEncoding(SignatureAlgorithm::Es256));
    let hybrid = 0x06 | (raw[64] & 1);
    for (position, value) in [(0, hybrid), (0, 0x02), (0, 0), (64, raw[64] ^ 1)] {
        let mut bad = raw.clone();
        bad[position] = value;
        assert_eq!(VerifyingKey::from_raw(SignatureAlgorithm::Es256, &bad), malformed);
    }
    assert_eq!(
        VerifyingKey::from_raw(SignatureAlgorithm::Es256, &raw[..33]),
        Err(SigningError::KeyLength { algorithm: SignatureAlgorithm::Es256, expected: 65, got: 33 })
    );
}

#[test]
fn encoding_round_trips() {
    for algorithm in [SignatureAlgorithm::Ed25519, SignatureAlgorithm::Es256] {
        let key = SigningKey::generate(algorithm).unwrap().verifying_key();
        let bytes = key.to_bytes();
        assert_eq!(bytes[0], algorithm.tag());
        assert_eq!(VerifyingKey::from_bytes(&bytes), Ok(key));
    }
    assert_eq!(VerifyingKey::from_bytes(&[]), Err(SigningError::EmptyKey));
    assert_eq!(VerifyingKey::from_bytes(&[9; 33]), Err(SigningError::UnknownAlgorithm(9)));
}

/// RFC 8032 section 7.1, test 1.
#[test]
fn rfc8032_vector() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let key = SigningKey::from_ed25519_seed(&hex::decode(seed).unwrap().try_into().unwrap());
    assert_eq!(
        hex::encode(key.verifying_key().raw()),
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    );
    let signature = key.sign(b"").unwrap();
    assert_eq!(
        hex::encode(signature),
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );
    assert_eq!(key.verifying_key().verify(b"", &signature), Ok(()));
    assert_eq!(key.verifying_key().verify(b"x", &signature), Err(SigningError::Invalid(SignatureAlgorithm::Ed25519)));
}

#[test]
fn fingerprint_golden() {
    let key = SigningKey::from_ed25519_seed(&[0; 32]).verifying_key();
    let mut preimage = vec![24];
    preimage.extend_from_slice(b"consilium/signing-key/v1\x01");
    preimage.extend_from_slice(key.raw());
    assert_eq!(key.fingerprint(), sha256(&[&preimage]));
}
