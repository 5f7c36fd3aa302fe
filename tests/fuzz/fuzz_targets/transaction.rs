//! A submitted transaction: decoding and all stateless checks.
#![no_main]
use consilium_proto::{ids::LedgerId, pb, transaction::Transaction};
use prost::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let ledger = LedgerId::from_bytes([1; 32]);
    if let Ok(message) = pb::SignedTransaction::decode(data) {
        let _ = std::hint::black_box(Transaction::parse(&message, ledger));
        let _ = std::hint::black_box(Transaction::parse_stored(&message, ledger));
    }
    let bare = pb::SignedTransaction { body: data.to_vec().into(), ..Default::default() };
    let _ = std::hint::black_box(Transaction::parse(&bare, ledger));
});
