//! The ledger's tree (RFC 9162) in table `tree`: tiles of 16 hashes each. A tile of level 0 holds
//! hashes of leaves, one of level 4 those of subtrees of 16 leaves, and so on; what lies between is
//! hashed from them again. A block writes its tiles once, however many leaves it has, and a proof
//! reads one tile for each four levels.
//!
//! The newest tile of a level grows. It must never lose a hash that it had.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::hash::{HASH_LEN, Hash};
use consilium_proto::merkle::{Frontier, NodeReader, PerfectNode, node_hash};

use crate::block::ExecutionError;
use crate::keys;
use crate::table::Table;
use crate::view::{Row, StateReader, StoreFault};

/// Levels that a tile spans.
const TILE_LEVELS: u8 = 4;
/// Hashes of a whole tile.
const TILE_HASHES: u64 = 1 << TILE_LEVELS;

/// Where a tile stands: the level of its hashes, and its place among the tiles of that level.
type Place = (u8, u64);

/// Appends leaves, and gathers the tiles that they change.
pub(crate) struct Appender<'a, R> {
    reader: &'a R,
    frontier: Frontier,
    tiles: BTreeMap<Place, Vec<u8>>,
}

impl<'a, R: StateReader> Appender<'a, R> {
    /// Goes on where a tree ends.
    pub(crate) fn new(reader: &'a R, frontier: Frontier) -> Self {
        Self { reader, frontier, tiles: BTreeMap::new() }
    }

    /// How many leaves the tree has.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Appends a leaf by its hash; gives its place.
    ///
    /// # Errors
    /// If the tree is full, or the store fails or lacks what it must hold.
    pub(crate) fn append(&mut self, leaf: Hash) -> Result<u64, ExecutionError> {
        let index = self.size();
        let completed = self.frontier.append(leaf).map_err(|_| ExecutionError::TreeFull)?;
        for node in completed.iter().filter(|node| node.level.is_multiple_of(TILE_LEVELS)) {
            self.add(node)?;
        }
        Ok(index)
    }

    fn add(&mut self, node: &PerfectNode) -> Result<(), StoreFault> {
        let place = (node.level, node.index / TILE_HASHES);
        let before = usize::try_from(node.index % TILE_HASHES).expect("below the hashes of a tile") * HASH_LEN;
        if !self.tiles.contains_key(&place) {
            let begun = if before == 0 { None } else { tile(self.reader, place)? };
            self.tiles.insert(place, begun.map_or_else(Vec::new, Vec::from));
        }
        let hashes = self.tiles.get_mut(&place).expect("it was put there");
        if hashes.len() != before {
            return Err(corrupt("a tile does not end where the tree does"));
        }
        hashes.extend_from_slice(node.hash.as_bytes());
        Ok(())
    }

    /// The tree now, and its rows that have changed.
    pub(crate) fn finish(self) -> (Frontier, impl Iterator<Item = Row>) {
        let row = |((level, index), hashes): (Place, Vec<u8>)| Row {
            table: Table::Tree,
            key: keys::tree_tile(level, index),
            value: Some(hashes.into()),
        };
        (self.frontier, self.tiles.into_iter().map(row))
    }
}

/// Reads the tree of a store that does not change meanwhile, each tile once.
pub struct Tree<'a, R> {
    reader: &'a R,
    tiles: RefCell<BTreeMap<Place, Option<Bytes>>>,
}

impl<'a, R: StateReader> Tree<'a, R> {
    /// The tree in a store.
    #[must_use]
    pub fn new(reader: &'a R) -> Self {
        Self { reader, tiles: RefCell::default() }
    }

    fn tile(&self, place: Place) -> Result<Option<Bytes>, StoreFault> {
        if let Some(tile) = self.tiles.borrow().get(&place) {
            return Ok(tile.clone());
        }
        let tile = tile(self.reader, place)?;
        self.tiles.borrow_mut().insert(place, tile.clone());
        Ok(tile)
    }
}

impl<R: StateReader> NodeReader for Tree<'_, R> {
    type Error = StoreFault;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, StoreFault> {
        let above = level % TILE_LEVELS;
        // Beyond the largest tree.
        let Some(first) = index.checked_mul(1 << above) else { return Ok(None) };
        let Some(tile) = self.tile((level - above, first / TILE_HASHES))? else { return Ok(None) };
        let (hashes, rest) = tile.as_chunks::<HASH_LEN>();
        if !rest.is_empty() {
            return Err(corrupt("a tile that is no list of hashes"));
        }
        let first = usize::try_from(first % TILE_HASHES).expect("below the hashes of a tile");
        let hashes = hashes.get(first..first + (1 << above));
        Ok(hashes.map(|hashes| perfect(hashes, above)))
    }
}

