//! Room that is kept for requests on their way, by who sends them, whom the connection proves:
//! signatures are not looked at yet. Each has a little of it, and each member's people some in
//! all, so that nobody fills it; who has no room there stands with all the others, or is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use consilium_proto::ids::NodeId;
use consilium_proto::names::{MemberId, SpiffeId};

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// For each.
    pub(crate) each: usize,
    /// For all of a group.
    pub(crate) group: usize,
    /// For all.
    pub(crate) all: usize,
}

/// Whoever takes room.
pub(crate) trait Taker: Ord + Clone {
    /// Those who have room together.
    type Group: Ord + Clone + std::fmt::Debug;

    /// That of this one.
    fn group(&self) -> Self::Group;
}

impl Taker for SpiffeId {
    type Group = MemberId;

    fn group(&self) -> MemberId {
        self.member().clone()
    }
}

impl Taker for NodeId {
    type Group = Self;

    fn group(&self) -> Self {
        *self
    }
}

#[derive(Debug)]
struct Taken<K: Taker> {
    of_each: BTreeMap<K, usize>,
    of_groups: BTreeMap<K::Group, usize>,
    all: usize,
}

/// See the module. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Reserve<K: Taker> {
    room: Room,
    taken: Arc<Mutex<Taken<K>>>,
}

impl<K: Taker> Clone for Reserve<K> {
    fn clone(&self) -> Self {
        Self { room: self.room, taken: Arc::clone(&self.taken) }
    }
}

/// A place, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place<K: Taker> {
    of: K,
    taken: Arc<Mutex<Taken<K>>>,
}

impl<K: Taker> Reserve<K> {
    pub(crate) fn new(room: Room) -> Self {
        let taken = Taken { of_each: BTreeMap::new(), of_groups: BTreeMap::new(), all: 0 };
        Self { room, taken: Arc::new(Mutex::new(taken)) }
    }

    /// A place, if there is one for this one.
    pub(crate) fn take(&self, of: &K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let group = of.group();
        let own = taken.of_each.get(of).copied().unwrap_or_default();
        let together = taken.of_groups.get(&group).copied().unwrap_or_default();
        if own >= self.room.each || together >= self.room.group || taken.all >= self.room.all {
            return None;
        }
        taken.of_each.insert(of.clone(), own + 1);
        taken.of_groups.insert(group, together + 1);
        taken.all += 1;
        drop(taken);
        Some(Place { of: of.clone(), taken: Arc::clone(&self.taken) })
    }
}

impl<K: Taker> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        give_back(&mut taken.of_each, &self.of);
        give_back(&mut taken.of_groups, &self.of.group());
    }
}

fn give_back<K: Ord>(taken: &mut BTreeMap<K, usize>, of: &K) {
    let Some(own) = taken.get_mut(of) else { return };
    *own -= 1;
    if *own == 0 {
        taken.remove(of);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn many_identities_of_one_member_take_its_room_and_no_other() {
        let reserve = Reserve::new(Room { each: 2, group: 3, all: 5 });
        let take = |name: &str| reserve.take(&format!("spiffe://{name}").parse::<SpiffeId>().unwrap());
        let [a, b, c] = ["a.example/clinician/a", "a.example/clinician/b", "a.example/service/c"];
        let first = take(a).unwrap();
        let _places = [take(a), take(b)].map(Option::unwrap);
        assert!(take(a).is_none() && take(b).is_none() && take(c).is_none());
        let _others = [take("b.example/clinician/a"), take("c.example/clinician/a")].map(Option::unwrap);
        assert!(take("d.example/clinician/a").is_none(), "all of it is taken");
        drop(first);
        assert!(take(a).is_some());
    }
}
