//! Key wraps, keys and payloads.
#![no_main]
use consilium_proto::envelope::{ContentKey, EnvelopeContext, KeyWrap, open_payload};
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::signing::VerifyingKey;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = std::hint::black_box(KeyWrap::decode(data));
    let _ = std::hint::black_box(EncryptionPublicKey::decode(data));
    let _ = std::hint::black_box(VerifyingKey::from_bytes(data));
    let context = EnvelopeContext { ledger_id: [1; 32], record_id: [2; 16], version: 1 };
    let _ = std::hint::black_box(open_payload(&ContentKey::from_bytes(&[3; 32]), &context, data));
});
