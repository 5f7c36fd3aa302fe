//! The Consilium node: the impure shell around the rules and the consensus.
//!
//! * [`config`] reads and checks the configuration;
//! * [`storage`] keeps the Raft log, the ledger, and the small files of the guard;
//! * [`identity`] applies the X.509 profile to the ledger's members and to TLS;
//! * [`transport`] speaks with the other nodes;
//! * [`runtime`] owns the threads and wires everything;
//! * [`api`] serves clients.
//!
//! See docs/ARCHITECTURE.md for the picture.

pub mod api;
pub mod config;
pub mod dump;
pub mod http;
pub mod identity;
pub mod runtime;
pub mod setup;
pub mod storage;
pub mod telemetry;
pub mod transport;
