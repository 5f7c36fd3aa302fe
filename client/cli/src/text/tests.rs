#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn columns_are_aligned_and_cells_harmless() {
    let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long\n".to_owned(), "22".to_owned()]];
    assert_eq!(table(&["NAME", "N"], rows), "NAME       N\na          1\nlong\\u{a}  22\n");
}

#[test]
fn times_are_utc() {
    assert_eq!(time_ms(0), "1970-01-01T00:00:00Z");
    assert_eq!(time_ms(u64::MAX), format!("{} s since 1970", u64::MAX / 1000));
}

#[test]
fn times_are_shown_where_people_are() {
    let zone = |text: &str| text.parse::<Zone>().unwrap();
    assert_eq!(Zone::default().time_ms(1_000), "1970-01-01T00:00:01Z");
    assert_eq!(zone("+01:00").time_ms(1_000), "1970-01-01T01:00:01+01:00");
    assert_eq!(zone("-05:30").time_ms(1_000), "1969-12-31T18:30:01-05:30");
    assert_eq!(zone("+05:45").to_string(), "+05:45");
    assert_eq!(
        (zone("+00:00").head("TIME"), zone("-03:00").head("TIME")),
        ("TIME (UTC)".into(), "TIME (UTC-03:00)".into())
    );
    for wrong in ["", "1", "+1:00", "+01", "+01:60", "+14:01", "01:00", "+-1:00", "+01:+1", "\u{e9}1:00", "CET"] {
        assert!(wrong.parse::<Zone>().is_err(), "{wrong}");
    }
}

#[test]
fn what_somebody_wrote_keeps_its_lines_and_orders_nothing() {
    assert_eq!(
        quoted("it says", "one\n\u{1b}[2Jtwo\r\n\nthree"),
        "it says:\n    one\n    \\u{1b}[2Jtwo\n    \n    three"
    );
    assert_eq!(quoted("it says", ""), "it says:");
}

#[test]
fn one_is_told_as_one() {
    let told = [0, 1, 2].map(|number| counted(number, "entry", "entries"));
    assert_eq!(told, ["0 entries", "1 entry", "2 entries"]);
}
