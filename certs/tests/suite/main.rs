//! Tests of the X.509 profile from outside: every refusal by name, chains and
//! revocation at fixed times, hostile bytes, the CA directory, and real TLS
//! handshakes. One binary, so that it links once.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, missing_docs)]

mod authority;
mod chain;
mod common;
mod contract;
mod crl;
mod documented;
mod handshake;
mod hostile;
mod profile;
mod reload;
mod store;
