//! Wycheproof: edge cases and forgeries for ES256 and AES-256-GCM, through the
//! functions that the ledger uses. The vectors are read where they lie; without
//! them the tests say so and pass.

use consilium_proto::envelope::{EnvelopeError, aead};
use consilium_proto::signing::{SignatureAlgorithm, SigningError, VerifyingKey, verify};

use crate::common::{bytes, text, vectors};

#[test]
fn ecdsa_p256_sha256_p1363() {
    let Some(file) = vectors("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json") else { return };
    let (mut valid, mut invalid, mut odd_length) = (0, 0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let point = bytes(&group["publicKey"]["uncompressed"]);
        let key = VerifyingKey::from_raw(SignatureAlgorithm::Es256, &point).unwrap();
        for test in group["tests"].as_array().unwrap() {
            let signature = bytes(&test["sig"]);
            let outcome = verify(&key, &bytes(&test["msg"]), &signature);
            let expected = match (text(&test["result"]), signature.len()) {
                ("valid", _) => {
                    valid += 1;
                    Ok(())
                }
                (_, 64) => {
                    invalid += 1;
                    Err(SigningError::Invalid(SignatureAlgorithm::Es256))
                }
                (_, other) => {
                    odd_length += 1;
                    Err(SigningError::SignatureLength(other))
                }
            };
            assert_eq!(outcome, expected, "test {} {}", test["tcId"], test["comment"]);
        }
    }
    assert!(valid > 150 && invalid > 60 && odd_length > 0, "{valid} {invalid} {odd_length}");
}

/// Wycheproof's signatures hold both s and n - s: no id depends on signature
/// bytes, so both are taken.
#[test]
fn es256_accepts_high_s() {
    let Some(file) = vectors("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json") else { return };
    let half_order = "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8";
    let is_high = |signature: &str| signature.len() == 128 && &signature[64..] > half_order;
    let high = file["testGroups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["tests"].as_array().unwrap())
        .filter(|test| text(&test["result"]) == "valid" && is_high(text(&test["sig"])))
        .count();
    assert!(high > 0, "the vectors above prove the decision only if some are high");
}

#[test]
fn aes_256_gcm() {
    let Some(file) = vectors("wycheproof/aes_gcm_test.json") else { return };
    let (mut valid, mut invalid) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        if group["keySize"] != 256 || group["ivSize"] != 96 {
            continue;
        }
        assert_eq!(group["tagSize"], 128);
        for test in group["tests"].as_array().unwrap() {
            let key: [u8; 32] = bytes(&test["key"]).try_into().unwrap();
            let nonce: [u8; 12] = bytes(&test["iv"]).try_into().unwrap();
            let aad = bytes(&test["aad"]);
            let sealed = [bytes(&test["ct"]), bytes(&test["tag"])].concat();
            let opened = aead::open(&key, &nonce, &aad, &sealed);
            if text(&test["result"]) == "valid" {
                valid += 1;
                let message = bytes(&test["msg"]);
                assert_eq!(opened.unwrap().as_slice(), message, "test {}", test["tcId"]);
                assert_eq!(aead::seal(&key, &nonce, &aad, message.into()), Ok(sealed));
            } else {
                invalid += 1;
                assert_eq!(opened, Err(EnvelopeError::Open), "test {}", test["tcId"]);
            }
        }
    }
    assert_eq!(valid + invalid, 66);
    assert!(valid > 20 && invalid > 20, "{valid} {invalid}");
}
