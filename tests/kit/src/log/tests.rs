use consilium_consensus::{EntryKind, LogHash, Term};

use super::*;

fn entry(index: u64) -> LogEntry {
    LogEntry::new(&LogHash::NONE, Term(1), LogIndex(index), EntryKind::Normal(Bytes::from_static(b"x")))
}

fn round(index: u64) -> Persist {
    let entry = entry(index);
    Persist {
        seq: PersistSeq::default(),
        snapshot: None,
        entries: vec![entry],
        hard_state: None,
        must_sync: true,
        messages_after: Vec::new(),
    }
}

/// The last entries that remain of three written and one synced, over many power cuts.
#[test]
fn a_power_cut_keeps_what_is_synced_and_a_prefix_of_the_rest() {
    let mut rng = Rng::new(1);
    let mut remaining = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let log = Rc::new(RefCell::new(MemoryLog::default()));
        let (written, synced) = (LogHandle::new(&log), LogHandle::of_synced(&log));
        log.borrow_mut().write(&round(1));
        log.borrow_mut().sync();
        log.borrow_mut().write(&round(2));
        log.borrow_mut().write(&round(3));
        assert_eq!((written.bounds().unwrap().last, synced.bounds().unwrap().last), (LogIndex(3), LogIndex(1)));
        let lost = log.borrow_mut().power_cut(&mut rng);
        let last = written.bounds().unwrap().last;
        assert_eq!((lost, last), (3 - last.0, synced.bounds().unwrap().last));
        remaining.insert(last.0);
    }
    assert_eq!(remaining, [1, 2, 3].into());
}

#[test]
fn a_compacted_log_knows_where_it_begins() {
    let log = Rc::new(RefCell::new(MemoryLog::default()));
    let reader = LogHandle::new(&log);
    (1..=4).for_each(|index| log.borrow_mut().write(&round(index)));
    log.borrow_mut().compact_to(entry(2).position());
    assert_eq!(reader.position(LogIndex(2)), Ok(entry(2).position()));
    assert_eq!(reader.position(LogIndex(1)), Err(LogError::Missing { index: LogIndex(1) }));
    assert_eq!(reader.entries(LogIndex(3), LogIndex(5), 0).unwrap().len(), 1, "at least one");
}
