//! The Consilium node: the impure shell around the rules and the consensus.
//!
//! * [`config`] reads and checks the configuration;
//! * [`storage`] keeps the Raft log, the ledger, and the small files of the guard;
//! * [`identity`] applies the X.509 profile to the ledger's members and to TLS;
//! * [`handle`] asks the replica, [`published`] shows what it tells;
//! * [`transport`] speaks with the other nodes, [`api`] serves clients, and
//!   [`access`] decides who may read what;
//! * `edge` judges every call by its head, before it is a request;
//! * [`contained`] lets a panic of a request end that request alone;
//! * [`descriptors`] reckons whether the process may open enough files and connections;
//! * [`setup`] says what must be true before a node starts;
//! * [`runtime`] owns the threads and wires everything.
//!
//! What a node decides is in `consilium-replica`. See docs/ARCHITECTURE.md for the
//! picture.

pub mod access;
pub mod alarms;
pub mod api;
pub mod clock;
pub mod config;
pub mod contained;
pub mod cuts;
pub mod descriptors;
pub mod dump;
mod edge;
pub mod fault;
pub mod handle;
mod held;
pub mod http;
pub mod identity;
pub mod published;
pub mod runtime;
pub mod setup;
pub mod storage;
pub mod telemetry;
pub mod transport;
