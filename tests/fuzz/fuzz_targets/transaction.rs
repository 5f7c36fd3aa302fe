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
    let body = pb::TransactionBody {
        ledger_id: ledger.to_bytes(),
        nonce: vec![2; 16].into(),
        valid_until_ms: 3,
        actions: vec![data.to_vec().into()],
        author: vec![4; 32].into(),
    };
    let bare = pb::SignedTransaction { body: Some(body), signature: vec![5; 64].into(), attachments: Vec::new() };
    let _ = std::hint::black_box(Transaction::parse(&bare, ledger));
});
