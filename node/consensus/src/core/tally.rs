//! What a node remembers of acknowledgements. What follows from it is in [`super::counting`].

use std::collections::BTreeMap;

use crate::ids::{LogIndex, RaftId, Term};

/// See the module. Nothing in it outlives a term.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) term: Term,
    /// Heads of the others.
    pub(super) heads: BTreeMap<RaftId, LogIndex>,
    /// Up to here this follower's log is the leader's, though it ends in an earlier term.
    pub(super) matched: LogIndex,
    /// What this node told last.
    pub(super) told: LogIndex,
}

impl Tally {
    pub(super) fn enter(&mut self, term: Term) {
        if self.term != term {
            *self = Self { term, ..Self::default() };
        }
    }
}
