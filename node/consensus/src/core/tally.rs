//! What a node remembers of acknowledgements. What follows from it is in [`super::counting`].

use std::collections::BTreeMap;

use crate::ids::{LogHash, LogIndex, RaftId, Term};

/// Acknowledgements of a peer that are kept until they can be compared. More come anyway.
const AHEAD_MAX: usize = 64;

/// See the module. Nothing in it outlives a term.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) term: Term,
    /// Heads of the others: this node has the same entries up to there.
    pub(super) heads: BTreeMap<RaftId, LogIndex>,
    /// What others acknowledge of which this node does not know yet whether it has the same.
    pub(super) ahead: BTreeMap<RaftId, BTreeMap<LogIndex, LogHash>>,
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

    pub(super) fn keep(&mut self, peer: RaftId, index: LogIndex, hash: LogHash) {
        let ahead = self.ahead.entry(peer).or_default();
        ahead.insert(index, hash);
        if ahead.len() > AHEAD_MAX {
            ahead.pop_last();
        }
    }
}
