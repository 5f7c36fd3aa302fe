//! I14: applied <= committed <= persisted, on every node after every step. The
//! commit of a follower may run ahead of its own disk; what is applied may not.

use consilium_consensus::Status;

use super::Check;

/// Checks a node's status.
///
/// # Errors
/// What is out of order.
pub fn check(status: &Status) -> Check {
    let Status { id, commit, applied, persisted, last_index, .. } = status;
    if applied <= commit && applied <= persisted && commit <= last_index && persisted <= last_index {
        return Ok(());
    }
    Err(format!("node {id}: applied {applied}, commit {commit}, persisted {persisted}, last {last_index}"))
}
