#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn a_hostile_process_name_does_not_shift_the_fields() {
    let line = "42 (a) 1 (b c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 8 0 123\n";
    assert_eq!(parse_stat(line), Some(CpuTime(Duration::from_secs(3))));
    assert_eq!(parse_stat("42 (a) S 1"), None);
    assert_eq!(parse_stat(""), None);
}

#[test]
fn this_process_has_a_time() {
    assert!(CpuTime::of(std::process::id()).is_some());
    assert_eq!(CpuTime::of(u32::MAX), None);
}
