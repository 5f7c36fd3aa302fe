//! Keys from labels: the same on every machine and in every run. ES256 keys
//! come from PKCS#8 with a secret scalar alone; the library computes the point.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_proto::hash::sha256;
use consilium_proto::keys::{EncryptionPublicKey, KemId};
use consilium_proto::signing::SigningKey;

/// PKCS#8 around an EC private key without its public half, up to the scalar.
const P256_PREFIX: [u8; 35] = [
    0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20,
];

thread_local! {
    /// Keys that were made so far: the point costs more than the signature.
    static ES256: RefCell<BTreeMap<String, Arc<SigningKey>>> = RefCell::default();
}

/// The ES256 key of a label.
#[must_use]
pub fn es256(label: &str) -> Arc<SigningKey> {
    ES256.with_borrow_mut(|keys| {
        let key = keys.entry(label.to_owned()).or_insert_with(|| Arc::new(derive_es256(label)));
        Arc::clone(key)
    })
}

fn derive_es256(label: &str) -> SigningKey {
    let mut scalar = sha256(&[b"consilium-kit es256 ", label.as_bytes()]);
    // Below the order of the group, and not zero.
    scalar[0] = 1;
    let mut der = P256_PREFIX.to_vec();
    der.extend_from_slice(&scalar);
    SigningKey::from_pkcs8_der(&der).expect("a scalar below the order is a key")
}

/// The Ed25519 key of a label.
#[must_use]
pub fn ed25519(label: &str) -> SigningKey {
    SigningKey::from_ed25519_seed(&sha256(&[b"consilium-kit ed25519 ", label.as_bytes()]))
}

/// The key for which keys of records are wrapped, of a label. Nobody can open such wraps.
#[must_use]
pub fn x25519(label: &str) -> EncryptionPublicKey {
    let raw = sha256(&[b"consilium-kit x25519 ", label.as_bytes()]);
    EncryptionPublicKey::from_raw(KemId::X25519HkdfSha256, &raw).expect("any 32 bytes are such a key")
}

/// The key that a node votes with, by raft id.
#[must_use]
pub fn vote(node: u64) -> Arc<SigningKey> {
    es256(&format!("vote {node}"))
}

#[cfg(test)]
mod tests;
