//! Writes that take a sync: what is written together, in which order, and what is
//! reported.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_consensus::voting::VoteGuard;
use consilium_consensus::{
    EntryKind, LogEntry, LogHash, LogIndex, LogPosition, LogReader, Membership, Persist, PersistSeq, SnapshotMeta, Term,
};
use consilium_kit::Ledger as RulesLedger;
use consilium_kit::replica::{Did, Disk};
use consilium_proto::ids::{HeaderHash, Height};
use consilium_proto::observed::Observed;
use consilium_replica::disk::{LogWrite, VoteWrite, Written, write_for_vote, write_log};
use consilium_replica::ports::{GuardRecord, Ledger, Log, LogBatch, LogStart, PortFault};

fn entry(index: u64) -> LogEntry {
    let kind = EntryKind::Normal(Bytes::from_static(b"entry"));
    LogEntry::new(&LogHash::NONE, Term(1), LogIndex(index), kind)
}

fn at(index: u64) -> LogPosition {
    entry(index).position()
}

fn round(indexes: std::ops::RangeInclusive<u64>, must_sync: bool) -> LogWrite {
    LogWrite::Round(Persist {
        seq: PersistSeq::default(),
        snapshot: None,
        entries: indexes.map(entry).collect(),
        hard_state: None,
        must_sync,
        messages_after: Vec::new(),
    })
}

/// A round that replaces the log.
fn replaced(index: u64) -> LogWrite {
    let membership = Membership { voters: BTreeSet::new(), ..Membership::default() };
    LogWrite::Round(Persist {
        seq: PersistSeq::default(),
        snapshot: Some(SnapshotMeta { index: LogIndex(index), term: Term(1), hash: at(index).hash, membership }),
        entries: Vec::new(),
        hard_state: None,
        must_sync: true,
        messages_after: Vec::new(),
    })
}

/// A disk whose ledger stands at an index.
fn disk(index: u64) -> Disk {
    let disk = Disk::new();
    let mut executed = RulesLedger::new(&[("a.example", 10, 1)], |_| {}).block(&[], &Observed::default());
    disk.ledger.write_block(at(index), &mut executed, None).unwrap();
    disk
}

fn write(disk: &Disk, writes: impl IntoIterator<Item = LogWrite>) -> Result<Vec<Written>, PortFault> {
    write_log(&disk.log, &disk.ledger, writes)
}

/// The report of rounds: all here bear one number.
fn log() -> Written {
    Written::Log(PersistSeq::default())
}

#[test]
fn all_rounds_that_wait_are_one_append_with_one_sync() {
    let disk = disk(0);
    let writes = [round(1..=2, false), round(3..=3, true), round(4..=5, false)];
    assert_eq!(write(&disk, writes), Ok(vec![log()]));
    assert_eq!(disk.journal.take(), [Did::Rounds { count: 3, synced: true }]);
    assert_eq!(disk.log.last(), at(5));
}

#[test]
fn nothing_is_synced_that_nobody_asked_for() {
    let disk = disk(0);
    assert_eq!(write(&disk, [round(1..=2, false)]), Ok(vec![log()]));
    assert_eq!(disk.journal.take(), [Did::Rounds { count: 1, synced: false }]);
    assert_eq!(write(&disk, []), Ok(vec![]));
    assert_eq!(disk.journal.take(), []);
}

#[test]
fn a_log_is_replaced_only_after_a_sync_of_the_ledger() {
    let disk = disk(5);
    assert_eq!(write(&disk, [round(1..=2, true), replaced(5)]), Ok(vec![log()]));
    assert_eq!(disk.journal.take(), [Did::Ledger, Did::Rounds { count: 2, synced: true }]);
    assert_eq!(disk.log.bounds().unwrap().truncated, at(5));
}

#[test]
fn a_log_never_begins_behind_what_the_ledger_has_synced() {
    let disk = disk(5);
    write(&disk, [round(1..=7, true)]).unwrap();
    disk.journal.take();
    assert_eq!(write(&disk, [replaced(4), replaced(6)]).unwrap_err().what, "log");
    assert_eq!(disk.journal.take(), [Did::Ledger], "nothing was written");
    assert_eq!(write(&disk, [LogWrite::Compact(at(6))]).unwrap_err().what, "log");
    assert_eq!(disk.journal.take(), [Did::Ledger]);
    assert_eq!(disk.log.bounds().unwrap().truncated, LogPosition::default());
}

#[test]
fn the_newest_compaction_comes_after_the_rounds_and_a_sync_of_the_ledger() {
    let disk = disk(5);
    let compact = |index| LogWrite::Compact(at(index));
    let writes = [compact(3), round(1..=6, true), compact(4)];
    assert_eq!(write(&disk, writes), Ok(vec![log(), Written::Compacted(at(4))]));
    let did = [Did::Rounds { count: 1, synced: true }, Did::Ledger, Did::Compacted(at(4))];
    assert_eq!(disk.journal.take(), did);
    assert_eq!(disk.log.bounds().unwrap().truncated, at(4));
}

#[test]
fn a_compaction_from_before_the_log_was_replaced_does_not_take_it_back() {
    let disk = disk(9);
    let writes = [round(1..=6, true), LogWrite::Compact(at(3)), replaced(9)];
    assert_eq!(write(&disk, writes), Ok(vec![log(), Written::Compacted(at(3))]));
    assert_eq!(disk.log.bounds().unwrap().truncated, at(9));
    assert_eq!(disk.log.last(), at(9));
}

#[test]
fn only_a_sync_makes_a_place_where_the_log_may_begin() {
    let disk = disk(5);
    let synced = disk.ledger.sync().unwrap();
    assert_eq!(synced.index(), LogIndex(5));
    assert_eq!(LogStart::new(at(5), synced).map(LogStart::position), Some(at(5)));
    assert_eq!(LogStart::new(at(6), synced), None);
    let failed = || Err(PortFault::corrupt("ledger", "is gone"));
    assert!(LogBatch::new(&[], failed).is_ok(), "no sync where no log is replaced");
}

#[test]
fn the_guard_remembers_what_the_log_held_when_the_vote_was_made() {
    let disk = disk(5);
    write(&disk, [round(1..=6, true)]).unwrap();
    disk.journal.take();
    let vote = VoteGuard { voted_height: Height(3), voted_header: HeaderHash::from_bytes([1; 32]) };
    let (mut guard, commit, doubted) = (disk.guard.clone(), LogIndex(4), Height(9));
    let write = VoteWrite::Guard { vote, commit, doubted };
    let written = write_for_vote(&mut guard, &disk.log, &disk.ledger, write);
    let record = GuardRecord { vote, last: at(6), commit, doubted };
    assert_eq!((written, disk.guard.read()), (Ok(Written::Vote), record));
    assert_eq!(write_for_vote(&mut guard, &disk.log, &disk.ledger, VoteWrite::Ledger), Ok(Written::Vote));
    assert_eq!(disk.journal.take(), [Did::Guard(record), Did::Ledger]);
    // A commit that is known before its entry is durable here.
    let write = VoteWrite::Guard { vote, commit: LogIndex(9), doubted };
    assert_eq!(write_for_vote(&mut guard, &disk.log, &disk.ledger, write), Ok(Written::Vote));
    assert_eq!(disk.guard.read().commit, LogIndex(6));
}
