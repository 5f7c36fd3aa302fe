//! Identity certificates and CA bundles.
#![no_main]
use consilium_certs::{CaBundle, IdentityCertificate};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = std::hint::black_box(IdentityCertificate::parse(data));
    let _ = std::hint::black_box(CaBundle::from_ders([data]));
    let _ = std::hint::black_box(CaBundle::from_pem(data));
});
