//! I33: nodes that executed the same block decided every request in it alike, to the byte. The
//! root of a header covers the logs' rows; this looks at the entries.

use std::collections::BTreeMap;

use consilium_proto::hash::{Hash, sha256};
use consilium_proto::ids::{HeaderHash, NodeId};

use super::Check;
use crate::disk::port::Observation;

/// What the first node logged in each block.
#[derive(Debug, Default)]
pub struct Logged(BTreeMap<HeaderHash, (Hash, NodeId)>);

impl Logged {
    /// A node executed a block.
    ///
    /// # Errors
    /// If another node logged something else in it.
    pub fn executed(&mut self, node: NodeId, executed: &Observation) -> Check {
        let header = &executed.tip.header;
        let parts: Vec<&[u8]> = executed.logged.iter().flat_map(|(key, entry)| [&key[..], &entry[..]]).collect();
        let digest = Hash::from_bytes(sha256(&parts));
        let (first, by) = *self.0.entry(header.hash()).or_insert((digest, node));
        match first == digest {
            true => Ok(()),
            false => Err(format!("{node} logs other events at height {} than {by}", header.height)),
        }
    }
}
