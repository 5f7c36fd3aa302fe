#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn a_hostile_process_name_does_not_shift_the_fields() {
    let line = "42 (a) 1 (b c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 8 0 123\n";
    assert_eq!(cpu_time(line), Some(Duration::from_secs(3)));
    assert_eq!(cpu_time("42 (a) S 1"), None);
    assert_eq!(cpu_time(""), None);
}

#[test]
fn values_are_found_by_their_names() {
    let status = "Name:\tx\nThreads:\t8\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";
    assert_eq!(sum_of(status, |name| name.ends_with("ctxt_switches")), 42);
    let io = "wchar: 7\nwrite_bytes: 4096\ncancelled_write_bytes: 9\n";
    assert_eq!(sum_of(io, |name| name == "write_bytes"), 4_096);
    assert_eq!(sum_of("", |_| true), 0);
}

#[test]
fn this_process_has_used_something() {
    let before = Used::by(std::process::id()).unwrap();
    // Whoever waits is switched away from.
    let (_open, nothing) = std::sync::mpsc::channel::<()>();
    assert!(nothing.recv_timeout(Duration::from_millis(1)).is_err());
    let used = Used::by(std::process::id()).unwrap().since(before);
    assert!(used.switches > 0, "{used:?}");
    assert!(used.written_bytes.is_some(), "{used:?}");
    assert_eq!(Used::by(u32::MAX), None);
}

#[test]
fn what_was_used_is_a_difference() {
    let used = |n| Used { cpu: Duration::from_millis(n), switches: n, written_bytes: Some(n) };
    assert_eq!(used(9).since(used(2)), used(7));
    // A thread that has ended takes its count along.
    assert_eq!(used(2).since(used(9)), used(0));
    assert_eq!(used(9).since(Used { written_bytes: None, ..used(2) }), Used { written_bytes: None, ..used(7) });
}

#[test]
fn memory_is_known_of_processes_that_there_are() {
    assert!(peak_memory(std::process::id()).is_some_and(|bytes| bytes > 100_000));
    assert_eq!(peak_memory(u32::MAX), None);
}
