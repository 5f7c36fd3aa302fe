#![allow(clippy::unwrap_used)]

use super::*;

const BASE_MS: u64 = 5_000;

fn id(id: u64) -> RaftId {
    RaftId::new(id).unwrap()
}

fn shunned(distrusts: &Distrusts, now_ms: u64) -> Vec<u64> {
    distrusts.shunned(now_ms).into_iter().map(RaftId::get).collect()
}

#[test]
fn each_distrust_lasts_twice_as_long_up_to_a_minute() {
    let (mut distrusts, mut now_ms) = (Distrusts::new(BASE_MS), 0);
    for seconds in [5, 10, 20, 40, 60, 60, 60] {
        let until_ms = distrusts.note(id(1), now_ms);
        assert_eq!(until_ms, now_ms + seconds * 1_000);
        assert_eq!(distrusts.note(id(1), until_ms - BASE_MS), until_ms, "it is the same distrust");
        assert_eq!(shunned(&distrusts, until_ms - 1), [1]);
        assert!(shunned(&distrusts, until_ms).is_empty());
        now_ms = until_ms;
    }
    assert_eq!(distrusts.note(id(2), now_ms), now_ms + BASE_MS, "each has its own");
    (0..100).for_each(|_| now_ms = distrusts.note(id(1), now_ms));
}

#[test]
fn a_distrust_does_not_end_as_soon_as_it_is_found_again() {
    let mut distrusts = Distrusts::new(BASE_MS);
    let until_ms = distrusts.note(id(1), 0);
    assert_eq!(distrusts.note(id(1), until_ms - 1), until_ms - 1 + BASE_MS);
    assert_eq!(distrusts.note(id(1), until_ms - 1 + BASE_MS), until_ms - 1 + 3 * BASE_MS, "the second");
}

#[test]
fn distrusts_are_forgotten_one_after_the_other() {
    let mut distrusts = Distrusts::new(BASE_MS);
    let second_ms = distrusts.note(id(1), 0);
    assert_eq!(distrusts.note(id(1), second_ms), second_ms + 2 * BASE_MS);
    let later_ms = second_ms + FORGET_MS;
    assert_eq!(distrusts.note(id(1), later_ms), later_ms + 2 * BASE_MS, "one of two");
    let later_ms = later_ms + 2 * FORGET_MS;
    distrusts.look(Some(id(2)), Height(1), later_ms);
    assert!(distrusts.records.is_empty());
}

#[test]
fn blocks_under_a_leader_for_some_time_make_it_good_again() {
    let mut distrusts = Distrusts::new(BASE_MS);
    distrusts.note(id(1), 0);
    let from_ms = BASE_MS;
    distrusts.look(Some(id(1)), Height(1), from_ms);
    distrusts.look(Some(id(1)), Height(9), from_ms + GOOD_MS - 1);
    assert_eq!(distrusts.records.len(), 1);
    distrusts.look(Some(id(1)), Height(1), from_ms + GOOD_MS);
    assert_eq!(distrusts.records.len(), 1, "nothing was certified");
    distrusts.look(Some(id(1)), Height(9), from_ms + GOOD_MS);
    assert_eq!(distrusts.records.len(), 0);
}

#[test]
fn a_distrust_ends_a_good_time() {
    let mut distrusts = Distrusts::new(BASE_MS);
    distrusts.look(Some(id(1)), Height(1), 0);
    let until_ms = distrusts.note(id(1), GOOD_MS);
    distrusts.look(Some(id(1)), Height(9), until_ms);
    assert_eq!(distrusts.records.len(), 1);
}

#[test]
fn where_nobody_leads_for_long_everybody_may() {
    let mut distrusts = Distrusts::new(BASE_MS);
    (0..3).fold(0, |now_ms, _| distrusts.note(id(1), now_ms));
    let (now_ms, long_ms) = (16_000, 16_000 + 2 * BASE_MS);
    assert_eq!(shunned(&distrusts, now_ms), [1]);
    distrusts.look(None, Height(1), now_ms);
    assert_eq!(shunned(&distrusts, long_ms - 1), [1]);
    distrusts.look(None, Height(1), long_ms);
    assert!(shunned(&distrusts, long_ms).is_empty());
    distrusts.look(Some(id(2)), Height(1), long_ms);
    assert_eq!(shunned(&distrusts, long_ms), [1]);
}
