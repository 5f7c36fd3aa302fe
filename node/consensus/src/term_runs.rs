//! The term of every index, as runs: terms only grow along a log, and change rarely.
//!
//! Answering "which term is at this index" from memory keeps Raft's conflict search off the
//! disk, which a peer could otherwise make us read from end to end with one message.

use crate::ids::{LogIndex, LogPosition, Term};
use crate::log::{LogBounds, LogError, LogReader};

/// Ascending starts of runs of one term each. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TermRuns {
    runs: Vec<LogPosition>,
}

impl TermRuns {
    /// One run that starts at the truncated position.
    pub(crate) fn new(truncated: LogPosition) -> Self {
        Self { runs: vec![truncated] }
    }

    /// Finds the runs of a stored log by bisection: a few reads per term change.
    pub(crate) fn load(reader: &impl LogReader, bounds: &LogBounds) -> Result<Self, LogError> {
        let mut runs = Self::new(bounds.truncated);
        if bounds.last > bounds.truncated.index {
            let last = LogPosition { index: bounds.last, ..reader.position(bounds.last)? };
            runs.bisect(reader, bounds.truncated, last)?;
        }
        Ok(runs)
    }

    fn bisect(&mut self, reader: &impl LogReader, low: LogPosition, high: LogPosition) -> Result<(), LogError> {
        if low.term > high.term {
            let detail = format!("term {} follows term {}", high.term, low.term);
            return Err(LogError::Corrupt { index: high.index, detail });
        }
        if low.term == high.term {
            return Ok(());
        }
        if high.index.0 - low.index.0 == 1 {
            self.runs.push(high);
            return Ok(());
        }
        let index = LogIndex(low.index.0 + (high.index.0 - low.index.0) / 2);
        let middle = LogPosition { index, ..reader.position(index)? };
        self.bisect(reader, low, middle)?;
        self.bisect(reader, middle, high)
    }

    /// The term at `index`, which must lie between the truncated position and the end.
    pub(crate) fn term(&self, index: LogIndex) -> Term {
        let after = self.runs.partition_point(|run| run.index <= index);
        self.runs[after.saturating_sub(1)].term
    }

    /// Notes the next entry.
    pub(crate) fn push(&mut self, position: LogPosition) {
        if self.runs.last().is_none_or(|run| run.term != position.term) {
            self.runs.push(position);
        }
    }

    /// Forgets `index` and what follows it. The first run always stays.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        let keep = self.runs.partition_point(|run| run.index < index);
        self.runs.truncate(keep.max(1));
    }

    /// Forgets what lies before `index`.
    pub(crate) fn compact_to(&mut self, index: LogIndex) {
        let after = self.runs.partition_point(|run| run.index <= index);
        self.runs.drain(..after.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
