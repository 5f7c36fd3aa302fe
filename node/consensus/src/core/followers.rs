//! What a leader remembers of its followers besides Raft's own progress: when each was last
//! heard from, and who was offered leadership and did not take it.
//!
//! The library's own activity flag is no measure of who is alive now: each check-quorum round
//! clears it for everyone, so right after a round the whole group looks dead. Nothing here may
//! outlive the term in which it was seen.

use std::collections::BTreeMap;

use crate::ids::{RaftId, Term};

/// Observations of one term of leadership, in ticks of this core.
#[derive(Default)]
pub(super) struct Followers {
    term: Term,
    heard: BTreeMap<RaftId, u64>,
    declined: BTreeMap<RaftId, u64>,
}

impl Followers {
    fn enter(&mut self, term: Term) {
        if self.term != term {
            *self = Self { term, ..Self::default() };
        }
    }

    /// An answer of `peer` to the leader of `term` arrived.
    pub(super) fn heard(&mut self, peer: RaftId, term: Term, tick: u64) {
        self.enter(term);
        self.heard.insert(peer, tick);
    }

    /// `peer` was offered leadership in `term` and did not take it in time.
    pub(super) fn declined(&mut self, peer: RaftId, term: Term, tick: u64) {
        self.enter(term);
        self.declined.insert(peer, tick);
    }

    /// Ticks since `peer` was heard from in `term`, if it was.
    pub(super) fn ticks_since_heard(&self, peer: RaftId, term: Term, now: u64) -> Option<u64> {
        self.age(&self.heard, peer, term, now)
    }

    /// Ticks since `peer` let an offer of leadership in `term` pass, if it did.
    pub(super) fn ticks_since_declined(&self, peer: RaftId, term: Term, now: u64) -> Option<u64> {
        self.age(&self.declined, peer, term, now)
    }

    fn age(&self, since: &BTreeMap<RaftId, u64>, peer: RaftId, term: Term, now: u64) -> Option<u64> {
        let tick = since.get(&peer).filter(|_| self.term == term)?;
        Some(now.saturating_sub(*tick))
    }
}

#[cfg(test)]
mod tests;
