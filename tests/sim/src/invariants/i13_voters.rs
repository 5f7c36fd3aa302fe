//! I13: Raft's voters are elected nodes, change one pair at a time, are never
//! fewer than a safe set, and are the same on all nodes at the same index, also
//! after a restart and after catching up.

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::{LogIndex, Membership, RaftId};

use super::Check;

/// Below this many, not one voter may fail.
const SAFE: usize = 3;

/// Everyone who was ever elected, and the size of the smallest elected set.
#[derive(Default)]
pub struct Voters {
    elected: BTreeSet<RaftId>,
    smallest: usize,
    /// The configuration from an index on, as first seen.
    by_index: BTreeMap<LogIndex, Membership>,
}

impl Voters {
    /// A set was elected, or founded the network.
    pub fn elected(&mut self, set: impl IntoIterator<Item = RaftId>) {
        let set: BTreeSet<RaftId> = set.into_iter().collect();
        self.smallest = if self.elected.is_empty() { set.len() } else { self.smallest.min(set.len()) };
        self.elected.extend(set);
    }

    /// The network is founded.
    pub fn founded(&mut self, membership: Membership) {
        self.by_index.insert(LogIndex(0), membership);
    }

    /// The configurations by which an entry may be counted: that in force before it, and those
    /// after it.
    pub fn counting(&self, index: LogIndex) -> impl Iterator<Item = &Membership> {
        let before = self.by_index.range(..index).next_back();
        before.into_iter().chain(self.by_index.range(index..)).map(|(_, membership)| membership)
    }

    /// A node put the configuration of an entry into force.
    ///
    /// # Errors
    /// If another node got another one from it.
    pub fn changed(&mut self, index: LogIndex, membership: &Membership) -> Check {
        let first = self.by_index.entry(index).or_insert_with(|| membership.clone());
        if first == membership {
            return Ok(());
        }
        Err(format!("entry {index} leads to {membership:?} here and to {first:?} elsewhere"))
    }

    /// A node goes on from a configuration, as of an index.
    ///
    /// # Errors
    /// If it is not the one in force there.
    pub fn resumed(&self, index: LogIndex, membership: &Membership) -> Check {
        let expected = self.by_index.range(..=index).next_back().map(|(_, membership)| membership);
        if expected == Some(membership) {
            return Ok(());
        }
        Err(format!("a node goes on from index {index} with {membership:?}, in force was {expected:?}"))
    }

    /// A node put a configuration into force: whether it is a safe one.
    ///
    /// # Errors
    /// If it is not.
    pub fn check(&self, before: &Membership, now: &Membership) -> Check {
        if let Some(stranger) = now.voters.iter().find(|id| !self.elected.contains(id)) {
            return Err(format!("{stranger} votes in Raft and was never elected"));
        }
        let least = SAFE.min(self.smallest);
        if now.voters.len() < least {
            return Err(format!("only {} voters are left, {least} are safe", now.voters.len()));
        }
        if now.is_joint() {
            let entering = now.voters.difference(&now.voters_outgoing).count();
            let leaving = now.voters_outgoing.difference(&now.voters).count();
            if entering > 1 || leaving > 1 || before.is_joint() {
                return Err(format!("a joint change of {entering} in and {leaving} out"));
            }
        }
        Ok(())
    }
}
