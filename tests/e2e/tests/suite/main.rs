//! Process-level tests: real nodes, real mTLS, real disks. One file per theme.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod acknowledged;
mod bad_input;
mod blind;
mod catch_up;
mod certificates;
mod clocks;
mod cluster;
mod crash;
mod disks;
mod divergence;
mod double_sign;
mod elections;
mod epochs_offline;
mod exactly_once;
mod governance;
mod handover;
mod identity;
mod import;
mod joining;
mod overload;
mod partitions;
mod power;
mod presence;
mod receipts;
mod renewal;
mod rot;
mod slow_disk;
mod surface;
mod suspension;
mod tampering;
mod usurper;
mod watch;
