//! I20: some time after the last fault a new transaction is certified, and all
//! honest nodes stand at the same certified block with the same state.

use consilium_consensus::LogIndex;
use consilium_proto::ids::{HeaderHash, Height, NodeId};

use super::Check;

/// Virtual time within which progress must resume.
pub const CALM_MS_MAX: u64 = 60_000;

/// Where a node stands at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The node.
    pub node: NodeId,
    /// Its certified height.
    pub certified: Height,
    /// Where its log ends.
    pub log_end: LogIndex,
    /// The header that it executed at the height of the probe's certificate.
    pub header: Option<HeaderHash>,
}

/// Checks the end of the calm phase.
///
/// # Errors
/// If a node is behind, or differs.
pub fn check(probe: Option<Height>, standings: &[Standing]) -> Check {
    let Some(height) = probe else {
        return Err(format!("no new transaction was certified within {CALM_MS_MAX} ms: {standings:?}"));
    };
    let Some(first) = standings.first() else { return Err("no node is up".to_owned()) };
    for standing in standings {
        if standing.certified < height || standing.header.is_none() {
            return Err(format!("{} is behind height {height}: {}", standing.node, standing.certified));
        }
        if standing.header != first.header {
            return Err(format!("{} and {} differ at height {height}", standing.node, first.node));
        }
    }
    Ok(())
}
