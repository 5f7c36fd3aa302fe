//! What tests and simulations are made of: seeded randomness, keys and people
//! by name, genesis documents, rows in memory, a small ledger that executes
//! blocks, and replicas on a disk in memory.
//!
//! Everything follows from labels and seeds alone, so that equal runs are equal
//! on every machine. It must never see a clock, a file, a socket or a thread,
//! and never decide what a node decides: it only holds, carries and signs. What
//! cannot be built ends the test that asked for it.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, missing_docs)]

pub mod chain;
pub mod extremes;
pub mod forks;
pub mod genesis;
pub mod identity_rules;
pub mod keys;
mod ledger;
pub mod lies;
pub mod log;
pub mod net;
pub mod people;
pub mod raft_wire;
pub mod replica;
mod rng;
mod rows;

pub use genesis::{MemberSpec, genesis};
pub use identity_rules::Rules;
pub use ledger::{
    Action, Ledger, START, approve, delegate, powers, propose, reason, redelegate, release, seats, topics, undelegate,
};
pub use log::{LogHandle, MemoryLog};
pub use net::Network;
pub use people::Identity;
pub use rng::Rng;
pub use rows::Rows;
