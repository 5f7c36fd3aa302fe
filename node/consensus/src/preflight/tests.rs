#![allow(clippy::unwrap_used)]

use super::*;
use crate::entry::{EntryKind, LogEntry};
use crate::hard_state::HardState;
use crate::ids::RaftId;
use crate::membership::Membership;

/// Entries after index 10, with the given (index, term).
struct Stored(Vec<(u64, u64)>);

impl LogReader for Stored {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        Ok(bounds(10 + self.0.len() as u64))
    }
    fn entries(&self, low: LogIndex, high: LogIndex, _: usize) -> Result<Vec<LogEntry>, LogError> {
        let (low, high) = ((low.0 - 11) as usize, (high.0 - 11) as usize);
        Ok(self.0[low..high]
            .iter()
            .map(|(index, term)| LogEntry { term: Term(*term), index: LogIndex(*index), kind: EntryKind::Empty })
            .collect())
    }
    fn term(&self, index: LogIndex) -> Result<Term, LogError> {
        Ok(Term(self.0[(index.0 - 11) as usize].1))
    }
}

fn bounds(last: u64) -> LogBounds {
    let truncated = LogPosition { index: LogIndex(10), term: Term(2) };
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
    let reader = Stored(entries.to_vec());
    preflight(initial, &reader.bounds().unwrap(), &reader).map(drop)
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
    let reader = Stored(Vec::new());
    assert_eq!(
        preflight(&initial(3, 10, 10), &bounds(9), &reader),
        Err(PreflightError::Bounds { truncated, last: LogIndex(9) })
    );
}
