//! A log that a node shows in parts while it grows: each part goes on from what was known before,
//! and all of them together are the log or are not believed.

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::merkle::{
    ConsistencyProof, Frontier, empty_root, leaf_hash, root_of, verify_consistency, verify_extension,
};

use super::verify::hashes;
use super::{KeptLog, LogFault};
use crate::error::ClientError;

/// The log as far as it was shown.
pub(crate) struct LogPages {
    kept: KeptLog,
    /// Of all entries up to the last that was added; `None` before there are more than were kept.
    tree: Option<Frontier>,
    /// Hashes of all that was shown, if nothing was known before.
    leaves: Vec<Hash>,
    /// What the row of the last part says.
    row: KeptLog,
}

impl LogPages {
    pub(crate) fn new(kept: KeptLog) -> Self {
        Self { kept, tree: None, leaves: Vec::new(), row: kept }
    }

    /// What was known before the first part.
    pub(crate) fn kept(&self) -> KeptLog {
        self.kept
    }

    /// What is known now: the next part begins at its count.
    pub(crate) fn known(&self) -> KeptLog {
        match &self.tree {
            Some(tree) => KeptLog { count: tree.size(), root: tree.root() },
            None => self.kept,
        }
    }

    /// Takes the row of the next part, of which what is known must be the beginning.
    pub(crate) fn grow(&mut self, (count, root): (u64, Hash), path: &[Bytes]) -> Result<(), ClientError> {
        let known = self.known();
        if count < known.count {
            return Err(LogFault::Shorter { known: known.count, shown: count }.into());
        }
        let tree = continued(known, (count, root), path)?;
        self.tree = tree.or(self.tree.take());
        self.row = KeptLog { count, root };
        Ok(())
    }

    /// Adds the next entry.
    pub(crate) fn append(&mut self, entry: &[u8]) -> Result<(), ClientError> {
        self.append_leaf(leaf_hash(entry))
    }

    /// Adds the next entry by its hash, where it is not shown.
    pub(crate) fn append_leaf(&mut self, leaf: Hash) -> Result<(), ClientError> {
        let place = self.known().count;
        let surplus = LogFault::Count { count: self.row.count, shown: place + 1 };
        let tree = self.tree.as_mut().filter(|_| place < self.row.count).ok_or(surplus.clone())?;
        tree.append(leaf).map_err(|_| surplus)?;
        if self.kept.count == 0 {
            self.leaves.push(leaf);
        }
        Ok(())
    }

    /// Whether that was the last entry: then all of them are the log, or it is an error.
    pub(crate) fn is_whole(&self) -> Result<bool, ClientError> {
        match self.known() {
            known if known.count < self.row.count => Ok(false),
            known if known == self.row && self.entries_are_all() => Ok(true),
            _ => Err(LogFault::Root.into()),
        }
    }

    /// A log that was read from its beginning, once more from its entries.
    fn entries_are_all(&self) -> bool {
        let again = root_of(self.leaves.iter().copied());
        self.kept.count != 0 || (self.leaves.len() as u64 == self.row.count && again == Ok(self.row.root))
    }
}

/// The tree of what is known, if the log has grown since: to append to.
fn continued(known: KeptLog, (count, root): (u64, Hash), path: &[Bytes]) -> Result<Option<Frontier>, ClientError> {
    if known.count == 0 {
        return if known.root == empty_root() { Ok(Some(Frontier::new())) } else { Err(LogFault::Root.into()) };
    }
    let rewritten = |why| ClientError::from(LogFault::Rewritten(why));
    let proof = ConsistencyProof::new(known.count, count, hashes("consistency_path", path)?).map_err(rewritten)?;
    if count == known.count {
        return verify_consistency(&proof, &known.root, &root).map(|()| None).map_err(rewritten);
    }
    verify_extension(&proof, &known.root, &root).map(Some).map_err(rewritten)
}
