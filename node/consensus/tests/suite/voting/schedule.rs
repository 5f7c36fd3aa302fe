//! Which validators certify which heights.

use consilium_consensus::voting::ValidatorSchedule;

use super::*;

fn only(id: u64) -> ValidatorSet {
    equal(&[id])
}

fn seat_at(schedule: &ValidatorSchedule, height: u64) -> Option<u64> {
    schedule.set_at(Height(height)).map(|set| set.seats()[0].id.0)
}

#[test]
fn a_set_certifies_up_to_and_including_its_boundary() {
    let mut schedule = ValidatorSchedule::new(Height(1), only(1));
    schedule.end_epoch(Height(10), only(2));
    schedule.end_epoch(Height(11), only(3));
    let at = [0, 1, 10, 11, 12, 99].map(|height| seat_at(&schedule, height));
    assert_eq!(at, [None, Some(1), Some(1), Some(2), Some(3), Some(3)]);
    assert_eq!(schedule.hash_at(Height(11)), Some(only(2).hash()));
}

#[test]
fn boundaries_are_found_above_a_height_only() {
    let mut schedule = ValidatorSchedule::new(Height(1), only(1));
    assert_eq!(schedule.boundary_above(Height(0)), None);
    schedule.end_epoch(Height(10), only(1));
    schedule.end_epoch(Height(11), only(1));
    let above = [0, 9, 10, 11].map(|height| schedule.boundary_above(Height(height)).map(|b| b.0));
    assert_eq!(above, [Some(10), Some(10), Some(11), None]);
}

#[test]
fn pruning_keeps_the_set_of_the_floor() {
    let mut schedule = ValidatorSchedule::new(Height(1), only(1));
    schedule.end_epoch(Height(10), only(2));
    schedule.end_epoch(Height(20), only(3));
    schedule.prune(Height(20));
    let at = [10, 11, 20, 21].map(|height| seat_at(&schedule, height));
    assert_eq!(at, [None, Some(2), Some(2), Some(3)]);
    assert!(schedule.key(NodeId(1)).is_none());
    assert!(schedule.key(NodeId(2)).is_some());
    schedule.prune(Height(5));
    assert_eq!(seat_at(&schedule, 11), Some(2));
}
