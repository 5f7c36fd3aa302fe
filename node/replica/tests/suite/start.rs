//! What must hold before a node starts.

use bytes::Bytes;
use consilium_consensus::voting::VoteGuard;
use consilium_consensus::{EntryKind, HardState, LogEntry, LogIndex, LogPosition, Persist, PersistSeq, RaftId, Term};
use consilium_kit::replica::{Did, Disk, Replicas};
use consilium_kit::{START, genesis};
use consilium_proto::ids::{HeaderHash, Height, NodeId, TimeMs};
use consilium_proto::parameters::recommended_parameters;
use consilium_replica::Fault;
use consilium_replica::ports::{Guard, GuardRecord, Ledger, Log};
use consilium_replica::start::{Doubt, Recovered, StartRefused, recover, write_genesis};

/// The syncs of every start.
const START_SYNCS: [Did; 3] = [Did::Recalled, Did::Log, Did::Ledger];

fn guard(height: u64, last: LogPosition, commit: u64) -> GuardRecord {
    let vote = VoteGuard { voted_height: Height(height), voted_header: HeaderHash::from_bytes([1; 32]) };
    GuardRecord { vote, last, commit: LogIndex(commit), doubted: Height(0) }
}

/// What a node that remembers `guard` starts from.
fn recovered(disk: &Disk, guard: GuardRecord) -> Result<Recovered, StartRefused> {
    let mut port = disk.guard.clone();
    port.write(guard).unwrap();
    disk.journal.take();
    recover(&disk.ledger, &disk.log, &mut port)
}

/// A disk on which a node that was alone has executed some blocks.
fn used() -> (Disk, LogPosition) {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    solo.time_blocks(1, 3);
    let disk = solo.node(1).disk.clone();
    disk.journal.take();
    let position = disk.ledger.position(Height(3)).unwrap().unwrap();
    (disk, position)
}

#[test]
fn a_new_disk_holds_the_genesis_and_the_founders() {
    let disk = Disk::new();
    let genesis = genesis("test", START, recommended_parameters(), &[("a.example", 10, 2), ("b.example", 10, 1)]);
    let tip = write_genesis(&disk.ledger, &genesis).unwrap();
    assert_eq!((tip.header.height, tip.header.time), (Height::GENESIS, TimeMs(START)));
    assert_eq!(disk.journal.take(), [Did::Ledger]);
    let recovered = recovered(&disk, GuardRecord::default()).unwrap();
    let voters: Vec<u64> = recovered.initial.membership.voters.iter().map(|id| id.get()).collect();
    assert_eq!((voters, recovered.initial.applied), (vec![1, 2, 3], LogIndex(0)));
    assert_eq!(disk.journal.take(), START_SYNCS);
}

#[test]
fn an_empty_ledger_is_refused() {
    let disk = Disk::new();
    assert!(matches!(recovered(&disk, GuardRecord::default()), Err(StartRefused::Port(_))));
}

#[test]
fn a_log_that_ends_before_what_a_vote_vouched_for_is_lost() {
    let (disk, position) = used();
    let beyond = LogPosition { index: position.index.next(), ..position };
    let lost = Err(StartRefused::LogLost { last: position.index, voted_with: beyond.index });
    assert_eq!(recovered(&disk, guard(3, beyond, 1)), lost);
    assert!(recovered(&disk, guard(3, position, position.index.0)).is_ok());
    assert_eq!(disk.journal.take(), START_SYNCS);
}

#[test]
fn a_log_that_a_later_leader_cut_is_not_lost_unless_what_was_committed_is_gone() {
    let (disk, position) = used();
    // A hard state of the next term came with the cut.
    let hard_state = HardState { term: Term(position.term.0 + 1), vote: None, commit: position.index };
    let round = Persist { hard_state: Some(hard_state), ..empty_round() };
    disk.log.log.borrow_mut().write(&round);
    let beyond = LogPosition { index: LogIndex(position.index.0 + 5), ..position };
    assert!(recovered(&disk, guard(3, beyond, position.index.0)).is_ok());
    let committed = position.index.next();
    let lost = Err(StartRefused::LogLost { last: position.index, voted_with: committed });
    assert_eq!(recovered(&disk, guard(3, beyond, committed.0)), lost);
    let later = LogPosition { term: hard_state.term, ..beyond };
    let lost = Err(StartRefused::LogLost { last: position.index, voted_with: later.index });
    assert_eq!(recovered(&disk, guard(3, later, position.index.0)), lost, "no later leader was there to cut it");
}

