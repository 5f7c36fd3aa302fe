#![allow(clippy::unwrap_used)]
use super::*;
use consilium_consensus::{EntryKind, LogHash, PersistSeq, Term};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{HeaderHash, Height, LedgerId};

fn entry(index: u64, term: u64) -> LogEntry {
    let kind = EntryKind::Normal(Bytes::from(format!("entry {index} of {term}")));
    LogEntry::new(&LogHash::NONE, Term(term), LogIndex(index), kind)
}

fn round(entries: Vec<LogEntry>) -> Persist {
    Persist {
        seq: PersistSeq::default(),
        snapshot: None,
        entries,
        hard_state: None,
        must_sync: true,
        messages_after: Vec::new(),
    }
}

fn batch(rounds: &[Persist]) -> LogBatch<'_> {
    LogBatch::new(rounds, || Err(PortFault::corrupt("ledger", "nobody asks"))).unwrap()
}

fn write(log: &RaftLog, rounds: &[Persist]) {
    log.append(&batch(rounds)).unwrap();
}

fn terms(log: &RaftLog, low: u64, high: u64) -> Vec<u64> {
    log.entries(LogIndex(low), LogIndex(high), usize::MAX).unwrap().iter().map(|e| e.term.0).collect()
}

#[test]
fn entries_survive_reopening_and_overwriting_cuts_the_tail() {
    let dir = tempfile::tempdir().unwrap();
    let log = RaftLog::open(dir.path()).unwrap();
    write(&log, &[round((1..=5).map(|i| entry(i, 1)).collect())]);
    write(&log, &[round(vec![entry(3, 2), entry(4, 2)])]);
    drop(log);
    let log = RaftLog::open(dir.path()).unwrap();
    assert_eq!(log.last(), entry(4, 2).position());
    assert_eq!(terms(&log, 1, 5), [1, 1, 2, 2]);
    let missing = log.entries(LogIndex(4), LogIndex(6), usize::MAX);
    assert_eq!(missing, Err(LogError::Missing { index: LogIndex(5) }));
}

#[test]
fn two_rounds_in_one_batch_are_as_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = RaftLog::open(dir.path()).unwrap();
    let rounds = [round((1..=4).map(|i| entry(i, 1)).collect()), round(vec![entry(2, 3)])];
    write(&log, &rounds);
    assert_eq!((log.last().index, terms(&log, 1, 3)), (LogIndex(2), vec![1, 3]));
}

#[test]
fn compaction_and_reset_keep_the_position_before_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = RaftLog::open(dir.path()).unwrap();
    write(&log, &[round((1..=5).map(|i| entry(i, 1)).collect())]);
    log.compact(entry(3, 1).position()).unwrap();
    assert_eq!(log.position(LogIndex(3)).unwrap(), entry(3, 1).position());
    assert!(log.entries(LogIndex(3), LogIndex(5), usize::MAX).is_err());
    assert_eq!(terms(&log, 4, 6), [1, 1]);
    let position = entry(9, 4).position();
    let hard_state = HardState { term: Term(4), vote: None, commit: LogIndex(9) };
    log.reset(position, hard_state).unwrap();
    drop(log);
    let log = RaftLog::open(dir.path()).unwrap();
    assert_eq!(log.bounds().unwrap(), LogBounds { truncated: position, last: LogIndex(9) });
    assert_eq!(log.hard_state().unwrap(), hard_state);
}

fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().map_or(0, |m| m.len())).sum()
}

