//! I23: a committed entry is a block on all nodes or on none.

use std::collections::BTreeMap;

use consilium_consensus::{LogEntry, LogPosition};
use consilium_proto::ids::NodeId;

use super::Check;
use super::i12_raft_safety::digest;

/// What the first node made of each entry.
#[derive(Default)]
pub struct Meanings(BTreeMap<(LogPosition, u64), (bool, NodeId)>);

impl Meanings {
    /// A node took an entry for a block, or for none.
    ///
    /// # Errors
    /// If another node did not.
    pub fn taken(&mut self, node: NodeId, entry: &LogEntry, is_block: bool) -> Check {
        let place = (entry.position(), digest(entry));
        let (first, by) = *self.0.entry(place).or_insert((is_block, node));
        if first == is_block {
            return Ok(());
        }
        Err(format!("entry {} is a block to one of {by} and {node}, and none to the other", entry.index))
    }
}
