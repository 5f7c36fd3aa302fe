//! Whether a node runs, and what it does before it can.

use consilium_replica::catch_up::rebuild::Rebuild;

use super::Node;
use crate::disk::{OwnLog, SimLedger};

/// A rebuilding that is under way.
pub type Rebuilding = Rebuild<SimLedger, OwnLog>;

/// Whether a node runs.
pub enum State {
    /// It does not.
    Down,
    /// It rebuilds its ledger.
    Rebuilding(Box<Rebuilding>),
    /// It runs.
    Up(Box<Node>),
    /// It will not run again: the disk was lost, or it was retired.
    Out(&'static str),
}
