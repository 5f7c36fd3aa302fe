//! The core under a simulated network, disk and clock.
//!
//! One crate, so that the harness in `cluster` is built once. Each file beside it covers one
//! concern; each test names the trap or promise that it is there for.
#![allow(clippy::unwrap_used)]

mod chain;
mod cluster;
mod counting;
mod durability;
mod elections;
mod faults;
mod hostile;
mod mandates;
mod membership;
mod reads;
mod reconcile;
mod replication;
mod single_core;
mod snapshots;
mod voting;
