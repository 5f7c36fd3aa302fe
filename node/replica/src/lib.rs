//! Everything that a node decides, as one state machine without I/O: the daemon
//! runs it between threads, sockets and a disk, the simulator between virtual
//! ones, and both run the same code.
//!
//! [`Replica::handle`] takes [`Input`]s and gives [`Output`]s. Around it:
//!
//! * [`ports`]: what it needs of the disk, and what the disk must keep;
//! * [`disk`]: writes that take a sync, in their order;
//! * [`start`]: what must hold before it starts;
//! * [`catch_up`]: blocks for and of peers, and a ledger that went astray.
//!
//! It sees no thread, channel, clock, file or socket; time is an argument.
#![forbid(unsafe_code)]

pub mod alarm;
pub mod block;
pub mod cache;
pub mod catch_up;
mod certify;
pub mod clocks;
pub mod disk;
mod electors;
pub mod entries;
mod execute;
mod fault;
#[cfg(test)]
mod fixture;
pub mod forward;
pub mod io;
pub mod notice;
mod order;
pub mod peer;
pub mod ports;
mod rate;
mod rations;
mod reads;
mod recall;
mod replica;
mod rounds;
pub mod start;
pub mod submission;
pub mod topology;
mod waiters;

pub use consilium_consensus::voting::Clock;

pub use crate::cache::CachedLedger;
pub use crate::execute::Rules;
pub use crate::fault::Fault;
pub use crate::io::{Applied, CallId, ExecutedBlock, Input, Output, RequestId, Status};
pub use crate::order::{AccessQuota, Reconciliation, WATCHED_OF_ADMINISTRATORS_MAX, WATCHED_PER_MEMBER_MAX};
pub use crate::replica::{Replica, Settings, Start};
