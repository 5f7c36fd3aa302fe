//! I9: the newest vote is durable before a vote leaves, votes never go back, a
//! node never signs two headers of one height, and never votes above an epoch
//! boundary that it holds no certificate of.

use std::collections::BTreeMap;

use consilium_proto::ids::{HeaderHash, Height, NodeId};
use consilium_proto::vote::Vote;

use super::Check;
use consilium_replica::ports::GuardRecord;

/// Every vote that an honest node let go.
#[derive(Default)]
pub struct VoteGuards {
    votes: BTreeMap<(NodeId, Height), HeaderHash>,
    guards: BTreeMap<NodeId, Height>,
    boundaries: BTreeMap<NodeId, Height>,
}

impl VoteGuards {
    /// A node lets a vote of its own go.
    ///
    /// # Errors
    /// If it must not.
    pub fn sent(&mut self, vote: &Vote, guard: GuardRecord) -> Check {
        let (node, height) = (vote.validator, vote.height);
        if guard.vote.voted_height < height {
            return Err(format!("{node} votes at {height}, its guard remembers {}", guard.vote.voted_height));
        }
        if guard.vote.voted_height == height && guard.vote.voted_header != vote.header_hash {
            return Err(format!("{node} votes at {height} for another header than its guard remembers"));
        }
        let first = *self.votes.entry((node, height)).or_insert(vote.header_hash);
        if first != vote.header_hash {
            return Err(format!("{node} signs two headers of height {height}"));
        }
        if let Some(boundary) = self.boundaries.get(&node).filter(|boundary| **boundary < height) {
            return Err(format!("{node} votes at {height}, above the boundary {boundary} that is not certified"));
        }
        Ok(())
    }

    /// The guard of a node was made durable.
    ///
    /// # Errors
    /// If it goes back.
    pub fn remembered(&mut self, node: NodeId, voted: Height) -> Check {
        let before = self.guards.insert(node, voted).unwrap_or_default();
        if voted < before {
            return Err(format!("the guard of {node} goes back from {before} to {voted}"));
        }
        Ok(())
    }

    /// The guard of a node has lost its newest record. A vote that never left may be
    /// forgotten; what had left is still never contradicted.
    pub fn rotted(&mut self, node: NodeId, left: Height) {
        self.guards.insert(node, left);
    }

    /// The lowest boundary above what a node holds a certificate for.
    pub fn boundary(&mut self, node: NodeId, boundary: Option<Height>) {
        match boundary {
            Some(height) => self.boundaries.insert(node, height),
            None => self.boundaries.remove(&node),
        };
    }
}
