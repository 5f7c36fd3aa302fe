//! AES-256-GCM with the nonce given by the caller (NIST SP 800-38D).
//!
//! The raw form under [`super::seal_payload`], public so that it can be checked
//! against published vectors. It never chooses a nonce: two messages under one
//! key and nonce would reveal both. Use the payload functions instead.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::EnvelopeError;

/// Length of the nonce in bytes.
pub const NONCE_LEN: usize = 12;
/// Length of the tag at the end of the ciphertext in bytes.
pub const TAG_LEN: usize = 16;

/// Encrypts `plaintext` in place and appends the tag.
///
/// Takes the buffer as zeroizing and returns it bare: what remains is ciphertext.
pub fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    plaintext: Zeroizing<Vec<u8>>,
) -> Result<Vec<u8>, EnvelopeError> {
    // A buffer that grows leaves a copy of the plaintext behind: reserve first.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG_LEN));
    buffer.extend_from_slice(&plaintext);
    load(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut *buffer)
        .map_err(|_| EnvelopeError::Library)?;
    Ok(std::mem::take(&mut *buffer))
}

/// Decrypts ciphertext with its tag at the end.
pub fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = load(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut buffer)
        .map_err(|_| EnvelopeError::Open)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

fn load(key: &[u8; 32]) -> Result<LessSafeKey, EnvelopeError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| EnvelopeError::Library)
}