#[test]
fn what_a_killed_process_left_without_a_sync_is_synced_before_it_counts() {
    let (disk, position) = used();
    let entry = LogEntry::new(&position.hash, position.term, position.index.next(), EntryKind::Empty);
    disk.log.log.borrow_mut().write(&Persist { entries: vec![entry], ..empty_round() });
    assert_eq!(disk.log.last(), position, "written, and not durable");
    recovered(&disk, GuardRecord::default()).unwrap();
    assert_eq!(disk.log.last().index, position.index.next());
    assert_eq!(disk.journal.take(), START_SYNCS);
}

fn empty_round() -> Persist {
    Persist {
        seq: PersistSeq::default(),
        snapshot: None,
        entries: Vec::new(),
        hard_state: None,
        must_sync: true,
        messages_after: Vec::new(),
    }
}

#[test]
fn a_ledger_ahead_of_the_log_is_finished_with_a_sync_before_the_log_is_reset() {
    let (old, position) = used();
    let Disk { log, journal, mut guard, .. } = Disk::new();
    let ledger = old.ledger.copy(&journal);
    let recovered = recover(&ledger, &log, &mut guard).unwrap();
    assert_eq!(journal.take(), [Did::Recalled, Did::Log, Did::Ledger, Did::Reset(position)]);
    let hard_state = HardState { term: position.term, vote: None, commit: position.index };
    assert_eq!((recovered.initial.hard_state, recovered.initial.applied), (hard_state, position.index));
    assert_eq!((log.hard_state().unwrap(), log.last()), (hard_state, position));
}

#[test]
fn how_far_votes_may_be_lost_is_remembered() {
    let (disk, position) = used();
    let doubt = |record: GuardRecord| recovered(&disk, record).unwrap().doubt.guard;
    let record = guard(1, position, position.index.0);
    assert_eq!(doubt(record), Height(0));
    assert_eq!(doubt(GuardRecord { doubted: Height(9), ..record }), Height(9), "also after the next record");
    // Two entries are not executed yet, and may have been when the vote was made.
    let first = LogEntry::new(&position.hash, position.term, position.index.next(), EntryKind::Empty);
    let second = LogEntry::new(&first.hash, position.term, first.index.next(), EntryKind::Empty);
    disk.log.log.borrow_mut().write(&Persist { entries: vec![first, second], ..empty_round() });
    let damaged = || {
        let mut port = disk.guard.clone();
        port.write(record).unwrap();
        port.damaged.set(true);
        recover(&disk.ledger, &disk.log, &mut port).unwrap().doubt
    };
    assert_eq!(damaged(), Doubt { guard: Height(5), log: false });
    disk.log.log.borrow_mut().damage();
    assert_eq!(damaged(), Doubt { guard: Height(u64::MAX), log: true }, "nobody knows how far the log went");
}

#[test]
fn what_is_applied_was_committed() {
    let (disk, position) = used();
    let term = Term(9);
    let kind = EntryKind::Normal(Bytes::from_static(b"x"));
    let entry = LogEntry::new(&position.hash, term, position.index.next(), kind);
    let hard_state = Some(HardState { term, vote: RaftId::new(1), commit: LogIndex(1) });
    disk.log.log.borrow_mut().write(&Persist { entries: vec![entry], hard_state, ..empty_round() });
    let remembered = guard(3, LogPosition { index: LogIndex(1), term: Term(1), ..LogPosition::default() }, 1);
    let recovered = recovered(&disk, remembered).unwrap();
    let raised = HardState { term, vote: RaftId::new(1), commit: position.index };
    assert_eq!((recovered.initial.hard_state, recovered.guard), (raised, remembered));
    assert_eq!((recovered.tip.header.height, disk.journal.take()), (Height(3), START_SYNCS.to_vec()));
}

#[test]
fn a_node_that_is_not_of_the_ledger_is_retired() {
    let solo = Replicas::solo(|_| {}, |_| {});
    let settings = consilium_kit::replica::settings(NodeId(9));
    let started = consilium_kit::replica::Node::start(&solo.genesis, settings, Disk::new(), solo.now);
    assert_eq!(started.err(), Some(Fault::Retired(NodeId(9))));
}
