//! Receipts, ours and RFC 9942's, and proofs of the state.
#![no_main]
use consilium_proto::{cose, pb, receipt::Receipt, state_tree::StateProof};
use prost::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(message) = pb::Receipt::decode(data) {
        let _ = std::hint::black_box(Receipt::try_from(&message));
    }
    let _ = std::hint::black_box(cose::Receipt::decode(data));
    let _ = std::hint::black_box(StateProof::decode(data));
});
