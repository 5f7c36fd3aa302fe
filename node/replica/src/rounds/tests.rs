#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use consilium_consensus::{EntryKind, HardState, LogEntry, LogHash, LogIndex, RaftId, Term};

use super::*;

fn message(text: &'static str) -> Outbound {
    Outbound { to: RaftId::new(2).unwrap(), bytes: Bytes::from_static(text.as_bytes()) }
}

fn commit(index: u64) -> HardState {
    HardState { term: Term(1), vote: None, commit: LogIndex(index) }
}

/// A round that says how far the log is committed, and answers a peer.
fn idle(seq: u64, index: u64, text: &'static str) -> Persist {
    Persist {
        seq: PersistSeq::new(seq),
        snapshot: None,
        entries: Vec::new(),
        hard_state: Some(commit(index)),
        must_sync: false,
        messages_after: vec![message(text)],
    }
}

fn entries(seq: u64, index: u64, text: &'static str) -> Persist {
    let entry = LogEntry::new(&LogHash::NONE, Term(1), LogIndex(index), EntryKind::Empty);
    Persist { entries: vec![entry], hard_state: None, must_sync: true, ..idle(seq, 0, text) }
}

fn written(out: &[Output]) -> Vec<(PersistSeq, Option<HardState>)> {
    let round = |output: &Output| match output {
        Output::WriteLog(LogWrite::Round(round)) => (round.seq, round.hard_state),
        other => panic!("{other:?}"),
    };
    out.iter().map(round).collect()
}

#[test]
fn a_round_that_promises_nothing_goes_with_the_next() {
    let (mut rounds, mut out) = (Rounds::default(), Vec::new());
    assert_eq!(rounds.take(idle(1, 5, "a"), &mut out), [message("a")]);
    assert_eq!(rounds.take(idle(2, 6, "b"), &mut out), [message("b")]);
    assert_eq!(out, []);
    assert_eq!(rounds.take(entries(3, 7, "c"), &mut out), []);
    assert_eq!(written(&out), [(PersistSeq::new(3), Some(commit(6)))]);
    assert_eq!(rounds.written(PersistSeq::new(3)), [message("c")]);
}

#[test]
fn it_is_written_alone_when_none_comes() {
    let (mut rounds, mut out) = (Rounds::default(), Vec::new());
    rounds.flush(&mut out);
    assert_eq!(out, []);
    let _ = rounds.take(idle(1, 5, "a"), &mut out);
    rounds.flush(&mut out);
    rounds.flush(&mut out);
    assert_eq!(written(&out), [(PersistSeq::new(1), Some(commit(5)))]);
}

#[test]
fn no_message_overtakes_the_write_that_it_vouches_for() {
    let (mut rounds, mut out) = (Rounds::default(), Vec::new());
    assert_eq!(rounds.take(entries(1, 1, "a"), &mut out), []);
    assert_eq!(rounds.take(idle(2, 0, "b"), &mut out), [], "its answer may vouch for the entry, too");
    assert_eq!(rounds.take(entries(3, 2, "c"), &mut out), []);
    assert_eq!(rounds.written(PersistSeq::new(1)), [message("a"), message("b")]);
    assert_eq!(rounds.written(PersistSeq::new(3)), [message("c")]);
    assert_eq!(rounds.take(idle(4, 2, "d"), &mut out), [message("d")]);
}

#[test]
fn large_messages_wait_while_too_much_is_not_written() {
    let (mut rounds, mut out) = (Rounds::default(), Vec::new());
    let data = Bytes::from_static(&[7; SMALL_BYTES]);
    let large = |seq| {
        let entry = |index| LogEntry::new(&LogHash::NONE, Term(1), LogIndex(index), EntryKind::Normal(data.clone()));
        // One entry many times: only their bytes matter here.
        let entries = vec![entry(seq); UNWRITTEN_BYTES_MAX / SMALL_BYTES / 2];
        Persist { entries, must_sync: true, ..idle(seq, 0, "a") }
    };
    let _ = rounds.take(large(1), &mut out);
    assert!(rounds.has_room_for(UNWRITTEN_BYTES_MAX / 2));
    let _ = rounds.take(large(2), &mut out);
    assert!(!rounds.has_room_for(SMALL_BYTES + 1) && rounds.has_room_for(SMALL_BYTES));
    let _ = rounds.written(PersistSeq::new(1));
    assert!(rounds.has_room_for(UNWRITTEN_BYTES_MAX / 2));
    let _ = rounds.written(PersistSeq::new(2));
    assert_eq!(rounds.unwritten_bytes, 0);
}
