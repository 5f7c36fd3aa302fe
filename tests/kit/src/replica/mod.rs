//! A replica in memory: its disk, and a driver that does at once what a replica
//! asks for, so that a test is a list of inputs and the exact list of outputs.
//!
//! [`Node`] is one replica on one disk, [`Replicas`] a few of them with messages
//! between them. Time stands still but for [`Replicas::pass`]. Nothing here
//! decides anything that a node decides: it writes, checks signatures, carries
//! messages, and reports.

mod disk;
mod ledger;
mod net;
mod node;

pub use disk::{Did, Disk, GuardPort, Journal, LogPort};
pub use ledger::LedgerPort;
pub use net::{Replicas, TICK_MS};
pub use node::{Node, settings};
