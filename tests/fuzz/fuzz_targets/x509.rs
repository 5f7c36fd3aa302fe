//! Identity certificates, CA bundles, and PEM of keys and lists.
#![no_main]
use consilium_certs::{CaBundle, IdentityCertificate, pem};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = std::hint::black_box(IdentityCertificate::parse(data));
    let _ = std::hint::black_box(CaBundle::from_ders([data]));
    let _ = std::hint::black_box(CaBundle::from_pem(data));
    let _ = std::hint::black_box(pem::private_key(data));
    let _ = std::hint::black_box(pem::revocation_list(data));
});
