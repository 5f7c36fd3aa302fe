use super::*;

#[test]
fn spans_are_told_in_units_that_people_use() {
    let told = [0, 40_999, 60_000, 200_000, 7_500_000, 86_400_000, 176_400_000].map(span);
    assert_eq!(told, ["0 s", "40 s", "1 min", "3 min 20 s", "2 h 5 min", "1 day", "2 days 1 h"]);
}

#[test]
fn clocks_are_told_as_dates() {
    let (here, there) = (TimeMs(1_795_939_200_000), Some(TimeMs(1_796_112_000_000)));
    let error = ClientError::OwnClock { here, there }.to_string();
    let told = "this machine's clock shows 2026-11-29T08:00:00Z, the nodes' 2026-12-01T08:00:00Z";
    assert!(error.starts_with(told), "{error}");
    let stale = ClientError::StaleHead { age_ms: 172_800_000, bound_ms: 300_000 }.to_string();
    assert!(stale.contains("2 days old") && stale.contains("at most 5 min"), "{stale}");
}
