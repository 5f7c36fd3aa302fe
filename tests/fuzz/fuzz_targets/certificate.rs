//! Votes, certificates and certified headers.
#![no_main]
use consilium_proto::{pb, vote};
use prost::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(message) = pb::Vote::decode(data) {
        let _ = std::hint::black_box(vote::Vote::try_from(&message));
    }
    if let Ok(message) = pb::BlockCertificate::decode(data) {
        let _ = std::hint::black_box(vote::BlockCertificate::try_from(&message));
    }
    if let Ok(message) = pb::CertifiedHeader::decode(data) {
        let _ = std::hint::black_box(vote::CertifiedHeader::try_from(&message));
    }
});
