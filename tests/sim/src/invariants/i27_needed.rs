//! I27: a validator whose vote a block still needs is heard, also when its node is retired.

use consilium_proto::ids::{Height, NodeId};

use super::Check;

/// A node does not listen to a peer, which tells it a vote of its own for a height.
///
/// # Errors
/// If the peer certifies that height, as far as the node knows, and it is not certified yet.
pub fn check(node: NodeId, peer: NodeId, voted: Height, certified: Height, has_seat: bool) -> Check {
    if has_seat && voted > certified {
        return Err(format!("{node} does not listen to {peer}, a validator of height {voted}"));
    }
    Ok(())
}
