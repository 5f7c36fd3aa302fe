use super::*;

#[test]
fn percentiles_of_a_known_distribution() {
    let (mut one, mut other) = (Tally::default(), Tally::default());
    for ms in 1..=100 {
        let tally = if ms % 2 == 0 { &mut one } else { &mut other };
        tally.success(Duration::from_millis(ms));
    }
    one.error("RESOURCE_EXHAUSTED");
    other.error("RESOURCE_EXHAUSTED");
    one.merge(&other);
    let used = |ms, n| Used { cpu: Duration::from_millis(ms), switches: n, written_bytes: Some(1_000 * n) };
    let servers = BTreeMap::from([(7, used(10, 50)), (8, used(20, 150))]);
    let row = one.row(2, 1, Duration::from_secs(4), &servers, used(1, 9));
    assert_eq!((row.transactions, row.per_second), (100, 25.0));
    // Three significant digits: the histogram's bucket ends just above.
    for (found, expected) in [(row.p50_ms, 50.0), (row.p90_ms, 90.0), (row.p99_ms, 99.0)] {
        assert!((expected..expected * 1.001).contains(&found), "{found} for {expected}");
    }
    assert_eq!(row.errors, BTreeMap::from([("RESOURCE_EXHAUSTED".to_owned(), 2)]));
    assert_eq!(row.server_cpu_us, BTreeMap::from([(7, 100.0), (8, 200.0)]));
    assert_eq!((row.server_switches, row.server_written_bytes), (2.0, Some(2_000.0)));
    // What is not said of one is said of none.
    let hidden = BTreeMap::from([(7, used(10, 50)), (8, Used { written_bytes: None, ..used(20, 150) })]);
    assert_eq!(one.row(2, 1, Duration::from_secs(4), &hidden, used(1, 9)).server_written_bytes, None);
    assert_eq!(row.own_cpu_us, 10.0);
}

#[test]
fn nothing_done_is_not_a_division_by_zero() {
    let row = Tally::default().row(1, 1, Duration::from_secs(1), &BTreeMap::new(), Used::default());
    assert_eq!((row.per_second, row.p99_ms, row.own_cpu_us), (0.0, 0.0, 0.0));
    assert!(table(&[row]).lines().nth(1).is_some_and(|line| line.contains("none")));
}

#[test]
fn absurd_latencies_are_counted_at_the_limit() {
    let mut tally = Tally::default();
    tally.success(Duration::MAX);
    assert_eq!(tally.transactions(), 1);
}
