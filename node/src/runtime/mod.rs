//! The threads of a node, and how they are wired.
//!
//! ```text
//! network (tokio) --submissions--> verifier --verified--> driver (Raft core)
//!      ^                               ^                    |    |     |
//!      |                               +---entries----------+    |     +--committed--> applier --headers--> certifier
//!      +--replies-- waiters <----------------------------- writer (log, one sync)        |                    |
//!                      ^                                                             ledger rows        votes, guard
//!                      +-----------------------------------------------------------------+--------------------+
//! ```
//!
//! Each component has one owner; they speak by messages. A fault of any thread
//! stops the node: it is never retried on the same handles.

pub mod applier;
pub mod blocks;
pub mod certifier;
pub mod divergence;
pub mod driver;
pub mod identities;
pub mod mempool;
pub mod node;
pub mod reads;
pub mod repair;
pub mod shared;
pub mod state_cache;
pub mod sync;
pub mod verifier;
pub mod waiters;
pub mod writer;

use consilium_consensus::{LogError, StartError};
use consilium_ledger::ExecutionError;
use consilium_proto::ids::Height;

use crate::storage::StorageError;

/// Why a node stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The disk, or what is on it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A block could not be executed.
    #[error("executing a block: {0}")]
    Execution(ExecutionError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(LogError),
    /// The log must not be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// This node's state differs from what is certified.
    #[error("the state of this node differs from the certified block at height {height}")]
    Diverged {
        /// First height known to differ.
        height: Height,
    },
    /// The vote key does not work.
    #[error("signing a vote: {0}")]
    Signing(String),
    /// A thread has ended.
    #[error("the {0} has stopped")]
    Stopped(&'static str),
    /// Anything about start-up that an operator must mend.
    #[error("{0}")]
    Setup(String),
}
