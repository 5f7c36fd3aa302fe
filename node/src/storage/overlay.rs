//! Rows that are not in the database yet, in front of it: what was written since the rows before
//! went there in one batch. They are in memory only. Whoever vouches for the ledger makes it
//! durable first; whatever else a crash takes is executed again from the Raft log.
//!
//! A row keeps older values for as long as a snapshot may ask for them: each write is a moment, and
//! a reader sees the newest value that is not younger than its own.

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use consilium_ledger::row_key::{Asked, Keyed, RowKey, first_bytes};
use rocksdb::Direction;

use super::family::Family;

/// A count of writes.
pub(super) type Moment = u64;

/// What a row holds, or that it is dropped.
pub(super) type Value = Option<Bytes>;

/// A row that is written: its family, its key, and what it holds from then on.
pub(super) type NewRow = (Family, Vec<u8>, Value);

/// Bytes that a row takes in memory beside its key and value, about.
const ROW_BYTES: usize = 120;
/// Rows that a scan takes at once.
const TAKEN_AT_ONCE: usize = 256;

/// The values of a row, each with the moment from which it holds.
#[derive(Debug)]
struct Values {
    newest: (Moment, Value),
    /// In the order of time: most rows have none.
    older: Vec<(Moment, Value)>,
}

impl Values {
    fn at(&self, moment: Moment) -> Option<&Value> {
        let holds = |(from, _): &&(Moment, Value)| *from <= moment;
        let found = std::iter::once(&self.newest).chain(self.older.iter().rev()).find(holds);
        found.map(|(_, value)| value)
    }

    /// Takes a newer value; keeps the one before if somebody may have seen it. Says by how many
    /// bytes it is larger now.
    fn put(&mut self, moment: Moment, value: Value, seen: Moment) -> usize {
        let bytes = bytes(value.as_ref());
        let before = std::mem::replace(&mut self.newest, (moment, value));
        if before.0 <= seen {
            self.older.push(before);
            return bytes + ROW_BYTES;
        }
        bytes.saturating_sub(self::bytes(before.1.as_ref()))
    }
}

fn bytes(value: Option<&Bytes>) -> usize {
    value.map_or(0, Bytes::len)
}

type Key = Box<[u8]>;

/// The rows of a family.
#[derive(Debug)]
enum Rows {
    Hashed(HashMap<Vec<u8>, Values>),
    Ordered(BTreeMap<RowKey, Values>),
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Self::Hashed(rows) => rows.len(),
            Self::Ordered(rows) => rows.len(),
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Values> {
        match self {
            Self::Hashed(rows) => rows.get(key),
            Self::Ordered(rows) => rows.get(&Asked::new(key) as &dyn Keyed),
        }
    }

    /// Says by how many bytes the family is larger now.
    fn put(&mut self, key: Vec<u8>, moment: Moment, value: Value, seen: Moment) -> usize {
        let more = key.len() + bytes(value.as_ref()) + ROW_BYTES;
        let first = |value| Values { newest: (moment, value), older: Vec::new() };
        match self {
            Self::Hashed(rows) => match rows.entry(key) {
                hash_map::Entry::Occupied(mut row) => return row.get_mut().put(moment, value, seen),
                hash_map::Entry::Vacant(place) => drop(place.insert(first(value))),
            },
            Self::Ordered(rows) => match rows.entry(key.into()) {
                btree_map::Entry::Occupied(mut row) => return row.get_mut().put(moment, value, seen),
                btree_map::Entry::Vacant(place) => drop(place.insert(first(value))),
            },
        }
        more
    }

    /// Rows from a key on, in order, as of a moment: some of them, or all that there are.
    fn from(&self, start: &[u8], moment: Moment) -> Vec<(Key, Value)> {
        let visible = |key: &[u8], values: &Values| Some((Key::from(key), values.at(moment)?.clone()));
        match self {
            Self::Ordered(rows) => {
                let start = Asked::new(start);
                let behind = rows.range::<dyn Keyed, _>((Bound::Included(&start as &dyn Keyed), Bound::Unbounded));
                behind.filter_map(|(key, values)| visible(key.bytes(), values)).take(TAKEN_AT_ONCE).collect()
            }
            Self::Hashed(rows) => {
                let behind = rows.iter().filter(|(key, _)| key.as_slice() >= start);
                let mut taken: Vec<_> = behind.filter_map(|(key, values)| visible(key, values)).collect();
                taken.sort_unstable_by(|a, b| a.0.cmp(&b.0));
                taken
            }
        }
    }

    fn near(&self, key: &[u8], direction: Direction, moment: Moment) -> Option<(Key, Bytes)> {
        let Self::Ordered(rows) = self else { return None };
        let visible = |(key, values): (&RowKey, &Values)| Some((key.bytes().into(), values.at(moment)?.clone()?));
        let asked = Asked::new(key);
        let asked = Bound::Included(&asked as &dyn Keyed);
        match direction {
            Direction::Forward => rows.range::<dyn Keyed, _>((asked, Bound::Unbounded)).find_map(visible),
            Direction::Reverse => rows.range::<dyn Keyed, _>((Bound::Unbounded, asked)).rev().find_map(visible),
        }
    }
}

/// Rows that go to the database together.
#[derive(Debug)]
pub struct Layer {
    families: Vec<RwLock<Rows>>,
    bytes: AtomicUsize,
}

impl Default for Layer {
    fn default() -> Self {
        Self::with_capacity(|_| 0)
    }
}

