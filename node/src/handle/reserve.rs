//! Room that is kept for urgent requests on their way to the replica. It is taken by who
//! sends, whom the connection proves: signatures are not looked at yet. Each has a little of
//! it, so that nobody fills it, and stands with all the others beyond that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// For each.
    pub(crate) each: usize,
    /// For all.
    pub(crate) all: usize,
}

#[derive(Debug)]
struct Taken<K> {
    of_each: BTreeMap<K, usize>,
    all: usize,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reserve<K: Ord> {
    room: Room,
    taken: Arc<Mutex<Taken<K>>>,
}

/// A place, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place<K: Ord> {
    of: K,
    taken: Arc<Mutex<Taken<K>>>,
}

impl<K: Ord + Clone> Reserve<K> {
    pub(crate) fn new(room: Room) -> Self {
        Self { room, taken: Arc::new(Mutex::new(Taken { of_each: BTreeMap::new(), all: 0 })) }
    }

    /// A place, if there is one for this one.
    pub(crate) fn take(&self, of: &K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.of_each.get(of).copied().unwrap_or_default();
        if own >= self.room.each || taken.all >= self.room.all {
            return None;
        }
        taken.of_each.insert(of.clone(), own + 1);
        taken.all += 1;
        drop(taken);
        Some(Place { of: of.clone(), taken: Arc::clone(&self.taken) })
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(own) = taken.of_each.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                taken.of_each.remove(&self.of);
            }
        }
    }
}
