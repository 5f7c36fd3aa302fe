//! Which validators certify which heights. It owns the order of the epochs as
//! this node executed them, and nothing of which of them are certified.

use std::collections::BTreeMap;

use consilium_proto::hash::Hash;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::validators::ValidatorSet;

/// Validator sets by the first height that they certify. A set certifies up to
/// and including the boundary, the last height of its epoch; the next set
/// starts above it.
#[derive(Clone, Debug)]
pub struct ValidatorSchedule {
    /// Never empty.
    sets: BTreeMap<Height, Scheduled>,
}

#[derive(Clone, Debug)]
struct Scheduled {
    set: ValidatorSet,
    hash: Hash,
}

impl Scheduled {
    fn new(set: ValidatorSet) -> Self {
        Self { hash: set.hash(), set }
    }
}

impl ValidatorSchedule {
    /// One set, from a height on.
    #[must_use]
    pub fn new(first: Height, set: ValidatorSet) -> Self {
        Self { sets: BTreeMap::from([(first, Scheduled::new(set))]) }
    }

    /// An epoch ends with `boundary`: `next` certifies the heights above, also
    /// if it is the same set again.
    pub fn end_epoch(&mut self, boundary: Height, next: ValidatorSet) {
        self.sets.insert(boundary.next(), Scheduled::new(next));
    }

    fn at(&self, height: Height) -> Option<&Scheduled> {
        self.sets.range(..=height).next_back().map(|(_, scheduled)| scheduled)
    }

    /// The set that certifies a height; `None` below what is kept. Right only
    /// up to the tip: where this node has executed no boundary yet, the last
    /// set is the answer.
    #[must_use]
    pub fn set_at(&self, height: Height) -> Option<&ValidatorSet> {
        self.at(height).map(|scheduled| &scheduled.set)
    }

    /// Hash of the set that certifies a height.
    #[must_use]
    pub fn hash_at(&self, height: Height) -> Option<Hash> {
        self.at(height).map(|scheduled| scheduled.hash)
    }

    /// The lowest known boundary above a height.
    #[must_use]
    pub fn boundary_above(&self, height: Height) -> Option<Height> {
        // The set of the boundary above `height` starts above `height + 1`.
        let (first, _) = self.sets.range(height.next().next()..).next()?;
        Some(Height(first.0 - 1))
    }

    /// The vote key of a seat in any of the sets, the newest first.
    #[must_use]
    pub fn key(&self, id: NodeId) -> Option<&VerifyingKey> {
        self.sets.values().rev().find_map(|scheduled| scheduled.set.seat(id)).map(|seat| &seat.key)
    }

    /// Forgets the sets that certify only heights below `floor`.
    pub fn prune(&mut self, floor: Height) {
        let first = self.sets.range(..=floor).next_back().map(|(first, _)| *first);
        if let Some(first) = first {
            self.sets = self.sets.split_off(&first);
        }
    }
}
