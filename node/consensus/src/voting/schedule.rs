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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::voting::tests::keys;
    use consilium_proto::ids::VotingPower;
    use consilium_proto::validators::{Quorum, Validator};

    fn set(id: u64) -> ValidatorSet {
        let key = keys()[0].verifying_key();
        let seats = vec![Validator { id: NodeId(id), power: VotingPower(1), key }];
        ValidatorSet::new(seats, Quorum::new(2, 3).unwrap()).unwrap()
    }

    fn seat_at(schedule: &ValidatorSchedule, height: u64) -> Option<u64> {
        schedule.set_at(Height(height)).map(|set| set.seats()[0].id.0)
    }

    #[test]
    fn a_set_certifies_up_to_and_including_its_boundary() {
        let mut schedule = ValidatorSchedule::new(Height(1), set(1));
        schedule.end_epoch(Height(10), set(2));
        schedule.end_epoch(Height(11), set(3));
        let at = [0, 1, 10, 11, 12, 99].map(|height| seat_at(&schedule, height));
        assert_eq!(at, [None, Some(1), Some(1), Some(2), Some(3), Some(3)]);
        assert_eq!(schedule.hash_at(Height(11)), Some(set(2).hash()));
    }

    #[test]
    fn boundaries_are_found_above_a_height_only() {
        let mut schedule = ValidatorSchedule::new(Height(1), set(1));
        assert_eq!(schedule.boundary_above(Height(0)), None);
        schedule.end_epoch(Height(10), set(1));
        schedule.end_epoch(Height(11), set(1));
        let above = [0, 9, 10, 11].map(|height| schedule.boundary_above(Height(height)).map(|b| b.0));
        assert_eq!(above, [Some(10), Some(10), Some(11), None]);
    }

    #[test]
    fn pruning_keeps_the_set_of_the_floor() {
        let mut schedule = ValidatorSchedule::new(Height(1), set(1));
        schedule.end_epoch(Height(10), set(2));
        schedule.end_epoch(Height(20), set(3));
        schedule.prune(Height(20));
        let at = [10, 11, 20, 21].map(|height| seat_at(&schedule, height));
        assert_eq!(at, [None, Some(2), Some(2), Some(3)]);
        assert!(schedule.key(NodeId(1)).is_none());
        assert!(schedule.key(NodeId(2)).is_some());
        schedule.prune(Height(5));
        assert_eq!(seat_at(&schedule, 11), Some(2));
    }
}
