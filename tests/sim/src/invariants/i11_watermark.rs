//! I10, I11: what a node has promised to Raft is on its disk after every crash.
//! A node that opens its disk finds the log at least as long as it reported, and
//! its vote at least as new; otherwise it must not take part.

use std::collections::BTreeMap;

use consilium_consensus::{HardState, LogIndex};
use consilium_proto::ids::NodeId;

use super::Check;

/// What each node has reported as durable.
#[derive(Default)]
pub struct Watermarks {
    reported: BTreeMap<NodeId, HardState>,
}

impl Watermarks {
    /// A node's writer reported a write: from now on the core may promise it.
    pub fn reported(&mut self, node: NodeId, hard_state: HardState) {
        self.reported.insert(node, hard_state);
    }

    /// A node starts from its disk.
    ///
    /// # Errors
    /// If the disk forgot a term or a vote.
    pub fn started(&mut self, node: NodeId, found: HardState, last: LogIndex, applied: LogIndex) -> Check {
        if last < applied {
            return Err(format!("{node} starts with a log up to {last}, applied is {applied}"));
        }
        let Some(reported) = self.reported.get(&node) else { return Ok(()) };
        let forgot_vote = found.term == reported.term && reported.vote.is_some() && found.vote != reported.vote;
        if found.term < reported.term || forgot_vote {
            return Err(format!("{node} starts in term {}, it had promised {}", found.term, reported.term));
        }
        Ok(())
    }
}