/// Writes forty large entries in tables of so many bytes, and cuts most of them off.
fn space_is_given_back(write_buffer_bytes: usize) {
    let dir = tempfile::tempdir().unwrap();
    let log = RaftLog::open_buffered(dir.path(), write_buffer_bytes, &GuardRecord::default()).unwrap();
    // Bytes that cannot be compressed.
    let noise = |index: u64| -> Vec<u8> {
        let word = |n: u64| (n ^ (index << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words =
            (0..(256 << 10) / 8).map(word).map(|word| (word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9));
        words.flat_map(u64::to_be_bytes).collect()
    };
    let large = |index| LogEntry { kind: EntryKind::Normal(noise(index).into()), ..entry(index, 1) };
    (1..=40).for_each(|index| write(&log, &[round(vec![large(index)])]));
    assert!(bytes_in(dir.path()) > 8 << 20, "{}", bytes_in(dir.path()));
    log.compact(entry(38, 1).position()).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while bytes_in(dir.path()) > 2 << 20 {
        assert!(std::time::Instant::now() < deadline, "{} bytes are kept", bytes_in(dir.path()));
        std::thread::yield_now();
    }
    assert_eq!(terms(&log, 39, 41), [1, 1]);
    // What is closed at once can be opened at once.
    log.compact(entry(39, 1).position()).unwrap();
    drop(log);
    assert_eq!(terms(&RaftLog::open(dir.path()).unwrap(), 40, 41), [1]);
}

/// The log of writes once kept all of it until the next start.
#[test]
fn compaction_gives_the_space_back_while_the_log_is_open() {
    space_is_given_back(WRITE_BUFFER_BYTES);
}

/// Tables once kept what was cut until they were merged for another reason.
#[test]
fn compaction_gives_the_space_of_tables_back() {
    space_is_given_back(1 << 20);
}

fn newest_wal(folder: &Path) -> std::path::PathBuf {
    let wal = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wal = wal.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    wal.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// What was left out stays known until somebody has settled it, however often the node is
/// started; what must not be missing the guard knows.
#[test]
fn damage_in_the_log_of_writes_leaves_what_is_before_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = RaftLog::open(dir.path()).unwrap();
    log.initialize().unwrap();
    (1..=200).for_each(|index| write(&log, &[round(vec![entry(index, 1)])]));
    assert!(!log.is_damaged().unwrap());
    drop(log);
    let wal = newest_wal(dir.path());
    let mut bytes = std::fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&wal, &bytes).unwrap();
    let promised = GuardRecord { last: entry(150, 1).position(), ..GuardRecord::default() };
    for _ in 0..2 {
        let refused = RaftLog::open_guarded(dir.path(), &promised).err().unwrap().to_string();
        assert!(refused.contains("A disk that lost writes"), "{refused}");
    }
    assert_eq!(std::fs::read(&wal).unwrap(), bytes, "nothing was given up");
    let last = RaftLog::open(dir.path()).unwrap().last();
    assert!((80..120).contains(&last.index.0), "{last:?}");
    let log = RaftLog::open(dir.path()).unwrap();
    assert_eq!((log.last(), log.is_damaged().unwrap()), (last, true));
    log.append(&batch(&[]).trusting()).unwrap();
    assert!(!log.is_damaged().unwrap());
    drop(log);
    assert!(!RaftLog::open(dir.path()).unwrap().is_damaged().unwrap());
}

/// A power cut may leave the file's length without its content.
#[test]
fn zeros_at_the_end_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let log = RaftLog::open(dir.path()).unwrap();
    log.initialize().unwrap();
    (1..=20).for_each(|index| write(&log, &[round(vec![entry(index, 1)])]));
    drop(log);
    let wal = newest_wal(dir.path());
    let mut bytes = std::fs::read(&wal).unwrap();
    let end = bytes.len();
    bytes[end - 40..].fill(0);
    bytes.resize(end + 150_000, 0);
    std::fs::write(&wal, bytes).unwrap();
    let log = RaftLog::open(dir.path()).unwrap();
    assert_eq!(log.last(), entry(19, 1).position());
    write(&log, &[round(vec![entry(20, 2)])]);
    drop(log);
    assert_eq!(RaftLog::open(dir.path()).unwrap().last(), entry(20, 2).position());
}

#[test]
fn the_newest_vote_of_each_other_node_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let log = RaftLog::open(dir.path()).unwrap();
    assert_eq!(log.votes().unwrap(), []);
    let vote = |node, height| {
        let (header_hash, tree_root) = (HeaderHash::from_bytes([height as u8; 32]), Hash::from_bytes([7; 32]));
        let ledger_id = LedgerId::from_bytes([9; 32]);
        Vote { ledger_id, validator: NodeId(node), height: Height(height), header_hash, tree_root, signature: [1; 64] }
    };
    let all = [vote(2, 5), vote(3, 4), vote(u64::MAX - 1, 4)];
    log.append(&batch(&[]).with_votes(&all)).unwrap();
    log.append(&batch(&[]).with_votes(&[vote(2, 6)]).synced()).unwrap();
    drop(log);
    let log = RaftLog::open(dir.path()).unwrap();
    assert_eq!(log.votes().unwrap(), [vote(2, 6), vote(3, 4), vote(u64::MAX - 1, 4)]);
    assert_eq!(log.last(), LogPosition::default());
}

#[test]
fn a_log_that_has_rotten_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    RaftLog::open(dir.path()).unwrap().initialize().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST") {
            std::fs::write(path, [0x5a; 4096]).unwrap();
        }
    }
    let refused = RaftLog::open(dir.path()).err().unwrap().to_string();
    assert!(refused.starts_with("database raft: Corruption"), "{refused}");
    assert!(refused.contains("replace the node (docs/operations.md"), "{refused}");
}
