//! I21: a linearizable read sees everything of which anybody was told before it
//! began.

use consilium_proto::ids::{Height, NodeId};

use super::Check;

/// Checks a read.
///
/// # Errors
/// If it missed something.
pub fn check(node: NodeId, told: Height, seen: Height) -> Check {
    if seen >= told {
        return Ok(());
    }
    Err(format!("a read of node {node} sees height {seen}; before it began a client was told of {told}"))
}
