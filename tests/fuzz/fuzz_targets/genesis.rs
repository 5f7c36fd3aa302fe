//! The genesis document.
#![no_main]
use consilium_proto::genesis::Genesis;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = std::hint::black_box(Genesis::parse(data));
});
