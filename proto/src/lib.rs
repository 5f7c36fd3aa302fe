//! The contract of Consilium: what both sides of a wire must agree on.
//!
//! Generated messages (`pb`), typed identifiers and names, hashing and
//! signing with domain separation, the ledger's Merkle tree and the
//! authenticated state's tree, headers, votes, block certificates, receipts,
//! the genesis document, and the envelopes that encrypt records.
//!
//! This crate does no I/O, reads no clock, and holds no state of a network.
//! Everything that comes from outside is parsed once, into types that cannot
//! hold a malformed value; hostile input never panics.

pub mod access;
pub mod consent;
pub mod cose;
pub mod envelope;
pub mod error;
pub mod genesis;
pub mod hash;
pub mod header;
pub mod ids;
pub mod keys;
pub mod light_client;
pub mod limits;
pub mod log;
pub mod merkle;
pub mod names;
pub mod observed;
pub mod parameters;
pub mod patient;
pub mod pem;
pub mod purpose;
pub mod random;
pub mod receipt;
pub mod record;
pub mod resource_types;
pub mod signing;
pub mod state;
pub mod state_tree;
pub mod transaction;
pub mod validators;
pub mod vote;
pub mod when;
pub mod wire_cost;
pub mod wire_scan;

/// Messages generated from `consilium/v1/*.proto`. Clients and servers are in
/// `consilium-grpc`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/consilium.v1.rs"));

    /// Encoded `FileDescriptorSet`, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/consilium_descriptor.bin"));
}
