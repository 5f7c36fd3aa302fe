//! RFC 9180 and draft-ietf-hpke-pq vectors through the very suite types of key
//! wraps: DHKEM(X25519), DHKEM(P-256) with HKDF-SHA256 and AES-256-GCM in full,
//! X-Wing up to the shared secret (its published vectors use another AEAD).

use consilium_proto::keys::{EncryptionPrivateKey, EncryptionPublicKey, KemId};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::{DhP256HkdfSha256, X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, OpModeR, Serializable};
use serde_json::Value;

use crate::common::{bytes, vectors};

const AES_256_GCM: u64 = 2;
const HKDF_SHA256: u64 = 1;

/// Our own key types must read the vector's keys and agree on the public half.
fn check_our_keys(kem: KemId, vector: &Value) {
    let (private, public) = (bytes(&vector["skRm"]), bytes(&vector["pkRm"]));
    assert_eq!(u64::from(kem.code()), vector["kem_id"].as_u64().unwrap());
    assert_eq!(public.len(), kem.public_key_len());
    assert_eq!(private.len(), kem.private_key_len());
    assert_eq!(bytes(&vector["enc"]).len(), kem.encapsulated_len());
    let private = EncryptionPrivateKey::from_raw(kem, &private).unwrap();
    assert_eq!(private.public_key(), EncryptionPublicKey::from_raw(kem, &public).unwrap());
}

fn check_decapsulation<K: Kem>(vector: &Value) {
    let private = K::PrivateKey::from_bytes(&bytes(&vector["skRm"])).unwrap();
    let encapsulated = K::EncappedKey::from_bytes(&bytes(&vector["enc"])).unwrap();
    let secret = K::decap(&private, None, &encapsulated).unwrap();
    assert_eq!(hex::encode(&secret.0[..]), vector["shared_secret"].as_str().unwrap());
    let (derived, public) = K::derive_keypair(&bytes(&vector["ikmR"]));
    assert_eq!(derived.to_bytes()[..], private.to_bytes()[..]);
    assert_eq!(public.to_bytes()[..], bytes(&vector["pkRm"])[..]);
}

/// Opens every published ciphertext, up to the sequence number that is listed.
fn check_open<K: Kem>(vector: &Value) {
    let private = K::PrivateKey::from_bytes(&bytes(&vector["skRm"])).unwrap();
    let encapsulated = K::EncappedKey::from_bytes(&bytes(&vector["enc"])).unwrap();
    let info = bytes(&vector["info"]);
    let mode = OpModeR::Base;
    let mut context = hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(&mode, &private, &encapsulated, &info).unwrap();
    for encryption in vector["encryptions"].as_array().unwrap() {
        // A receiver counts only what opens, and the vectors skip numbers.
        if encryption["sequence"].as_u64().unwrap() > 9 {
            break;
        }
        let opened = context.open(&bytes(&encryption["ct"]), &bytes(&encryption["aad"])).unwrap();
        assert_eq!(opened, bytes(&encryption["pt"]));
    }
    let mut other = hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(&mode, &private, &encapsulated, b"other").unwrap();
    let first = &vector["encryptions"][0];
    assert!(other.open(&bytes(&first["ct"]), &bytes(&first["aad"])).is_err());
}

#[test]
fn rfc9180_base_aes256gcm() {
    let Some(file) = vectors("hpke/rfc9180-base-aes256gcm.json") else { return };
    let mut seen = Vec::new();
    for vector in file.as_array().unwrap() {
        assert_eq!(vector["aead_id"], AES_256_GCM);
        assert_eq!(vector["kdf_id"], HKDF_SHA256);
        let kem = KemId::try_from(vector["kem_id"].as_u64().unwrap() as u16).unwrap();
        check_our_keys(kem, vector);
        match kem {
            KemId::X25519HkdfSha256 => {
                check_decapsulation::<X25519HkdfSha256>(vector);
                check_open::<X25519HkdfSha256>(vector);
            }
            KemId::P256HkdfSha256 => {
                check_decapsulation::<DhP256HkdfSha256>(vector);
                check_open::<DhP256HkdfSha256>(vector);
            }
            KemId::XWing => unreachable!("not in RFC 9180"),
        }
        seen.push(kem);
    }
    assert_eq!(seen, [KemId::X25519HkdfSha256, KemId::P256HkdfSha256]);
}

#[test]
fn hpke_pq_kems() {
    let Some(file) = vectors("hpke/hpke-pq.json") else { return };
    let mut seen = std::collections::BTreeMap::new();
    for vector in file.as_array().unwrap() {
        // The rest are KEMs that the ledger does not have.
        let Ok(kem) = KemId::try_from(vector["kem_id"].as_u64().unwrap() as u16) else { continue };
        check_our_keys(kem, vector);
        match kem {
            KemId::XWing => check_decapsulation::<XWing>(vector),
            KemId::X25519HkdfSha256 => check_decapsulation::<X25519HkdfSha256>(vector),
            KemId::P256HkdfSha256 => check_decapsulation::<DhP256HkdfSha256>(vector),
        }
        *seen.entry(kem).or_insert(0) += 1;
    }
    let expected = [(KemId::P256HkdfSha256, 1), (KemId::X25519HkdfSha256, 1), (KemId::XWing, 2)];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}
