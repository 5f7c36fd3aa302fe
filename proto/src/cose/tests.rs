#![allow(clippy::unwrap_used)]

use super::*;
use crate::hash::sha256;
use crate::signing::SigningKey;
use proptest::prelude::*;

fn two_leaves() -> ([u8; 32], InclusionProof, [u8; 32]) {
    let (left, right) = ([1; 32], [2; 32]);
    let root = sha256(&[&[1], &left, &right]);
    let proof = InclusionProof { tree_size: 2, leaf_index: 1, path: vec![left] };
    (right, proof, root)
}

fn validator() -> SigningKey {
    SigningKey::generate(SignatureAlgorithm::Es256).unwrap()
}

fn receipt(key: &SigningKey, kid: Option<&[u8]>) -> Vec<u8> {
    let (_, proof, root) = two_leaves();
    encode_inclusion_receipt(kid, &proof, &root, |tbs| key.sign(tbs).unwrap()).unwrap()
}

#[test]
fn tbs_golden() {
    // 84 6a "Signature1" 47 a2 01 26 19 018b 01 40 5820 root
    let expected = format!("846a5369676e61747572653147a2012619018b01405820{}", "ab".repeat(32));
    assert_eq!(hex::encode(receipt_tbs(None, &[0xab; 32])), expected);
    assert_eq!(receipt_tbs(Some(b""), &[0xab; 32]), receipt_tbs(None, &[0xab; 32]));
    let with_kid = format!("846a5369676e6174757265314ba301260442313119018b01405820{}", "ab".repeat(32));
    assert_eq!(hex::encode(receipt_tbs(Some(b"11"), &[0xab; 32])), with_kid);
}

#[test]
fn layout_golden() {
    let (_, proof, _) = two_leaves();
    let expected =
        format!("d28447a2012619018b01a119018ca120815826830201815820{}f65840{}", "01".repeat(32), "07".repeat(64));
    assert_eq!(hex::encode(assemble_receipt(None, &proof, &[7; 64]).unwrap()), expected);
}

#[test]
fn round_trip_with_and_without_kid() {
    let key = validator();
    let (leaf, proof, root) = two_leaves();
    for kid in [None, Some(&b"validator-1"[..])] {
        let bytes = receipt(&key, kid);
        let decoded = Receipt::decode(&bytes).unwrap();
        assert_eq!(decoded.kid(), kid);
        assert_eq!(decoded.proof(), &proof);
        assert_eq!(
            verify_inclusion_receipt(&bytes, &leaf, &key.verifying_key()),
            Ok(VerifiedReceipt { tree_size: 2, leaf_index: 1, root })
        );
    }
}

#[test]
fn wrong_leaf_key_or_kid_is_refused() {
    let key = validator();
    let (leaf, proof, root) = two_leaves();
    let bytes = receipt(&key, None);
    let verify =
        |bytes: &[u8], leaf: &[u8; 32], key: &SigningKey| verify_inclusion_receipt(bytes, leaf, &key.verifying_key());
    assert_eq!(verify(&bytes, &[9; 32], &key), Err(CoseError::Signature));
    assert_eq!(verify(&bytes, &leaf, &validator()), Err(CoseError::Signature));
    let ed25519 = SigningKey::from_ed25519_seed(&[1; 32]);
    assert_eq!(verify(&bytes, &leaf, &ed25519), Err(CoseError::KeyAlgorithm(SignatureAlgorithm::Ed25519)));
    let signature = key.sign(&receipt_tbs(Some(b"a"), &root)).unwrap();
    let other_kid = assemble_receipt(Some(b"b"), &proof, &signature).unwrap();
    assert_eq!(verify(&other_kid, &leaf, &key), Err(CoseError::Signature));
}

/// Builds a message around a valid receipt, with one thing changed.
fn altered(key: &SigningKey, change: impl FnOnce(&mut CoseSign1)) -> Vec<u8> {
    let mut message = CoseSign1::from_tagged_slice(&receipt(key, None)).unwrap();
    message.protected.original_data = None;
    change(&mut message);
    message.to_tagged_vec().unwrap()
}

