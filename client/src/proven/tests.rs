#![allow(clippy::unwrap_used)]
use super::*;
use consilium_proto::keys::{EncryptionPrivateKey, KemId};

const ALICE: &str = "spiffe://a.example/clinician/alice";

fn answer() -> (pb::GetIdentityResponse, Bytes) {
    let key = EncryptionPrivateKey::generate(KemId::X25519HkdfSha256).unwrap().public_key();
    let identity = pb::IdentityState {
        certificate_sha256: Bytes::from_static(&[1; 32]),
        signing_key_id: Bytes::from_static(&[2; 32]),
        encryption_key_id: Bytes::copy_from_slice(&key.fingerprint()),
        unit: "W-07".into(),
    };
    let value = Bytes::from(identity.encode_to_vec());
    let signer = pb::SignerState { spiffe_id: ALICE.into(), ..Default::default() };
    let answer =
        pb::GetIdentityResponse { identity: Some(identity), signer: Some(signer), encryption_key: key.encode().into() };
    (answer, value)
}

#[test]
fn an_identity_counts_only_as_the_state_has_it() {
    let (good, value) = answer();
    assert_eq!(check_identity(ALICE, &good, Some(&value)).ok(), good.identity);
    assert!(check_identity(ALICE, &good, None).is_err());
    let signer = Bytes::from(good.signer.as_ref().unwrap().encode_to_vec());
    assert_eq!(check_signer(ALICE, &good, Some(&signer)), Ok(()));
    assert!(check_signer(ALICE, &good, None).is_err());
    assert!(check_signer("spiffe://a.example/clinician/bob", &good, Some(&signer)).is_err());
    let unsigned = pb::GetIdentityResponse { signer: None, ..good.clone() };
    assert!(check_signer(ALICE, &unsigned, Some(&signer)).is_err());
    let (other, other_value) = answer();
    assert!(check_identity(ALICE, &good, Some(&other_value)).is_err());
    let swapped = pb::GetIdentityResponse { encryption_key: other.encryption_key, ..good.clone() };
    assert!(check_identity(ALICE, &swapped, Some(&value)).is_err());
    let withheld = pb::GetIdentityResponse { encryption_key: Bytes::new(), ..good };
    assert!(check_identity(ALICE, &withheld, Some(&value)).is_err());
}
