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
