//! What the benchmarks share: a clock of the work alone, and a ledger on a disk.

#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::unwrap_used)]

pub mod cpu;
pub mod hospital;
