//! Padding, so that a ciphertext's length says little about the document.
//!
//! A one-line "negative" and a page of findings must not be told apart by size.
//! Lengths up to [`LEN_MIN`] become that; above, Padmé (Nikitin and others, *Reducing
//! Metadata Leakage from Encrypted Files*, PETS 2019) rounds up so that a length
//! of L bytes leaks O(log log L) bits at a cost of at most 12 %.
//!
//! Padded form: length of the document (4 bytes, big endian), document, zeros.
//! This module never judges a document, and refuses any padding but the one
//! that it would have made: spare bytes would be a hidden channel.

use zeroize::Zeroizing;

use super::EnvelopeError;

/// Length of the length field in bytes.
pub(super) const LENGTH_FIELD_LEN: usize = 4;
/// Every padded form has at least this many bytes.
const LEN_MIN: usize = 256;

/// Bytes of the padded form of a document of `document_len` bytes.
///
/// Saturates instead of overflowing; documents are limited far below.
pub const fn padded_len(document_len: usize) -> usize {
    let needed = document_len.saturating_add(LENGTH_FIELD_LEN);
    if needed <= LEN_MIN {
        return LEN_MIN;
    }
    // E = floor(log2 L), S = floor(log2 E) + 1; the low E - S bits become zero.
    let exponent = usize::BITS - 1 - needed.leading_zeros();
    let kept_bits = u32::BITS - exponent.leading_zeros();
    let mask = (1usize << (exponent - kept_bits)) - 1;
    needed.saturating_add(mask) & !mask
}

/// The padded form of `document`, whose length must fit 32 bits.
pub(super) fn pad(document: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let length = u32::try_from(document.len()).map_err(|_| EnvelopeError::TooLarge(document.len()))?;
    let padded_len = padded_len(document.len());
    let mut padded = Zeroizing::new(Vec::with_capacity(padded_len));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(document);
    padded.resize(padded_len, 0);
    Ok(padded)
}

/// The document inside a padded form.
pub(super) fn unpad(padded: &[u8]) -> Result<&[u8], EnvelopeError> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_FIELD_LEN>().ok_or(EnvelopeError::Padding)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| EnvelopeError::Padding)?;
    let (document, zeros) = rest.split_at_checked(length).ok_or(EnvelopeError::Padding)?;
    if padded.len() != padded_len(length) || zeros.iter().any(|byte| *byte != 0) {
        return Err(EnvelopeError::Padding);
    }
    Ok(document)
}

#[cfg(test)]
mod tests;
