//! Process-level tests: real nodes, real mTLS, real disks. One file per theme.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod acknowledged;
mod alike;
mod attachments;
mod authors;
mod bad_input;
mod blind;
mod catch_up;
mod certificates;
mod clocks;
mod cluster;
mod crash;
mod custody;
mod disks;
mod divergence;
mod double_sign;
mod elections;
mod epochs_offline;
mod exactly_once;
mod extremes;
mod flapping;
mod flood;
mod governance;
mod handover;
mod honest_truncation;
mod hostile_access;
mod identity;
mod import;
mod joining;
mod large_reads;
mod lying_entry;
mod lying_leader;
mod misfiled;
mod overload;
mod partitions;
mod patients;
mod power;
mod power_cut;
mod presence;
mod receipts;
mod renewal;
mod rights;
mod rolled_back;
mod rot;
mod slow_disk;
mod succession;
mod surface;
mod suspension;
mod tampering;
mod urgent;
mod usurper;
mod watch;
mod whom;
mod withheld;
