//! I12: one leader per term, who was elected, and one entry at each committed index over all
//! nodes. A Byzantine voter may break Raft; then certificates must hold alone.

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::{EntryKind, LogEntry, LogIndex, Term};
use consilium_proto::ids::NodeId;

use super::Check;

/// The global view.
#[derive(Default)]
pub struct RaftSafety {
    leaders: BTreeMap<Term, NodeId>,
    /// Whoever was elected, traitors too.
    elected: BTreeSet<(Term, NodeId)>,
    committed: BTreeMap<LogIndex, (Term, u64)>,
    /// Times that the above did not hold.
    pub broken: u64,
}

impl RaftSafety {
    /// A node became leader.
    ///
    /// # Errors
    /// If another one leads in this term.
    pub fn leads(&mut self, term: Term, node: NodeId) -> Check {
        let first = *self.leaders.entry(term).or_insert(node);
        if first == node {
            return Ok(());
        }
        self.broken += 1;
        Err(format!("{first} and {node} both lead in term {term}"))
    }

    /// A machine won an election.
    pub fn elected(&mut self, term: Term, node: NodeId) {
        self.elected.insert((term, node));
    }

    /// An honest node follows a leader.
    ///
    /// # Errors
    /// If nobody elected that.
    pub fn follows(&self, node: NodeId, term: Term, leader: NodeId) -> Check {
        if self.elected.contains(&(term, leader)) {
            return Ok(());
        }
        Err(format!("{node} follows {leader} in term {term}, whom nobody elected"))
    }

    /// An honest node was given a committed entry.
    ///
    /// # Errors
    /// If another entry was committed there.
    pub fn committed(&mut self, node: NodeId, entry: &LogEntry) -> Check {
        let found = (entry.term, digest(entry));
        let first = *self.committed.entry(entry.index).or_insert(found);
        if first == found {
            return Ok(());
        }
        self.broken += 1;
        Err(format!("{node} commits an entry of term {} at {}, another had term {}", found.0, entry.index, first.0))
    }

    /// Terms with a leader.
    #[must_use]
    pub fn elections(&self) -> u64 {
        self.leaders.len() as u64
    }
}

/// Enough to tell entries of one run apart; never part of the trace.
pub(super) fn digest(entry: &LogEntry) -> u64 {
    let (kind, data) = match &entry.kind {
        EntryKind::Normal(data) => (1, data.as_ref()),
        EntryKind::ConfChange(data) => (2, data.as_ref()),
        EntryKind::Empty => (3, [].as_slice()),
    };
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    data.iter().fold(0xcbf2_9ce4_8422_2325 ^ kind, fold)
}
