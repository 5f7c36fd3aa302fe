#![allow(clippy::unwrap_used)]

use super::*;
use crate::entry::{EntryKind, LogEntry};
use crate::hard_state::HardState;
use crate::ids::RaftId;
use crate::membership::Membership;

/// Entries after index 10, with the given (index, term).
struct Disk(Vec<(u64, u64)>);

impl Disk {
    fn all(&self) -> Vec<LogEntry> {
        let mut before = bounds(10).truncated.hash;
        let entry = |(index, term): &(u64, u64)| {
            let entry = LogEntry::new(&before, Term(*term), LogIndex(*index), EntryKind::Empty);
            before = entry.hash;
            entry
        };
        self.0.iter().map(entry).collect()
    }
}

impl LogReader for Disk {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        Ok(bounds(10 + self.0.len() as u64))
    }
    fn entries(&self, low: LogIndex, high: LogIndex, _: usize) -> Result<Vec<LogEntry>, LogError> {
        let (low, high) = ((low.0 - 11) as usize, (high.0 - 11) as usize);
        Ok(self.all()[low..high].to_vec())
    }
    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        Ok(self.all()[(index.0 - 11) as usize].position())
    }
}

fn bounds(last: u64) -> LogBounds {
    let truncated = LogPosition { index: LogIndex(10), term: Term(2), hash: LogHash::from_bytes([7; 32]) };
    LogBounds { truncated, last: LogIndex(last) }
}

fn initial(term: u64, commit: u64, applied: u64) -> Initial {
    Initial {
        hard_state: HardState { term: Term(term), vote: None, commit: LogIndex(commit) },
        membership: Membership::new(RaftId::new(1), []),
        applied: LogIndex(applied),
    }
}

fn check(initial: &Initial, entries: &[(u64, u64)]) -> Result<(), PreflightError> {
    let reader = Disk(entries.to_vec());
    preflight(initial, reader.bounds().unwrap(), &reader).map(drop)
}

const GOOD: [(u64, u64); 3] = [(11, 2), (12, 3), (13, 3)];

#[test]
fn boundaries_are_accepted() {
    for (commit, applied) in [(10, 10), (13, 10), (13, 13), (12, 11)] {
        assert_eq!(check(&initial(3, commit, applied), &GOOD), Ok(()));
    }
    assert_eq!(check(&initial(3, 10, 10), &[]), Ok(()));
}

#[test]
fn every_violation_has_its_name() {
    let (truncated, last) = (LogIndex(10), LogIndex(13));
    let outside = |commit| PreflightError::CommitOutside { commit: LogIndex(commit), truncated, last };
    assert_eq!(check(&initial(3, 14, 10), &GOOD), Err(outside(14)));
    assert_eq!(check(&initial(3, 9, 9), &GOOD), Err(outside(9)));
    assert_eq!(
        check(&initial(3, 11, 12), &GOOD),
        Err(PreflightError::AppliedBeyondCommit { applied: LogIndex(12), commit: LogIndex(11) })
    );
    assert_eq!(
        check(&initial(3, 11, 9), &GOOD),
        Err(PreflightError::AppliedBehindLog { applied: LogIndex(9), truncated })
    );
    assert_eq!(
        check(&initial(2, 11, 10), &GOOD),
        Err(PreflightError::TermBehindLog { term: Term(2), log_term: Term(3) })
    );
    assert_eq!(
        check(&initial(3, 11, 10), &[(11, 2), (13, 3), (13, 3)]),
        Err(PreflightError::NotContiguous { at: LogIndex(12), found: LogIndex(13), term: Term(3) })
    );
    let mut voted = initial(0, 10, 10);
    voted.hard_state.vote = RaftId::new(1);
    assert_eq!(check(&voted, &[]), Err(PreflightError::VoteWithoutTerm));
    let mut nobody = initial(3, 10, 10);
    nobody.membership = Membership::default();
    assert_eq!(check(&nobody, &GOOD), Err(PreflightError::Membership(MembershipInvalid::NoVoters)));
    let short = preflight(&initial(3, 10, 10), bounds(9), &Disk(Vec::new()));
    assert_eq!(short.unwrap_err(), PreflightError::Bounds { truncated, last: LogIndex(9) });
}

/// An entry that is whole and in its place, and not the one that was written there.
struct Rotten(Disk);

impl LogReader for Rotten {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        self.0.bounds()
    }
    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        let mut entries = self.0.entries(low, high, bytes_max)?;
        let rotten = entries.iter_mut().filter(|entry| entry.index == LogIndex(12));
        rotten.for_each(|entry| entry.kind = EntryKind::Normal(bytes::Bytes::from_static(b"rot")));
        Ok(entries)
    }
    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        self.0.position(index)
    }
}

#[test]
fn what_is_to_be_used_is_what_was_written() {
    let reader = Rotten(Disk(GOOD.to_vec()));
    let checked = |applied| preflight(&initial(3, 13, applied), reader.bounds().unwrap(), &reader).map(drop);
    assert!(matches!(checked(10), Err(PreflightError::Log(LogError::Corrupt { index: LogIndex(12), .. }))));
    assert_eq!(checked(12), Ok(()), "it is applied, and used no more");
}
