#![allow(clippy::unwrap_used)]

use super::*;
use crate::envelope::tests::{example_context, other_contexts};
use crate::hash::sha256;
use proptest::prelude::*;

#[test]
fn golden() {
    let key = ContentKey::from_bytes(&[0x42; 32]);
    let payload = seal_with_nonce(&key, &example_context(), b"Observation", &[0x07; 12]).unwrap();
    assert_eq!(payload.len(), 256 + PAYLOAD_OVERHEAD);
    assert_eq!(
        hex::encode(&payload[..45]),
        "0107070707070707070707070759220b75d05a8cc7cad87d1c91c4759ade02c6ad08bb711a5a9a0d479d4dcb86"
    );
    assert_eq!(hex::encode(sha256(&[&payload])), "3155a929dec4c5371be808f59bce3407a3e6c39734e96db48225b6a146cf1d9c");
}

#[test]
fn nonces_are_fresh() {
    let key = ContentKey::generate().unwrap();
    let one = seal_payload(&key, &example_context(), b"x").unwrap();
    let two = seal_payload(&key, &example_context(), b"x").unwrap();
    assert_ne!(one[1..13], two[1..13]);
    assert_ne!(one[45..], two[45..]);
}

#[test]
fn other_context_or_key_is_refused() {
    let key = ContentKey::generate().unwrap();
    let payload = seal_payload(&key, &example_context(), b"secret").unwrap();
    for context in other_contexts(example_context()) {
        assert_eq!(open_payload(&key, &context, &payload), Err(EnvelopeError::Open));
    }
    let other = ContentKey::generate().unwrap();
    assert_eq!(open_payload(&other, &example_context(), &payload), Err(EnvelopeError::Open));
}

/// Without the commitment a second key could be made to open this payload.
#[test]
fn commitment_is_checked() {
    let key = ContentKey::generate().unwrap();
    let mut payload = seal_payload(&key, &example_context(), b"secret").unwrap();
    payload[13] ^= 1;
    assert_eq!(open_payload(&key, &example_context(), &payload), Err(EnvelopeError::Open));
}

#[test]
fn every_altered_byte_is_noticed() {
    let key = ContentKey::generate().unwrap();
    let payload = seal_payload(&key, &example_context(), b"secret").unwrap();
    for position in 0..payload.len() {
        let mut bad = payload.clone();
        bad[position] ^= 0x80;
        assert!(open_payload(&key, &example_context(), &bad).is_err(), "byte {position}");
    }
}

#[test]
fn limits_and_formats() {
    let key = ContentKey::generate().unwrap();
    let large = vec![0; PLAINTEXT_LEN_MAX + 1];
    assert_eq!(seal_payload(&key, &example_context(), &large), Err(EnvelopeError::TooLarge(PLAINTEXT_LEN_MAX + 1)));
    let open = |bytes: &[u8]| open_payload(&key, &example_context(), bytes);
    assert_eq!(open(&[]), Err(EnvelopeError::Truncated(0)));
    assert_eq!(open(&[2; 90]), Err(EnvelopeError::UnknownFormat(2)));
    assert_eq!(open(&[1; 60]), Err(EnvelopeError::Truncated(60)));
}

#[test]
fn debug_is_redacted() {
    let key = ContentKey::from_bytes(&[0x5a; 32]);
    assert_eq!(format!("{key:?}"), "ContentKey([redacted])");
}

proptest! {
    #[test]
    fn round_trip(
        bytes in any::<[u8; 32]>(),
        document in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let key = ContentKey::from_bytes(&bytes);
        let payload = seal_payload(&key, &example_context(), &document).unwrap();
        let length = padding::padded_len(document.len()) + PAYLOAD_OVERHEAD;
        prop_assert_eq!(payload.len(), length);
        let opened = open_payload(&key, &example_context(), &payload).unwrap();
        prop_assert_eq!(&opened[..], &document[..]);
    }

    #[test]
    fn hostile_payload_never_panics(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        format in any::<bool>(),
    ) {
        if let (true, Some(first)) = (format, bytes.first_mut()) {
            *first = FORMAT;
        }
        let key = ContentKey::from_bytes(&[1; 32]);
        prop_assert!(open_payload(&key, &example_context(), &bytes).is_err());
    }
}
