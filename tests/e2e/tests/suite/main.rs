//! Process-level tests: real nodes, real mTLS, real disks. One file per theme.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod bad_input;
mod blind;
mod catch_up;
mod certificates;
mod cluster;
mod crash;
mod disks;
mod divergence;
mod exactly_once;
mod handover;
mod identity;
mod import;
mod overload;
mod receipts;
mod surface;
mod tampering;
mod watch;
