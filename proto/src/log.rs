//! Logs: lists that only grow, each an RFC 9162 tree to whose root a row of the state commits.
//! Who has all entries rebuilds the root and so knows that none is missing, at no cost beyond
//! the entries; who has one proves that it is there by a path.

use crate::error::{FieldError, fixed};
use crate::hash::Hash;
use crate::merkle::{Frontier, leaf_hash, root_of};
use crate::pb::LogState;

/// The state's row of a log whose tree this is.
#[must_use]
pub fn row_of(frontier: &Frontier) -> LogState {
    LogState {
        count: frontier.size(),
        root: frontier.root().to_bytes(),
        frontier: frontier.subtrees().iter().map(Hash::to_bytes).collect(),
    }
}

/// The tree of a row; of no row, the empty one.
///
/// # Errors
/// If it is none.
pub fn tree_of(row: Option<&LogState>) -> Result<Frontier, FieldError> {
    let Some(row) = row else { return Ok(Frontier::new()) };
    let subtrees = row.frontier.iter().map(|hash| fixed("frontier", hash).map(Hash::from_bytes));
    let subtrees = subtrees.collect::<Result<Vec<_>, _>>()?;
    let tree = Frontier::from_subtrees(row.count, subtrees);
    tree.ok_or_else(|| FieldError::malformed("frontier", "does not have a hash for each bit of the count"))
}

/// Whether these are all entries of a log, in order.
#[must_use]
pub fn is_whole<'a>(row: &LogState, entries: impl ExactSizeIterator<Item = &'a [u8]>) -> bool {
    let counted = entries.len() as u64 == row.count;
    let root = root_of(entries.map(leaf_hash));
    counted && root.is_ok_and(|root| root.as_bytes()[..] == row.root)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_row_holds_its_tree_and_tells_whether_entries_are_all() {
        let entries: Vec<Vec<u8>> = (0..11u8).map(|n| vec![n; 3]).collect();
        let mut tree = Frontier::new();
        for (count, entry) in entries.iter().enumerate() {
            tree.append(leaf_hash(entry)).unwrap();
            let row = row_of(&tree);
            assert_eq!((row.count, tree_of(Some(&row))), (count as u64 + 1, Ok(tree.clone())));
            let slices: Vec<&[u8]> = entries[..=count].iter().map(Vec::as_slice).collect();
            assert!(is_whole(&row, slices.iter().copied()));
            assert!(!is_whole(&row, slices[1..].iter().copied()) && !is_whole(&row, slices[..count].iter().copied()));
            let swapped: Vec<_> = slices.iter().rev().copied().collect();
            assert_eq!(is_whole(&row, swapped.into_iter()), count == 0);
        }
        assert_eq!(tree_of(None), Ok(Frontier::new()));
        let lacking = LogState { frontier: Vec::new(), ..row_of(&tree) };
        assert!(tree_of(Some(&lacking)).is_err());
    }
}
