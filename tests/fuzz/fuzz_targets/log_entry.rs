//! What a node reads back from its own disk.
#![no_main]
use bytes::Bytes;
use consilium_consensus::{HardState, LogEntry, Membership, SnapshotMeta};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = std::hint::black_box(LogEntry::decode(&Bytes::copy_from_slice(data)));
    let _ = std::hint::black_box(HardState::decode(data));
    let _ = std::hint::black_box(Membership::decode(data));
    let _ = std::hint::black_box(SnapshotMeta::decode(data));
});
