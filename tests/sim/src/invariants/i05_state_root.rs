//! I5, G3: nodes that execute a height compute the same header, and so the same
//! state root. Where a Byzantine member can split Raft, uncertified heights may
//! differ until the certified chain is taken; certified ones never.

use std::collections::BTreeMap;

use consilium_proto::header::Header;
use consilium_proto::ids::{HeaderHash, Height, NodeId};

use super::Check;

/// The first header computed at each height.
#[derive(Default)]
pub struct StateRoots {
    by_height: BTreeMap<Height, (HeaderHash, NodeId)>,
    /// Heights at which honest nodes executed different blocks.
    pub forks: u64,
}

impl StateRoots {
    /// An honest node executed a block.
    ///
    /// # Errors
    /// If another honest node computed something else.
    pub fn executed(&mut self, node: NodeId, header: &Header, may_fork: bool) -> Check {
        let hash = header.hash();
        let (first, by) = *self.by_height.entry(header.height).or_insert((hash, node));
        if first == hash {
            return Ok(());
        }
        self.forks += 1;
        if may_fork {
            return Ok(());
        }
        Err(format!("{node} computes another header at height {} than {by}", header.height))
    }
}
