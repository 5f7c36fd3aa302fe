//! A deterministic simulator: the real `replica` (and with it `consensus` and
//! `ledger`) under a virtual clock, network and disk, watched by an oracle after
//! every step.
//!
//! A run is a function of its seed. [`run::run_seed`] draws the swarm parameters,
//! runs a stormy phase with faults, then a calm one in which progress must
//! resume, and returns what happened. Nothing here may read a clock, a file or
//! the system's randomness; see `docs/simulator.md` for every source of entropy
//! and how it is closed.

pub mod bugs;
pub mod byzantine;
pub mod care;
pub mod chronicle;
pub mod client;
pub mod crash_point;
pub mod disk;
pub mod env;
pub mod event;
pub mod fixture;
pub mod host;
pub mod invariants;
pub mod judge;
pub mod machine;
pub mod nemesis;
pub mod net;
pub mod node;
pub mod oracle;
pub mod rights;
pub mod run;
pub mod stats;
pub mod swarm;
pub mod trace;
pub mod withheld;
pub mod world;