impl Layer {
    /// An empty one, with room for so many rows of each family.
    fn with_capacity(rows: impl Fn(Family) -> usize) -> Self {
        let empty = |family: Family| match family.is_hashed() {
            true => Rows::Hashed(HashMap::with_capacity(rows(family))),
            false => Rows::Ordered(BTreeMap::new()),
        };
        Self { families: Family::all().map(|family| RwLock::new(empty(family))).collect(), bytes: AtomicUsize::new(0) }
    }

    fn rows(&self, family: Family) -> RwLockReadGuard<'_, Rows> {
        self.families[family.index()].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows_mut(&self, family: Family) -> RwLockWriteGuard<'_, Rows> {
        self.families[family.index()].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Gives every row of a family with its newest value, in the order of keys: to write them in that
    /// order is what spares the database the search for their places.
    pub fn each_newest(&self, family: Family, mut give: impl FnMut(&[u8], Option<&Bytes>)) {
        match &*self.rows(family) {
            Rows::Ordered(rows) => rows.iter().for_each(|(key, values)| give(key.bytes(), values.newest.1.as_ref())),
            Rows::Hashed(rows) => {
                let mut sorted: Vec<_> = rows.iter().map(|(key, values)| (first_bytes(key), key, values)).collect();
                sorted.sort_unstable_by_key(|(first, key, _)| (*first, *key));
                sorted.into_iter().for_each(|(_, key, values)| give(key, values.newest.1.as_ref()));
            }
        }
    }
}

/// What is in front of the database, as of a moment.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    newest: Arc<Layer>,
    /// On its way into the database, which may hold it already.
    sealed: Option<Arc<Layer>>,
    moment: Moment,
}

impl Recent {
    fn layers(&self) -> impl Iterator<Item = &Arc<Layer>> {
        std::iter::once(&self.newest).chain(&self.sealed)
    }

    /// The moment of its newest write.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Bytes of what has still to be sealed, about.
    #[must_use]
    pub fn unsealed_bytes(&self) -> usize {
        self.newest.bytes()
    }

    /// A row, if one of that key was written here: what the database says does not count then.
    #[must_use]
    pub fn get(&self, family: Family, key: &[u8]) -> Option<Value> {
        self.layers().find_map(|layer| layer.rows(family).get(key).and_then(|values| values.at(self.moment)).cloned())
    }

    /// The row nearest to a key, of a family that is kept in order and of which no row is ever
    /// dropped.
    #[must_use]
    pub fn near(&self, family: Family, key: &[u8], direction: Direction) -> Option<(Key, Bytes)> {
        let found = self.layers().filter_map(|layer| layer.rows(family).near(key, direction, self.moment));
        // Of two values of one row the first is the newer.
        found.reduce(|best, other| if is_nearer(&other.0, &best.0, direction) { other } else { best })
    }

    /// Rows from a key on whose keys start with `prefix`, each layer on its own, the newest first.
    pub fn scans(&self, family: Family, start: &[u8], prefix: &[u8]) -> Vec<LayerScan> {
        let scan = |layer: &Arc<Layer>| LayerScan {
            layer: Arc::clone(layer),
            family,
            moment: self.moment,
            prefix: prefix.into(),
            next: Some(start.max(prefix).to_vec()),
            taken: Vec::new().into_iter(),
        };
        self.layers().map(scan).collect()
    }

    /// Takes rows, at a moment of their own. `seen` is the newest moment at which anybody has begun to read.
    pub fn write(&mut self, rows: impl IntoIterator<Item = NewRow>, seen: Moment) {
        self.moment += 1;
        let layer = &self.newest;
        for (family, key, value) in rows {
            let more = layer.rows_mut(family).put(key, self.moment, value, seen);
            layer.bytes.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Begins a new layer, and gives the one before; `None` if nothing was written to it. As many rows
    /// as that one had are expected in the next.
    pub fn seal(&mut self) -> Option<Arc<Layer>> {
        if self.newest.bytes() == 0 {
            return None;
        }
        let next = Layer::with_capacity(|family| self.newest.rows(family).len());
        let sealed = std::mem::replace(&mut self.newest, Arc::new(next));
        self.sealed = Some(Arc::clone(&sealed));
        Some(sealed)
    }

    /// The database holds the sealed layer now.
    pub fn forget_sealed(&mut self) {
        self.sealed = None;
    }
}

/// Whether a key is nearer than another to where a search goes out from.
pub(super) fn is_nearer(key: &[u8], than: &[u8], direction: Direction) -> bool {
    match direction {
        Direction::Forward => key < than,
        Direction::Reverse => key > than,
    }
}

/// Rows of one layer, in the order of keys.
pub struct LayerScan {
    layer: Arc<Layer>,
    family: Family,
    moment: Moment,
    prefix: Key,
    next: Option<Vec<u8>>,
    taken: std::vec::IntoIter<(Key, Value)>,
}

impl Iterator for LayerScan {
    type Item = (Key, Value);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.taken.next() {
            return Some(row);
        }
        let start = self.next.take()?;
        let mut taken = self.layer.rows(self.family).from(&start, self.moment);
        if taken.len() == TAKEN_AT_ONCE {
            // The first key behind the last.
            self.next = taken.last().map(|(key, _)| [key, [0].as_slice()].concat());
        }
        if let Some(end) = taken.iter().position(|(key, _)| !key.starts_with(&self.prefix)) {
            taken.truncate(end);
            self.next = None;
        }
        self.taken = taken.into_iter();
        self.taken.next()
    }
}
