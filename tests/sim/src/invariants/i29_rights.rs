//! I29: a transaction by which a member protects itself, handed to any honest node, comes
//! into a block soon, though a member that leaves such transactions out leads.

use consilium_proto::ids::NodeId;

use super::Check;

/// Virtual time within which it does. All honest nodes may be needed to elect another leader,
/// and not all of them lose patience in the same moment: it takes a few turns.
pub const RIGHT_MS_MAX: u64 = 30_000;

/// Checks the end of the wait.
///
/// # Errors
/// If it did not.
pub fn check(node: NodeId, executed: bool) -> Check {
    if executed {
        return Ok(());
    }
    Err(format!("a right that was handed to {node} is in no block after {RIGHT_MS_MAX} ms"))
}
