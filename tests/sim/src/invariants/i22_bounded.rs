//! I22: what waits in a node is bounded.

use consilium_proto::ids::NodeId;
use consilium_replica::{Status, WATCHED_PER_MEMBER_MAX};

use super::Check;

/// Checks the queues of a node.
///
/// # Errors
/// The one that is too long.
pub fn check(node: NodeId, status: &Status, queued_max: usize, members: u64) -> Check {
    if status.queued > queued_max || status.waiting > queued_max {
        let Status { queued, waiting, .. } = status;
        return Err(format!("{queued} queued and {waiting} awaited at {node}, at most {queued_max} may be"));
    }
    let watched_max = WATCHED_PER_MEMBER_MAX * members as usize;
    if status.watched > watched_max {
        return Err(format!("{} are under watch at {node}, at most {watched_max} may be", status.watched));
    }
    Ok(())
}
