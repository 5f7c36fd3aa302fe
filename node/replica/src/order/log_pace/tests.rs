use super::*;

fn ids(ids: &[u64]) -> BTreeSet<RaftId> {
    ids.iter().filter_map(|id| RaftId::new(*id)).collect()
}

/// Writes, one after the other: how long each took, and when who of the others held it.
fn paced(writes: &[(u64, u64, &[u64])]) -> (LogPace, u64) {
    let (mut pace, mut now_ms) = (LogPace::default(), 0);
    for (number, (took_ms, others_ms, others)) in writes.iter().enumerate() {
        let seq = PersistSeq::new(number as u64 + 1);
        pace.issued(seq, LogIndex(number as u64 + 1), now_ms);
        let held = |_| (!others.is_empty()).then(|| ids(others));
        pace.look(now_ms + others_ms, held);
        now_ms += took_ms;
        pace.written(seq, now_ms);
    }
    (pace, now_ms)
}

fn target(pace: &LogPace, now_ms: u64) -> Option<u64> {
    pace.hand_over_to(&ids(&[2, 3, 4]), now_ms).map(RaftId::get)
}

#[test]
fn a_log_is_slow_if_most_of_its_newest_writes_were() {
    let (mut pace, now_ms) = paced(&[(200, 10, &[2, 3, 4][..]); 5]);
    assert_eq!(pace.slow(now_ms), Some(SlowLog { slow: 5, writes: 5, longest_ms: 200 }));
    assert_eq!(pace.slow(now_ms + WINDOW_MS + 1), None, "nothing was written since");
    let mixed = [(200, 10, &[2][..]), (90, 10, &[2]), (90, 10, &[2])].repeat(2);
    let (mut pace, now_ms) = paced(&mixed);
    assert_eq!((pace.slow(now_ms), target(&pace, now_ms)), (None, None));
    let (mut pace, now_ms) = paced(&[(200, 10, &[2][..]); WRITES_MIN - 1]);
    assert_eq!((pace.slow(now_ms), target(&pace, now_ms)), (None, None), "too few");
}

#[test]
fn a_write_that_does_not_come_back_is_slow() {
    let mut pace = LogPace::default();
    pace.issued(PersistSeq::new(1), LogIndex(1), 0);
    assert_eq!(pace.slow(WINDOW_MS), None);
    assert_eq!(pace.slow(WINDOW_MS + 1), Some(SlowLog { slow: 0, writes: 0, longest_ms: WINDOW_MS + 1 }));
}

#[test]
fn leadership_goes_to_who_is_most_often_faster() {
    let others = [(200, 10, &[2, 3, 4][..]), (200, 10, &[2, 4]), (200, 10, &[3, 4]), (200, 10, &[2, 4])].repeat(2);
    let (pace, now_ms) = paced(&others);
    assert_eq!(target(&pace, now_ms), Some(4));
    assert_eq!(pace.hand_over_to(&ids(&[3]), now_ms), RaftId::new(3));
    assert_eq!(pace.hand_over_to(&ids(&[]), now_ms), None);
    let (pace, now_ms) = paced(&[(200, 10, &[2, 3, 4][..]); 5]);
    assert_eq!(target(&pace, now_ms), Some(2), "the lowest of equals");
}

#[test]
fn nobody_is_sought_where_the_others_are_as_slow_or_need_this_node() {
    for others in [(200, 101, &[2, 3, 4][..]), (200, 10, &[])] {
        let (mut pace, now_ms) = paced(&[others; 9]);
        assert_eq!(target(&pace, now_ms), None, "{others:?}");
        assert!(pace.slow(now_ms).is_some(), "it is slow all the same");
    }
}

#[test]
fn two_slow_ones_do_not_send_leadership_to_and_fro() {
    let (mut pace, now_ms) = paced(&[(200, 10, &[2, 3, 4][..]); 9]);
    pace.handed_over(now_ms);
    assert_eq!(target(&pace, now_ms + HAND_OVER_PAUSE_MS - 1), None);
    assert_eq!(target(&pace, now_ms + HAND_OVER_PAUSE_MS), Some(2));
}

#[test]
fn a_report_covers_all_writes_before_it() {
    let mut pace = LogPace::default();
    (1..=6).for_each(|n| pace.issued(PersistSeq::new(n), LogIndex(n), 0));
    pace.look(10, |index| (index <= LogIndex(3)).then(|| ids(&[2, 3, 4])));
    pace.written(PersistSeq::new(6), 300);
    assert_eq!(pace.slow(300), Some(SlowLog { slow: 6, writes: 6, longest_ms: 300 }));
    assert_eq!(target(&pace, 300), None, "of half of them the others were no faster");
}
