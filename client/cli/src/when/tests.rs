#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn durations_add_up_and_nonsense_is_refused() {
    assert_eq!(duration_ms("90s"), Ok(90_000));
    assert_eq!(duration_ms("1d12h"), Ok(129_600_000));
    for bad in ["", "7", "d", "7x", "7dé", "-1d", "0s", "99999999999999999999d", "18446744073709551615d"] {
        assert!(duration_ms(bad).is_err(), "{bad}");
    }
}

#[test]
fn times_are_absolute_or_from_now() {
    assert_eq!(when("1970-01-01T00:00:01.5Z"), Ok(When::At(1_500)));
    assert_eq!(when("1970-01-01T01:00:01+01:00"), Ok(When::At(1_000)));
    // In messages 0 stands for no end: what was to be over would never be.
    assert!(when("1970-01-01T00:00:00Z").unwrap_err().contains("1970"));
    assert_eq!(when("+30m").map(|w| w.resolve(5)), Ok(1_800_005));
    for bad in ["now", "tomorrow", "1969-12-31T23:59:59Z", "+", "2026-11-21"] {
        assert!(when(bad).is_err(), "{bad}");
    }
}
