//! Whether a node runs, and what it does before it can.

use consilium_proto::vote::Vote;
use consilium_replica::catch_up::rebuild::Rebuild;

use super::Node;
use crate::disk::{OwnLog, SimLedger};

/// A rebuilding that is under way.
pub type Rebuilding = Rebuild<SimLedger, OwnLog>;

/// A node that waits for what its peers remember of its votes.
#[derive(Default)]
pub struct Asking {
    votes: Vec<Vote>,
}

impl Asking {
    /// What peers remember.
    #[must_use]
    pub fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// A peer answered.
    pub fn answer(&mut self, vote: Vote) {
        self.votes.push(vote);
    }
}

/// Whether a node runs.
pub enum State {
    /// It does not.
    Down,
    /// It asks its peers what it voted for.
    Asking(Box<Asking>),
    /// It rebuilds its ledger.
    Rebuilding(Box<Rebuilding>),
    /// It runs.
    Up(Box<Node>),
    /// It will not run again: the disk was lost, or it was retired.
    Out(&'static str),
}
