//! Somebody who signs: a certificate, the key that it certifies, and the key
//! that is enrolled by it; and what is signed.

use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::hash::sha256;
use consilium_proto::ids::{Fingerprint, LedgerId};
use consilium_proto::pb::{self, action::Action};
use consilium_proto::signing::SigningKey;
use consilium_proto::transaction::{self, enrollment_proof_input, signing_key_fingerprint};

use crate::{identity_rules, keys};

#[derive(Clone)]
pub struct Identity {
    pub certificate: Bytes,
    pub certificate_key: Arc<SigningKey>,
    pub key: Arc<SigningKey>,
}

impl Identity {
    #[must_use]
    pub fn new(member: &str, role: &str, name: &str) -> Self {
        Self::under(identity_rules::FIRST_CA, member, role, name)
    }

    /// Somebody with a certificate, and a key, of their own by this CA.
    #[must_use]
    pub fn under(ca: &str, member: &str, role: &str, name: &str) -> Self {
        let label = match ca {
            identity_rules::FIRST_CA => format!("{member}/{role}/{name}"),
            _ => format!("{ca}|{member}/{role}/{name}"),
        };
        let certificate_key = keys::es256(&format!("certificate {label}"));
        let certificate = identity_rules::certificate(ca, [member, role, name], &certificate_key.verifying_key());
        Self { certificate, certificate_key, key: Arc::new(keys::ed25519(&label)) }
    }

    #[must_use]
    pub fn author(&self) -> Fingerprint {
        signing_key_fingerprint(&self.key.verifying_key())
    }

    #[must_use]
    pub fn serial(&self) -> Vec<u8> {
        identity_rules::serial(&self.certificate)
    }

    /// What enrols the signing key; to be signed by [`Self::sign_enrollment`].
    #[must_use]
    pub fn enrollment(&self, ledger: LedgerId) -> Action {
        let proof = self.key.sign(&enrollment_proof_input(ledger, &self.fingerprint())).unwrap();
        Action::EnrollIdentity(pb::EnrollIdentity {
            certificate_chain: vec![self.certificate.clone()],
            signing_key: self.key.verifying_key().to_bytes().into(),
            encryption_key: Bytes::new(),
            signing_key_proof: Bytes::copy_from_slice(&proof),
        })
    }

    #[must_use]
    pub fn sign_enrollment(&self, body: pb::TransactionBody) -> pb::SignedTransaction {
        transaction::sign(body, self.fingerprint(), &self.certificate_key, Vec::new()).unwrap()
    }

    #[must_use]
    pub fn sign(&self, body: pb::TransactionBody, attachments: Vec<Bytes>) -> pb::SignedTransaction {
        transaction::sign(body, self.author(), &self.key, attachments).unwrap()
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_bytes(sha256(&[&self.certificate]))
    }
}

/// A transaction that is valid until a time; the number makes it unique.
#[must_use]
pub fn body(ledger_id: Bytes, number: u64, valid_until_ms: u64, actions: Vec<Action>) -> pb::TransactionBody {
    let nonce = [number.to_be_bytes(), [0; 8]].concat();
    let actions: Vec<_> = actions.into_iter().map(|action| pb::Action { action: Some(action) }).collect();
    let actions = transaction::encode_actions(&actions);
    pb::TransactionBody { ledger_id, nonce: nonce.into(), valid_until_ms, actions, author: Bytes::new() }
}

/// A version of a record of a patient of its own; the payload is to be attached.
#[must_use]
pub fn write_record(record: [u8; 16], version: u32, kind: &str, payload: &[u8]) -> Action {
    let record_id = Bytes::copy_from_slice(&record);
    Action::WriteRecord(pb::WriteRecord {
        patient: record_id.clone(),
        record_id,
        version,
        kind: kind.into(),
        confidentiality: pb::Confidentiality::Normal as i32,
        payload_sha256: Bytes::copy_from_slice(&sha256(&[payload])),
        payload_size: payload.len() as u32,
        descriptor_sha256: Bytes::new(),
        wraps: Vec::new(),
        policy_tags: Vec::new(),
    })
}

/// The same with a descriptor, which is to be attached behind the payload. Nothing of it is
/// random: equal numbers make equal bytes.
#[must_use]
pub fn write_tagged_record(record: [u8; 16], number: u64, payload: &[u8]) -> (Action, Bytes) {
    let hash = sha256(&[b"descriptor", &number.to_be_bytes()]);
    let descriptor = Bytes::copy_from_slice(&hash);
    let Action::WriteRecord(write) = write_record(record, 1, "Observation", payload) else {
        unreachable!("it is one");
    };
    let descriptor_sha256 = Bytes::copy_from_slice(&sha256(&[&descriptor]));
    (Action::WriteRecord(pb::WriteRecord { descriptor_sha256, ..write }), descriptor)
}