#[test]
fn altered_layouts_are_named() {
    let key = validator();
    let (leaf, proof, _) = two_leaves();
    let encoded = Value::Bytes(proof.encode().unwrap());
    let with_vdp = |vdp: Value| altered(&key, |m| m.unprotected.rest[0].1 = vdp);
    let proofs = |list: Vec<Value>| Value::Map(vec![(Value::from(-1), Value::Array(list))]);
    let cases = [
        (altered(&key, |m| m.payload = Some(vec![1])), CoseError::PayloadAttached),
        (altered(&key, |m| m.protected.header.alg = None), CoseError::Algorithm),
        (
            altered(&key, |m| {
                m.protected.header.alg = Some(coset::Algorithm::Assigned(iana::Algorithm::EdDSA));
            }),
            CoseError::Algorithm,
        ),
        (altered(&key, |m| m.unprotected.alg = m.protected.header.alg.clone()), CoseError::Algorithm),
        (
            altered(&key, |m| {
                m.protected
                    .header
                    .crit
                    .push(coset::RegisteredLabelWithPrivate::Assigned(iana::HeaderParameter::ContentType));
            }),
            CoseError::Critical,
        ),
        (altered(&key, |m| m.protected.header.rest.clear()), CoseError::DataStructure),
        (altered(&key, |m| m.protected.header.rest[0].1 = Value::from(2)), CoseError::DataStructure),
        (
            altered(&key, |m| {
                m.unprotected.rest.push((Label::Int(VDS), Value::from(1)));
            }),
            CoseError::DataStructure,
        ),
        (altered(&key, |m| m.unprotected.rest.clear()), CoseError::Proof),
        (with_vdp(Value::Null), CoseError::Proof),
        (with_vdp(proofs(vec![])), CoseError::Proof),
        (with_vdp(proofs(vec![encoded.clone(), encoded.clone()])), CoseError::Proof),
        (with_vdp(Value::Map(vec![(Value::from(-2), Value::Array(vec![encoded]))])), CoseError::Proof),
        (altered(&key, |m| m.signature.push(0)), CoseError::Signature),
    ];
    for (bytes, expected) in cases {
        assert_eq!(verify_inclusion_receipt(&bytes, &leaf, &key.verifying_key()), Err(expected));
    }
}

#[test]
fn size_and_trailing_bytes() {
    let key = validator();
    let mut bytes = receipt(&key, None);
    bytes.push(0);
    assert_eq!(Receipt::decode(&bytes), Err(CoseError::Malformed));
    assert_eq!(Receipt::decode(&[0; 4097]), Err(CoseError::TooLarge(4097)));
    let (_, proof, _) = two_leaves();
    assert!(matches!(assemble_receipt(Some(&[1; 5000]), &proof, &[0; 64]), Err(CoseError::TooLarge(_))));
}

proptest! {
    #[test]
    fn hostile_receipt_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Receipt::decode(&noise);
        let _ = InclusionProof::decode(&noise);
    }

    /// Any change of a receipt's bytes is refused: there is no slack in the form
    /// but what verifies to the same root.
    #[test]
    fn mutated_receipt_never_panics_nor_lies(
        flips in proptest::collection::vec((any::<usize>(), 1u8..), 1..4),
    ) {
        let key = SigningKey::from_pkcs8_der(&FIXED_KEY.with(Clone::clone)).unwrap();
        let (leaf, _, root) = two_leaves();
        let mut bytes = receipt(&key, Some(b"k"));
        let length = bytes.len();
        for (position, mask) in flips {
            bytes[position % length] ^= mask;
        }
        if let Ok(verified) = verify_inclusion_receipt(&bytes, &leaf, &key.verifying_key()) {
            prop_assert_eq!(verified.root, root);
        }
    }
}

thread_local! {
    static FIXED_KEY: Vec<u8> = validator().to_pkcs8_der().unwrap().to_vec();
}
