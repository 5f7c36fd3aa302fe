//! I1: every block continues the one before: parent hash, height, leaf count and
//! root recomputed equal those of the header.

use crate::disk::port::Observation;

use super::Check;

/// Checks a block against its parent, with a tree of its own.
///
/// # Errors
/// What does not fit.
pub fn check(executed: &Observation) -> Check {
    let (parent, header) = (&executed.parent.header, &executed.tip.header);
    if header.height != parent.height.next() || header.previous_hash != parent.hash() {
        return Err(format!("block {} does not continue block {}", header.height, parent.height));
    }
    let mut tree = executed.parent.frontier.clone();
    for (index, leaf) in &executed.leaves {
        if *index != tree.size() || leaf.height != header.height {
            return Err(format!("leaf {index} of block {} is out of place", header.height));
        }
        tree.append(leaf.hash()).map_err(|_| "the tree is full".to_owned())?;
    }
    if tree.size() != header.tree_size || tree.root() != header.tree_root {
        return Err(format!("the tree of block {} is not that of its leaves", header.height));
    }
    Ok(())
}
