//! The contract against others: published vectors, other implementations, and
//! golden bytes of what is hashed and signed. One binary, so that it links once.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod common;
mod cose_vectors;
mod enrollment;
mod formats;
mod hpke_vectors;
mod merkle_vectors;
mod wycheproof;
