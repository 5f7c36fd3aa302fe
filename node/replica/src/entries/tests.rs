use consilium_consensus::Term;
use consilium_proto::ids::{NodeId, TimeMs};
use consilium_proto::observed::Observed;

use super::*;

fn at(index: u64, term: u64) -> LogPosition {
    LogPosition { index: LogIndex(index), term: Term(term), ..LogPosition::default() }
}

fn entry(bytes: usize) -> Bytes {
    Bytes::from(vec![1; bytes])
}

fn block(time: u64) -> CheckedBlock {
    let (time, proposer) = (TimeMs(time), NodeId(1));
    CheckedBlock { time, proposer, transactions: Vec::new(), observed: Observed::default() }
}

fn handed_out(entries: &mut Entries) -> Vec<LogPosition> {
    let mut out = Vec::new();
    entries.hand_out(&mut out);
    let position = |output| match output {
        Output::Check { position, .. } => position,
        other => panic!("{other:?}"),
    };
    out.into_iter().map(position).collect()
}

/// The time of a block that was taken: `None` if it is yet to be looked at.
fn taken(entries: &mut Entries, position: LogPosition) -> Option<Option<u64>> {
    entries.take(position).map(|block| block.map(|block| block.time.0))
}

#[test]
fn an_entry_is_handed_out_once_and_taken_when_it_was_looked_at() {
    let mut entries = Entries::default();
    entries.announce(at(1, 1), &entry(10));
    entries.want(at(1, 1), &entry(10));
    assert_eq!(taken(&mut entries, at(1, 1)), None);
    assert_eq!(handed_out(&mut entries), [at(1, 1)]);
    entries.want(at(1, 1), &entry(10));
    assert_eq!((taken(&mut entries, at(1, 1)), handed_out(&mut entries)), (None, vec![]));
    entries.checked(at(1, 1), Some(block(7)));
    assert_eq!(taken(&mut entries, at(1, 1)), Some(Some(7)));
    assert_eq!(taken(&mut entries, at(1, 1)), None);
}

#[test]
fn what_is_no_block_is_known_to_be_none() {
    let mut entries = Entries::default();
    entries.announce(at(1, 1), &entry(10));
    handed_out(&mut entries);
    entries.checked(at(1, 1), None);
    assert_eq!(taken(&mut entries, at(1, 1)), Some(None));
}

#[test]
fn no_more_entries_than_may_be_are_looked_at_at_a_time() {
    let mut entries = Entries::default();
    let count = CHECKS_MAX as u64;
    (1..=count + 2).for_each(|index| entries.announce(at(index, 1), &entry(10)));
    assert_eq!(handed_out(&mut entries).len(), CHECKS_MAX);
    assert_eq!(handed_out(&mut entries), []);
    entries.checked(at(9, 1), None);
    assert_eq!(handed_out(&mut entries), [at(count + 1, 1)]);
}

#[test]
fn what_does_not_fit_is_handed_out_when_it_commits() {
    let mut entries = Entries::default();
    let half = HELD_BYTES_MAX / 2 + 1;
    entries.announce(at(1, 1), &entry(half));
    entries.announce(at(2, 1), &entry(half));
    assert_eq!(handed_out(&mut entries), [at(1, 1)]);
    entries.want(at(2, 1), &entry(half));
    assert_eq!(handed_out(&mut entries), [at(2, 1)]);
}

/// A leader may have any number of entries written that never commit.
#[test]
fn what_is_looked_at_takes_room_until_it_is_executed() {
    let mut entries = Entries::default();
    let half = HELD_BYTES_MAX / 2 + 1;
    entries.announce(at(1, 1), &entry(half));
    handed_out(&mut entries);
    entries.checked(at(1, 1), Some(block(1)));
    entries.announce(at(2, 1), &entry(half));
    assert_eq!(handed_out(&mut entries), []);
    assert_eq!(taken(&mut entries, at(1, 1)), Some(Some(1)));
    entries.announce(at(3, 1), &entry(half));
    assert_eq!(handed_out(&mut entries), [at(3, 1)]);
}

#[test]
fn what_was_applied_otherwise_is_forgotten_and_makes_room() {
    let mut entries = Entries::default();
    let half = HELD_BYTES_MAX / 2 + 1;
    entries.announce(at(1, 1), &entry(half));
    entries.forget(LogIndex(1));
    entries.announce(at(2, 1), &entry(half));
    assert_eq!(handed_out(&mut entries), [at(2, 1)]);
    entries.forget(LogIndex(2));
    entries.checked(at(2, 1), Some(block(1)));
    assert_eq!(taken(&mut entries, at(2, 1)), None, "a report that comes too late is of no use");
}

#[test]
fn a_report_that_comes_too_late_frees_its_place() {
    let mut entries = Entries::default();
    (1..=CHECKS_MAX as u64).for_each(|index| entries.announce(at(index, 1), &entry(10)));
    handed_out(&mut entries);
    entries.forget(LogIndex(1_000));
    entries.announce(at(1_001, 1), &entry(10));
    assert_eq!(handed_out(&mut entries), []);
    entries.checked(at(1, 1), None);
    assert_eq!(handed_out(&mut entries), [at(1_001, 1)]);
}

#[test]
fn an_entry_that_replaced_another_is_its_own() {
    let mut entries = Entries::default();
    entries.announce(at(5, 1), &entry(10));
    handed_out(&mut entries);
    entries.announce(at(5, 2), &entry(20));
    handed_out(&mut entries);
    entries.checked(at(5, 1), Some(block(1)));
    assert_eq!(taken(&mut entries, at(5, 2)), None, "the check was of another entry");
    entries.checked(at(5, 2), Some(block(2)));
    assert_eq!(taken(&mut entries, at(5, 2)), Some(Some(2)));
    entries.forget(LogIndex(5));
    assert!(entries.slots.is_empty() && entries.held_bytes == 0);
}

#[test]
fn a_block_of_ones_own_needs_no_look() {
    let mut entries = Entries::default();
    entries.built(at(3, 1), block(9));
    assert_eq!(handed_out(&mut entries), []);
    assert_eq!(taken(&mut entries, at(3, 1)), Some(Some(9)));
}
