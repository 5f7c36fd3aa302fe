//! I16: a raft id belongs to one node, one key and one disk for ever. A disk
//! that was lost takes its raft id with it.

use std::collections::BTreeMap;

use consilium_proto::ids::NodeId;

use super::Check;

/// Who used which raft id.
#[derive(Default)]
pub struct RaftIds {
    disks: BTreeMap<NodeId, u64>,
    keys: BTreeMap<NodeId, Vec<u8>>,
}

impl RaftIds {
    /// A node takes part with a disk, which has a number of its own.
    ///
    /// # Errors
    /// If the raft id was used with another one.
    pub fn started(&mut self, node: NodeId, disk: u64) -> Check {
        let first = *self.disks.entry(node).or_insert(disk);
        if first == disk { Ok(()) } else { Err(format!("raft id {node} is used with a second disk")) }
    }

    /// The ledger names a node's key.
    ///
    /// # Errors
    /// If it was another one.
    pub fn named(&mut self, node: NodeId, key: &[u8]) -> Check {
        let first = self.keys.entry(node).or_insert_with(|| key.to_vec());
        if first == key { Ok(()) } else { Err(format!("raft id {node} was given to a second key")) }
    }
}
