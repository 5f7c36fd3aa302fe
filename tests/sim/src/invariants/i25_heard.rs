//! I25: a certificate that arrives counts. It may come alone or in a batch with
//! anything else.

use consilium_proto::ids::{Height, NodeId};

use super::Check;

/// Checks what a node holds for certified, once it has nothing left to do.
///
/// # Errors
/// If it was given a certificate of a higher block that it had executed.
pub fn check(node: NodeId, given: Height, certified: Height) -> Check {
    if certified >= given {
        return Ok(());
    }
    Err(format!("{node} was given the certificate of {given}, which it had executed, and stands at {certified}"))
}
