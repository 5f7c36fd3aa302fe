//! Receipts of another implementation (npm `@transmute/cose`) and the COSE
//! working group's examples of COSE_Sign1 with ES256, good and bad.

use consilium_proto::cose::{
    CoseError, InclusionProof, Receipt, VerifiedReceipt, assemble_receipt, receipt_tbs, verify_inclusion_receipt,
    verify_sign1,
};
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use serde_json::Value;

use crate::common::{base64, bytes, text, vectors};

fn es256_key(jwk: &Value) -> VerifyingKey {
    let point = [vec![4], base64(text(&jwk["x"])), base64(text(&jwk["y"]))].concat();
    VerifyingKey::from_raw(SignatureAlgorithm::Es256, &point).unwrap()
}

fn hash(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

#[test]
fn rfc9942_inclusion_receipts() {
    let Some(file) = vectors("receipts/rfc9942-inclusion.json") else { return };
    let key = es256_key(&file["public_key_jwk"]);
    let receipts = file["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 8);
    for entry in receipts {
        assert_eq!(entry["valid"], true);
        let (leaf, root) = (hash(&entry["leaf_hash_hex"]), hash(&entry["root_hex"]));
        let (tree_size, leaf_index) = (entry["tree_size"].as_u64().unwrap(), entry["leaf_index"].as_u64().unwrap());
        let receipt = bytes(&entry["receipt_cbor_hex"]);
        assert_eq!(
            verify_inclusion_receipt(&receipt, &leaf, &key),
            Ok(VerifiedReceipt { tree_size, leaf_index, root })
        );
        let mut other = leaf;
        other[0] ^= 1;
        assert_eq!(verify_inclusion_receipt(&receipt, &other, &key), Err(CoseError::Signature));
        every_bit_counts(&receipt, &leaf, &key, &root);
        rebuild(&receipt, &root);
    }
}

/// No single changed byte lets the receipt speak of another root.
fn every_bit_counts(receipt: &[u8], leaf: &[u8; 32], key: &VerifyingKey, root: &[u8; 32]) {
    for position in 0..receipt.len() {
        let mut bad = receipt.to_vec();
        bad[position] ^= 1;
        if let Ok(verified) = verify_inclusion_receipt(&bad, leaf, key) {
            assert_eq!(&verified.root, root, "byte {position}");
        }
    }
}

/// Our encoder writes the very bytes that the other implementation wrote.
fn rebuild(receipt: &[u8], root: &[u8; 32]) {
    let decoded = Receipt::decode(receipt).unwrap();
    assert_eq!(decoded.kid(), None);
    let proof: &InclusionProof = decoded.proof();
    let signature: [u8; 64] = receipt[receipt.len() - 64..].try_into().unwrap();
    assert_eq!(assemble_receipt(None, proof, &signature).unwrap(), receipt);
    let tbs = receipt_tbs(None, root);
    assert_eq!(tbs[tbs.len() - 32..], root[..]);
}

fn cose_example(name: &str, detached: Option<&[u8]>) -> Option<Result<Vec<u8>, CoseError>> {
    let file = vectors(&format!("cose/{name}.json"))?;
    let sign0 = &file["input"]["sign0"];
    let external = sign0.get("external").map(bytes).unwrap_or_default();
    let message = bytes(&file["output"]["cbor"]);
    Some(verify_sign1(&message, detached, &external, &es256_key(&sign0["key"])))
}

#[test]
fn cose_wg_examples() {
    let content = b"This is the content.".to_vec();
    let cases = [
        ("ecdsa-examples/ecdsa-sig-01", Ok(content.clone())),
        ("sign1-tests/sign-pass-02", Ok(content)),
        // Valid by the RFC, refused by our rule: the algorithm is not under the
        // signature.
        ("sign1-tests/sign-pass-01", Err(CoseError::Algorithm)),
        // Valid where the context says what it is; ours requires the tag.
        ("sign1-tests/sign-pass-03", Err(CoseError::Malformed)),
        ("sign1-tests/sign-fail-01", Err(CoseError::Malformed)),
        ("sign1-tests/sign-fail-02", Err(CoseError::Signature)),
        ("sign1-tests/sign-fail-03", Err(CoseError::Malformed)),
        ("sign1-tests/sign-fail-04", Err(CoseError::Algorithm)),
        ("sign1-tests/sign-fail-06", Err(CoseError::Signature)),
        ("sign1-tests/sign-fail-07", Err(CoseError::Signature)),
    ];
    for (name, expected) in cases {
        let Some(outcome) = cose_example(name, None) else { return };
        assert_eq!(outcome, expected, "{name}");
    }
}

#[test]
fn untagged_example_verifies_once_tagged() {
    let Some(file) = vectors("cose/sign1-tests/sign-pass-03.json") else { return };
    let tagged = [vec![0xd2], bytes(&file["output"]["cbor"])].concat();
    let key = es256_key(&file["input"]["sign0"]["key"]);
    let content = text(&file["input"]["plaintext"]).as_bytes().to_vec();
    assert_eq!(verify_sign1(&tagged, None, b"", &key), Ok(content));
    assert_eq!(verify_sign1(&tagged, None, b"x", &key), Err(CoseError::Signature));
    assert_eq!(verify_sign1(&tagged, Some(b"x"), b"", &key), Err(CoseError::PayloadCount));
}
