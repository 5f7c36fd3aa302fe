#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

const DAY: u64 = 24 * 3_600_000;
const HOUR: u64 = 3_600_000;
/// 2012-02-03T00:00:00Z.
const FEB_3: u64 = 15_373 * DAY;

fn read(value: &serde_json::Value) -> Result<Periods, ConsentProblem> {
    periods(&Node::root(value))
}

fn from_to(period: Period) -> (u64, u64) {
    (period.from.0, period.to.0)
}

#[test]
fn a_day_is_read_over_all_zones_and_an_end_includes_it() {
    let read = read(&json!({ "start": "2012-02-03", "end": "2012-02-05" })).unwrap();
    assert_eq!(from_to(read.wide), (FEB_3 - 14 * HOUR, FEB_3 + 3 * DAY + 12 * HOUR));
    assert_eq!(from_to(read.narrow.unwrap()), (FEB_3 + 12 * HOUR, FEB_3 + 3 * DAY - 14 * HOUR));
    assert!(read.vague());
}

#[test]
fn years_and_months_are_whole() {
    let year = read(&json!({ "start": "2012", "end": "2012" })).unwrap();
    let month = read(&json!({ "start": "2012-01", "end": "2012-12" })).unwrap();
    assert_eq!(year, month);
    let january = 15_340 * DAY;
    assert_eq!(from_to(year.narrow.unwrap()), (january + 12 * HOUR, january + 366 * DAY - 14 * HOUR));
    assert!(read(&json!({ "start": "9999", "end": "9999" })).unwrap().narrow.is_some());
}

#[test]
fn a_time_with_a_zone_is_exact() {
    let read = read(&json!({ "start": "2012-02-03T02:00:00+02:00", "end": "2012-02-03T00:00:01.250Z" })).unwrap();
    assert_eq!((from_to(read.wide), read.vague()), ((FEB_3, FEB_3 + 1_251), false));
    let ends = [
        ("2012-02-03T00:00:00Z", 1_000),
        ("2012-02-03T00:00:00.5Z", 600),
        ("2012-02-03T00:00:00.50Z", 510),
        ("2012-02-03T00:00:00.5004-00:00", 501),
        ("2012-02-02T23:59:60Z", 1_000),
        ("2012-02-02T10:00:00-14:00", 1_000),
    ];
    for (end, after) in ends {
        let read = super::periods(&Node::root(&json!({ "end": end }))).unwrap();
        assert_eq!(from_to(read.wide), (0, FEB_3 + after), "{end}");
    }
}

#[test]
fn open_ends_stay_open_and_what_ended_before_1970_is_over() {
    assert_eq!(from_to(read(&json!({ "start": "1964-01-01" })).unwrap().wide), (0, 0));
    assert_eq!(from_to(read(&json!({ "start": "1950", "end": "1960" })).unwrap().wide), (0, 1));
    assert!(!Periods::ALWAYS.vague());
}

#[test]
fn one_day_without_a_zone_is_in_no_permit() {
    let day = json!({ "start": "2012-02-03", "end": "2012-02-03" });
    assert_eq!(read(&day).unwrap().narrow, None);
    assert_eq!(of_permit(&Node::root(&day)).unwrap_err().problem, Problem::Unrepresentable(Gap::EmptyPeriod));
}

#[test]
fn what_is_no_time_of_fhir_is_refused() {
    let wrong = [
        "",
        "12",
        "20120203",
        "2012-2-3",
        "2012-13",
        "2012-00",
        "2012-02-30",
        "0000",
        "2012-02-03T10:00",
        "2012-02T10:00:00Z",
        "2012-02-03T10:00:00",
        "2012-02-03T24:00:00Z",
        "2012-02-03T10:60:00Z",
        "2012-02-03T10:00:00.Z",
        "2012-02-03T10:00:00+15:00",
        "2012-02-03T10:00:00+14:30",
        "2012-02-03T10:00:00+1:00",
        "2012-02-03T10:00:00z",
        "2012-02-03 10:00:00Z",
        "٢٠١٢",
        "2012-02-03T10:00:00.1",
    ];
    for text in wrong {
        assert_eq!(span(text), None, "{text}");
    }
    let backwards = read(&json!({ "start": "2012", "end": "2011" })).unwrap_err();
    assert_eq!(backwards.problem, Problem::Backwards);
    let path = read(&json!({ "start": "x" })).unwrap_err().path;
    assert_eq!(path, "Consent.start");
}

#[test]
fn periods_meet() {
    let period = |from, to| Period { from: TimeMs(from), to: TimeMs(to) };
    assert_eq!(both(period(1, 0), period(0, 9)), Some(period(1, 9)));
    assert_eq!(both(period(1, 5), period(3, 9)), Some(period(3, 5)));
    assert_eq!(both(period(1, 3), period(3, 9)), None);
    assert_eq!(both(period(2, 0), period(3, 0)), Some(period(3, 0)));
}
