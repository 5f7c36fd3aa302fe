//! That a signing key's proof at enrolment is good for one certificate on one
//! ledger.

use bytes::Bytes;
use consilium_proto::hash::sha256;
use consilium_proto::ids::{Fingerprint, LedgerId};
use consilium_proto::pb;
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use consilium_proto::transaction::{Transaction, encode_actions, enrollment_proof_input, sign};

const LEDGER: LedgerId = LedgerId::from_bytes([4; 32]);
const CERTIFICATE: Bytes = Bytes::from_static(b"a certificate");

fn fingerprint(certificate: &[u8]) -> Fingerprint {
    Fingerprint::from_bytes(sha256(&[certificate]))
}

/// An enrolment on [`LEDGER`] with this proof.
fn enrollment(key: &SigningKey, proof: &[u8]) -> pb::SignedTransaction {
    let enroll = pb::EnrollIdentity {
        certificate_chain: vec![CERTIFICATE],
        signing_key: key.verifying_key().to_bytes().into(),
        encryption_key: Bytes::new(),
        signing_key_proof: Bytes::copy_from_slice(proof),
    };
    let body = pb::TransactionBody {
        ledger_id: LEDGER.to_bytes(),
        nonce: vec![0; 16].into(),
        actions: encode_actions(&[pb::Action { action: Some(pb::action::Action::EnrollIdentity(enroll)) }]),
        valid_until_ms: 1,
        author: Bytes::new(),
    };
    let certificate_key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap();
    sign(body, fingerprint(&CERTIFICATE), &certificate_key, Vec::new()).unwrap()
}

#[test]
fn a_proof_is_for_one_certificate_on_one_ledger() {
    let key = SigningKey::from_ed25519_seed(&[8; 32]);
    let refusal = |ledger: LedgerId, certificate: &[u8]| {
        let proof = key.sign(&enrollment_proof_input(ledger, &fingerprint(certificate))).unwrap();
        Transaction::parse(&enrollment(&key, &proof), LEDGER).err().map(|error| error.to_string())
    };
    assert_eq!(refusal(LEDGER, &CERTIFICATE), None);
    for (ledger, certificate) in [(LedgerId::from_bytes([5; 32]), &CERTIFICATE[..]), (LEDGER, b"another's certificate")]
    {
        let refused = refusal(ledger, certificate).unwrap();
        assert!(refused.contains("enroll_identity.signing_key_proof"), "{refused}");
    }
}

#[test]
fn what_the_proof_signs_is_golden() {
    let input = enrollment_proof_input(LEDGER, &fingerprint(&CERTIFICATE));
    let digest = sha256(&[&[4; 32], &sha256(&[&CERTIFICATE])]);
    assert_eq!(input, [&b"\x13consilium/enroll/v2"[..], &digest].concat());
}
