use consilium_kit::chain::validators;

use super::*;

const TOLERANCE_MS: u64 = 5_000;
const WALL: u64 = 1_800_000_000_000;

fn at(ms: u64) -> Clock {
    Clock { wall: TimeMs(WALL + ms), monotonic_ms: 77_000 + ms }
}

/// Looks, as the first of so many equals, after the others said how far they are ahead.
fn skew(count: u64, others: &[(u64, i64)]) -> Option<i64> {
    let mut clocks = Clocks::default();
    let set = validators(&(1..=count).collect::<Vec<_>>());
    for (peer, ahead) in others {
        let wall = TimeMs(WALL.saturating_add_signed(*ahead));
        clocks.hear(NodeId(*peer), wall, at(0));
    }
    clocks.look(NodeId(1), &set, TOLERANCE_MS, at(0));
    clocks.skew().map(|skew| skew.ahead_ms)
}

#[test]
fn a_clock_is_apart_when_most_of_those_who_are_heard_say_so() {
    assert_eq!(skew(4, &[(2, -60_000), (3, -61_000), (4, -62_000)]), Some(61_000));
    assert_eq!(skew(4, &[(2, 60_000), (3, 61_000), (4, 62_000)]), Some(-61_000));
    assert_eq!(skew(4, &[(2, -60_000), (3, -61_000), (4, 0)]), None, "one may lie, and one be wrong");
    assert_eq!(skew(4, &[(2, -60_000), (3, 60_000), (4, 60_000)]), None, "they do not agree");
    assert_eq!(skew(5, &[(2, -60_000), (3, -61_000), (4, -62_000)]), Some(61_000));
    assert_eq!(skew(4, &[(2, -60_000), (3, -61_000)]), Some(61_000), "one is away");
    assert_eq!(skew(4, &[(2, -60_000)]), None, "alone");
    assert_eq!(skew(7, &[(2, -60_000), (3, -61_000)]), None, "two of seven may lie");
    assert_eq!(skew(4, &[(2, -5_000), (3, 5_000), (4, 0)]), None, "tolerated");
    assert_eq!(skew(3, &[(2, -60_000), (3, 0)]), None);
    assert_eq!(skew(3, &[(2, -60_000), (3, -60_000)]), Some(60_000));
    assert_eq!(skew(2, &[(2, -60_000)]), None, "nobody knows who is right");
    assert_eq!(skew(1, &[]), None);
}

#[test]
fn nodes_without_a_seat_are_not_asked() {
    let many: Vec<(u64, i64)> = (5..40).map(|id| (id, -60_000)).collect();
    assert_eq!(skew(4, &many), None);
}

#[test]
fn years_and_the_ends_of_time_are_no_trouble() {
    assert_eq!(skew(3, &[(2, i64::MAX), (3, i64::MAX)]), Some(-i64::MAX));
    assert_eq!(skew(3, &[(2, i64::MIN), (3, i64::MIN)]), Some(WALL as i64));
    let mut clocks = Clocks::default();
    [2, 3].into_iter().for_each(|peer| clocks.hear(NodeId(peer), TimeMs(0), at(0)));
    let now = Clock { wall: TimeMs(u64::MAX), monotonic_ms: at(0).monotonic_ms };
    clocks.look(NodeId(1), &validators(&[1, 2, 3]), TOLERANCE_MS, now);
    assert_eq!(clocks.skew(), Some(Skew { ahead_ms: i64::MAX }));
}

#[test]
fn the_right_time_is_that_of_the_others() {
    for (wall, right) in [(WALL + 3_600_000, WALL), (WALL - 3_600_000, WALL), (WALL + 1_000, WALL + 1_000), (0, WALL)] {
        let (mut clocks, set) = (Clocks::default(), validators(&[1, 2, 3, 4, 5]));
        // The last one lies.
        [2, 3, 4].into_iter().for_each(|peer| clocks.hear(NodeId(peer), TimeMs(WALL), at(0)));
        let lie = if wall < WALL { u64::MAX } else { 0 };
        clocks.hear(NodeId(5), TimeMs(lie), at(0));
        let now = Clock { wall: TimeMs(wall), ..at(0) };
        clocks.look(NodeId(1), &set, TOLERANCE_MS, now);
        assert_eq!(clocks.right(now), Clock { wall: TimeMs(right), ..now }, "{wall}");
    }
}

#[test]
fn delays_do_not_count() {
    let (mut clocks, set) = (Clocks::default(), validators(&[1, 2, 3]));
    [2, 3].into_iter().for_each(|peer| clocks.hear(NodeId(peer), TimeMs(WALL), at(0)));
    [2, 3].into_iter().for_each(|peer| clocks.hear(NodeId(peer), TimeMs(WALL - 5_000), at(4_000)));
    clocks.look(NodeId(1), &set, TOLERANCE_MS, at(4_000));
    assert_eq!(clocks.skew(), None, "the second one was under way for nine seconds");
}

#[test]
fn what_was_said_long_ago_does_not_count_and_the_own_clock_may_be_set_at_any_time() {
    let (mut clocks, set) = (Clocks::default(), validators(&[1, 2, 3]));
    [2, 3].into_iter().for_each(|peer| clocks.hear(NodeId(peer), TimeMs(WALL), at(0)));
    let set_ahead = Clock { wall: TimeMs(WALL + 70_000), ..at(0) };
    clocks.look(NodeId(1), &set, TOLERANCE_MS, set_ahead);
    assert_eq!(clocks.skew(), Some(Skew { ahead_ms: 70_000 }));
    clocks.look(NodeId(1), &set, TOLERANCE_MS, at(0));
    assert_eq!(clocks.skew(), None, "it was set back");
    let later = Clock { wall: TimeMs(WALL + 70_000), monotonic_ms: at(0).monotonic_ms + 3 * WINDOW_MS };
    clocks.look(NodeId(1), &set, TOLERANCE_MS, later);
    assert_eq!(clocks.skew(), None, "nobody was heard of lately");
}

#[test]
fn a_skew_is_told_in_words() {
    let told = |ahead_ms| Skew { ahead_ms }.to_string();
    assert_eq!(told(7_200_050), "7200.050 s ahead of those of the other validators");
    assert_eq!(told(-61_000), "61.000 s behind those of the other validators");
}