/// The root of a perfect subtree of that many levels over hashes.
fn perfect(hashes: &[[u8; HASH_LEN]], levels: u8) -> Hash {
    if levels == 0 {
        return Hash::from_bytes(hashes[0]);
    }
    let (left, right) = hashes.split_at(hashes.len() / 2);
    node_hash(&perfect(left, levels - 1), &perfect(right, levels - 1))
}

fn tile<R: StateReader>(reader: &R, (level, index): Place) -> Result<Option<Bytes>, StoreFault> {
    reader.get(Table::Tree, &keys::tree_tile(level, index))
}

fn corrupt(cause: &str) -> StoreFault {
    StoreFault::Corrupt { table: Table::Tree.name(), cause: cause.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use consilium_proto::hash::sha256;
    use consilium_proto::merkle::{frontier_at, prove_inclusion, verify_inclusion};
    use proptest::prelude::*;

    use super::*;
    use crate::state_map::{NodePath, TrieStore};

    #[derive(Default)]
    struct Store(BTreeMap<Vec<u8>, Bytes>);

    impl TrieStore for Store {
        type Error = StoreFault;

        fn node(&self, _: &NodePath) -> Result<Option<Bytes>, StoreFault> {
            Err(corrupt("the tree is none of the state"))
        }
    }

    impl StateReader for Store {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
            assert_eq!(table, Table::Tree);
            Ok(self.0.get(key).cloned())
        }
    }

    fn leaf(number: u64) -> Hash {
        Hash::from_bytes(sha256(&[&number.to_be_bytes()]))
    }

    /// Appends leaves in blocks of these sizes.
    fn grow(store: &mut Store, blocks: &[u64]) -> Vec<Frontier> {
        let (mut tree, mut whole, mut heads) = (Frontier::new(), Frontier::new(), vec![Frontier::new()]);
        for size in blocks {
            let mut appender = Appender::new(&*store, tree);
            for _ in 0..*size {
                let leaf = leaf(whole.size());
                assert_eq!(appender.append(leaf).unwrap(), whole.size());
                whole.append(leaf).unwrap();
            }
            let (frontier, rows) = appender.finish();
            let rows: Vec<_> = rows.collect();
            store.0.extend(rows.into_iter().map(|row| (row.key, row.value.unwrap())));
            tree = frontier;
            heads.push(whole.clone());
        }
        heads
    }

    proptest! {
        #[test]
        fn the_tree_of_every_block_is_read_back(blocks in prop::collection::vec(0u64..90, 1..12)) {
            let mut store = Store::default();
            let heads = grow(&mut store, &blocks);
            let tree = Tree::new(&store);
            for head in &heads {
                prop_assert_eq!(&frontier_at(&tree, head.size()).unwrap(), head);
                for index in (0..head.size()).step_by(7) {
                    let proof = prove_inclusion(&tree, index, head.size()).unwrap();
                    verify_inclusion(&leaf(index), &proof, &head.root()).unwrap();
                }
            }
            let size = heads.last().unwrap().size();
            prop_assert_eq!(tree.node(0, size).unwrap(), None);
            prop_assert!(frontier_at(&tree, size + 1).is_err());
        }
    }

    #[test]
    fn a_block_writes_each_of_its_tiles_once() {
        let mut store = Store::default();
        grow(&mut store, &[10, 300]);
        // 310 leaves: 20 tiles of them, 19 subtrees of 16 in two tiles, one of 256.
        assert_eq!(store.0.len(), 20 + 2 + 1);
        let bytes: usize = store.0.values().map(Bytes::len).sum();
        assert_eq!(bytes, (310 + 19 + 1) * HASH_LEN);
    }

    #[test]
    fn a_tile_that_does_not_fit_the_tree_stops_the_block() {
        let mut store = Store::default();
        let head = grow(&mut store, &[5]).pop().unwrap();
        let whole = store.0.clone();
        for cut in [4 * HASH_LEN, 5 * HASH_LEN - 1, 0] {
            store.0 = whole.clone();
            store.0.values_mut().for_each(|tile| tile.truncate(cut));
            assert!(Appender::new(&store, head.clone()).append(leaf(5)).is_err(), "{cut}");
        }
        store.0.clear();
        assert!(Appender::new(&store, head).append(leaf(5)).is_err());
    }
}
