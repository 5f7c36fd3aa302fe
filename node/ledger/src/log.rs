//! Logs over the tables: entries are appended to the tree of a row of the state and stored
//! beside it, by their place. Of the tree's inner nodes those of one level are kept; what is
//! below is hashed from the entries again, what is above from them.
//!
//! The rules append, and read the row and, of a complaint, the entry that it is about; no entry is
//! ever erased. All else is read back for answers.

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::ids::TransactionId;
use consilium_proto::log::{row_of, tree_of};
use consilium_proto::merkle::{
    ConsistencyProof, InclusionProof, NodeReader, leaf_hash, node_hash, prove_consistency, prove_inclusion,
};
use consilium_proto::pb::{AccessEvent, LogState};

use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{Location, StateReader, StoreFault, View};

/// The level that is kept: a node for 256 entries.
const KEPT_LEVEL: u8 = 8;

/// How many entries a log has.
pub(crate) fn length<R: StateReader>(view: &View<'_, R>, state_key: &[u8]) -> Result<u64, StoreFault> {
    let row: Option<LogState> = view.message(Table::State, state_key)?;
    Ok(row.map_or(0, |row| row.count))
}

/// Appends an entry to the log of a row of the state; gives its place.
pub(crate) fn append<R: StateReader>(
    view: &mut View<'_, R>,
    state_key: &[u8],
    entry: Bytes,
) -> Result<u64, StoreFault> {
    let row: Option<LogState> = view.message(Table::State, state_key)?;
    let mut tree = tree_of(row.as_ref()).map_err(|e| corrupt(format!("log: {e}")))?;
    let place = tree.size();
    let completed = tree.append(leaf_hash(&entry)).map_err(|e| corrupt(format!("log: {e}")))?;
    for node in completed.iter().filter(|node| node.level == KEPT_LEVEL) {
        view.put(Table::Logs, keys::log_node(state_key, node.index), node.hash.to_bytes());
    }
    view.put(Table::Logs, keys::log_entry(state_key, place), entry);
    view.put_message(Table::State, state_key.to_vec(), &row_of(&tree));
    Ok(place)
}

/// The event of a request in this log, if it left one there.
pub(crate) fn event_of<R: StateReader>(
    view: &View<'_, R>,
    state_key: &[u8],
    request: &TransactionId,
) -> Result<Option<AccessEvent>, StoreFault> {
    let location = view.get(Table::Transactions, &keys::transaction(request))?;
    let location = location.map(|row| Location::decode(&row)).transpose()?;
    let Some(place) = location.and_then(|location| location.log) else { return Ok(None) };
    if place.log != state_key {
        return Ok(None);
    }
    view.message(Table::Logs, &keys::log_entry(state_key, place.place))
}

/// An entry of a log, if it has as many.
///
/// # Errors
/// If the store fails.
pub fn entry<R: StateReader>(reader: &R, state_key: &[u8], place: u64) -> Result<Option<Bytes>, StoreFault> {
    reader.get(Table::Logs, &keys::log_entry(state_key, place))
}

/// Proves that an entry is among the first `size` of a log.
///
/// # Errors
/// If the store fails, lacks what it must hold, or there is no such entry.
pub fn prove_entry<R: StateReader>(
    reader: &R,
    state_key: &[u8],
    place: u64,
    size: u64,
) -> Result<InclusionProof, StoreFault> {
    let tree = LogTree { reader, state_key };
    prove_inclusion(&tree, place, size).map_err(|e| corrupt(format!("log: {e}")))
}

/// Proves that the first `size` entries of a log are its first `from` ones, and more.
///
/// # Errors
/// As [`prove_entry`].
pub fn prove_growth<R: StateReader>(
    reader: &R,
    state_key: &[u8],
    from: u64,
    size: u64,
) -> Result<ConsistencyProof, StoreFault> {
    let tree = LogTree { reader, state_key };
    prove_consistency(&tree, from, size).map_err(|e| corrupt(format!("log: {e}")))
}

struct LogTree<'a, R> {
    reader: &'a R,
    state_key: &'a [u8],
}

impl<R: StateReader> NodeReader for LogTree<'_, R> {
    type Error = StoreFault;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, StoreFault> {
        match level {
            0 => Ok(entry(self.reader, self.state_key, index)?.map(|entry| leaf_hash(&entry))),
            KEPT_LEVEL => {
                let node = self.reader.get(Table::Logs, &keys::log_node(self.state_key, index))?;
                let hash = node.map(|node| Hash::try_from(node.as_ref())).transpose();
                hash.map_err(|e| corrupt(format!("log: {e}")))
            }
            // At most 8 levels deep below the one that is kept, and 55 above.
            _ => {
                let (left, right) = (self.node(level - 1, index * 2)?, self.node(level - 1, index * 2 + 1)?);
                Ok(left.zip(right).map(|(left, right)| node_hash(&left, &right)))
            }
        }
    }
}
