//! I13: Raft's voters are elected nodes, change one pair at a time, and are never
//! fewer than a safe set.

use std::collections::BTreeSet;

use consilium_consensus::{Membership, RaftId};

use super::Check;

/// Below this many, not one voter may fail.
const SAFE: usize = 3;

/// Everyone who was ever elected, and the size of the smallest elected set.
#[derive(Default)]
pub struct Voters {
    elected: BTreeSet<RaftId>,
    smallest: usize,
}

impl Voters {
    /// A set was elected, or founded the network.
    pub fn elected(&mut self, set: impl IntoIterator<Item = RaftId>) {
        let set: BTreeSet<RaftId> = set.into_iter().collect();
        self.smallest = if self.elected.is_empty() { set.len() } else { self.smallest.min(set.len()) };
        self.elected.extend(set);
    }

    /// A node put a configuration into force.
    ///
    /// # Errors
    /// If it is not a safe one.
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
