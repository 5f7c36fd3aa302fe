//! Verification of many signatures at once.
//!
//! Ed25519 signatures share one multi-scalar multiplication, which costs about
//! a third of verifying them one by one. All validators must agree on every
//! signature, so this uses the ZIP-215 rules of `ed25519-zebra`, under which a
//! batch accepts exactly what single verification accepts; the batch of plain
//! `ed25519-dalek` gives no such promise and must not take its place.
//!
//! A batch draws random factors. They only protect the *verifier* against items
//! made to cancel each other out; they never change which valid item is
//! accepted, so the answer is deterministic except with probability 2^-128.
//! Without randomness the items are verified one by one.

use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use rand_core::{CryptoRng, RngCore};

use super::{SIGNATURE_LEN, VerifyingKey};
use crate::random::OsRandom;

/// Items in one multi-scalar multiplication. Larger is faster per item, but one
/// bad signature makes its whole group be verified one by one.
pub const BATCH_LEN_MAX: usize = 128;

/// Collects signatures, then answers for each whether it is valid.
#[derive(Default)]
pub struct BatchVerifier {
    outcomes: Vec<bool>,
    // Position in `outcomes` and the item; the message is already hashed in.
    pending: Vec<(usize, batch::Item)>,
}

impl BatchVerifier {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a signature. ES256 has no batch form and is verified right here.
    pub fn push(&mut self, key: &VerifyingKey, message: &[u8], signature: &[u8; SIGNATURE_LEN]) {
        match key.as_ed25519() {
            Some(ed25519) => {
                let key_bytes = VerificationKeyBytes::from(*ed25519);
                let item = (key_bytes, Signature::from_bytes(signature), message).into();
                self.pending.push((self.outcomes.len(), item));
                self.outcomes.push(false);
            }
            None => self.outcomes.push(key.verify(message, signature).is_ok()),
        }
    }

    /// One answer per item, in the order in which they were added.
    pub fn verify(self) -> Vec<bool> {
        let Self { mut outcomes, pending } = self;
        for group in pending.chunks(BATCH_LEN_MAX) {
            // For one alone the batch form is slower.
            let all_valid = group.len() > 1 && verify_group(group);
            for (position, item) in group {
                outcomes[*position] = all_valid || item.clone().verify_single().is_ok();
            }
        }
        outcomes
    }
}

impl std::fmt::Debug for BatchVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BatchVerifier({} items)", self.outcomes.len())
    }
}

/// Whether every item of the group is valid. `false` proves nothing about any one.
fn verify_group(group: &[(usize, batch::Item)]) -> bool {
    let mut verifier = batch::Verifier::new();
    for (_, item) in group {
        verifier.queue(item.clone());
    }
    let mut factors = Factors::draw(group.len());
    let valid = verifier.verify(&mut factors).is_ok();
    // Zero factors would accept anything.
    valid && !factors.random.failed()
}

/// Bytes of a random factor.
const FACTOR_LEN: usize = 16;

/// The factors of a batch, drawn by one request instead of one for each.
struct Factors {
    random: OsRandom,
    drawn: Vec<u8>,
}

impl Factors {
    fn draw(count: usize) -> Self {
        let mut random = OsRandom::default();
        let mut drawn = vec![0; count * FACTOR_LEN];
        random.fill_bytes(&mut drawn);
        Self { random, drawn }
    }
}

impl RngCore for Factors {
    fn next_u32(&mut self) -> u32 {
        self.random.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// No byte is given twice.
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        match self.drawn.len().checked_sub(dest.len()) {
            Some(rest) => {
                dest.copy_from_slice(&self.drawn[rest..]);
                self.drawn.truncate(rest);
            }
            None => self.random.fill_bytes(dest),
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Factors {}

/// Verifies many signatures: key, message (a `signing_input`), signature.
/// One answer per item, in order; see [`BatchVerifier`].
pub fn verify_batch(items: &[(VerifyingKey, &[u8], [u8; SIGNATURE_LEN])]) -> Vec<bool> {
    let mut batch = BatchVerifier::new();
    for (key, message, signature) in items {
        batch.push(key, message, signature);
    }
    batch.verify()
}

#[cfg(test)]
mod tests;
