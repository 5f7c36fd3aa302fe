#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::entry::LogEntry;

struct Terms(Vec<u64>);

impl LogReader for Terms {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        Ok(LogBounds { truncated: at(0, 0), last: LogIndex(self.0.len() as u64) })
    }
    fn entries(&self, _: LogIndex, _: LogIndex, _: usize) -> Result<Vec<LogEntry>, LogError> {
        Ok(Vec::new())
    }
    fn position(&self, index: LogIndex) -> Result<LogPosition, LogError> {
        Ok(at(index.0, self.0[index.0 as usize - 1]))
    }
}

fn at(index: u64, term: u64) -> LogPosition {
    LogPosition { index: LogIndex(index), term: Term(term), ..LogPosition::default() }
}

#[test]
fn falling_terms_are_corruption() {
    let reader = Terms(vec![1, 3, 2]);
    let error = TermRuns::load(&reader, &reader.bounds().unwrap()).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { index: LogIndex(3), .. }), "{error:?}");
}

proptest! {
    #[test]
    fn equal_to_a_plain_list(
        steps in proptest::collection::vec(0u64..3, 1..60),
        cut in 1u64..60,
        compact in 0u64..60,
    ) {
        let mut term = 1;
        let terms: Vec<u64> = steps.iter().map(|step| { term += step; term }).collect();
        let reader = Terms(terms.clone());
        let mut runs = TermRuns::load(&reader, &reader.bounds().unwrap()).unwrap();
        let mut pushed = TermRuns::new(at(0, 0));
        for (i, term) in terms.iter().enumerate() {
            pushed.push(at(i as u64 + 1, *term));
        }
        prop_assert_eq!(&runs, &pushed);
        runs.truncate_from(LogIndex(cut));
        let last = (cut - 1).min(terms.len() as u64);
        let compact = compact.min(last);
        runs.compact_to(LogIndex(compact));
        for index in compact.max(1)..=last {
            prop_assert_eq!(runs.term(LogIndex(index)).0, terms[index as usize - 1]);
        }
    }
}
