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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_golden() {
        // Document length -> padded length; changing these breaks old payloads.
        let golden = [
            (0, 256),
            (252, 256),
            (253, 272),
            (268, 272),
            (269, 288),
            (1_000, 1_024),
            (1_021, 1_088),
            (10_000, 10_240),
            (1_000_000, 1_015_808),
        ];
        for (document, padded) in golden {
            assert_eq!(padded_len(document), padded, "document of {document} bytes");
        }
    }

    #[test]
    fn other_paddings_are_refused() {
        let good = pad(b"doc").unwrap();
        assert_eq!(unpad(&good), Ok(&b"doc"[..]));
        let mut dirty = good.to_vec();
        dirty[255] = 1;
        let mut longer = good.to_vec();
        longer.push(0);
        let mut lying = good.to_vec();
        lying[..4].copy_from_slice(&[0xff; 4]);
        for bad in [&dirty[..], &longer, &lying, &good[..255], &good[..3], &[]] {
            assert_eq!(unpad(bad), Err(EnvelopeError::Padding));
        }
    }

    proptest! {
        #[test]
        fn round_trip_and_bounded_cost(document in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let padded = pad(&document).unwrap();
            prop_assert_eq!(unpad(&padded).unwrap(), &document[..]);
            prop_assert!(padded.len() == 256 || padded.len() * 100 <= (document.len() + 4) * 112);
        }

        #[test]
        fn length_is_monotonic_and_enough(length in 0usize..1 << 40) {
            prop_assert!(padded_len(length) >= length + 4);
            prop_assert!(padded_len(length) <= padded_len(length + 1));
        }

        #[test]
        fn hostile_padding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = unpad(&bytes);
        }
    }
}
