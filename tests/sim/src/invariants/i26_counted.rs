//! I26: nobody takes an entry for committed that a majority of voters does not have, whoever
//! says so. A node has what it ever wrote to its log, or took over before the log begins.

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::{LogEntry, LogIndex, Membership, RaftId, Term};
use consilium_proto::ids::NodeId;

use super::Check;
use super::i12_raft_safety::digest;

/// Who has what.
#[derive(Default)]
pub struct Counted {
    writers: BTreeMap<(LogIndex, Term, u64), BTreeSet<RaftId>>,
    begins: BTreeMap<RaftId, LogIndex>,
}

impl Counted {
    /// A machine writes an entry to its log.
    pub fn writes(&mut self, node: NodeId, entry: &LogEntry) {
        self.writers.entry((entry.index, entry.term, digest(entry))).or_default().extend(RaftId::new(node.0));
    }

    /// A machine's log begins behind an index: what comes before is in its ledger.
    pub fn begins(&mut self, node: NodeId, truncated: LogIndex) {
        let Some(node) = RaftId::new(node.0) else { return };
        let begins = self.begins.entry(node).or_default();
        *begins = truncated.max(*begins);
    }

    /// A node takes an entry for committed.
    ///
    /// # Errors
    /// If fewer have it than a majority by any of the configurations.
    pub fn committed<'a>(&self, node: NodeId, entry: &LogEntry, mut by: impl Iterator<Item = &'a Membership>) -> Check {
        let wrote = self.writers.get(&(entry.index, entry.term, digest(entry)));
        let mut holders = wrote.cloned().unwrap_or_default();
        holders.extend(self.begins.iter().filter(|(_, begins)| **begins >= entry.index).map(|(node, _)| *node));
        if by.any(|membership| is_majority(membership, &holders)) {
            return Ok(());
        }
        Err(format!("{node} takes entry {} of term {} for committed, which {holders:?} have", entry.index, entry.term))
    }
}

/// Of both halves, while the configuration is joint.
fn is_majority(membership: &Membership, holders: &BTreeSet<RaftId>) -> bool {
    let halves = [&membership.voters, &membership.voters_outgoing];
    let mut asked = halves.into_iter().filter(|half| !half.is_empty());
    asked.all(|half| 2 * half.intersection(holders).count() > half.len())
}
