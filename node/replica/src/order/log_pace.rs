//! How long this node's log takes to write, and whether the others are faster: a node whose
//! disk is slow says so, and if it leads it hands over to one that is not.
//!
//! A write counts as *slow* if it takes longer than [`SLOW_MS`], and as *behind* if besides a
//! quorum of the others held the same entries in half of that time. Where the others need
//! this node for a quorum, or are as slow, nothing is gained by another leader, and none is
//! sought.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use consilium_consensus::{LogIndex, PersistSeq, RaftId};

use crate::alarm::SlowLog;

/// A write that takes longer is slow: ten times what a disk with a flash takes.
const SLOW_MS: u64 = 100;
/// Writes of this time are looked at.
const WINDOW_MS: u64 = 5_000;
/// Fewer say nothing.
const WRITES_MIN: usize = 5;
/// More of them say nothing more.
const WRITES_MAX: usize = 512;
/// A node that has handed over for its disk does not do so again within this time: two that
/// are slow would send leadership to and fro.
const HAND_OVER_PAUSE_MS: u64 = 60_000;

/// A write under way.
#[derive(Debug)]
struct Write {
    seq: PersistSeq,
    /// Its newest entry.
    index: LogIndex,
    issued_ms: u64,
    /// How long it took until the others that are a quorum held it, and who they were.
    others: Option<(u64, BTreeSet<RaftId>)>,
}

/// A write that is durable.
#[derive(Debug)]
struct Report {
    at_ms: u64,
    took_ms: u64,
    /// Who held it in half of the time, if they were a quorum.
    faster: BTreeSet<RaftId>,
}

impl Report {
    fn is_slow(&self) -> bool {
        self.took_ms > SLOW_MS
    }

    fn is_behind(&self) -> bool {
        self.is_slow() && !self.faster.is_empty()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LogPace {
    writes: VecDeque<Write>,
    reports: VecDeque<Report>,
    handed_over_ms: Option<u64>,
}

impl LogPace {
    /// Entries are on their way to the disk.
    pub(crate) fn issued(&mut self, seq: PersistSeq, index: LogIndex, now_ms: u64) {
        self.writes.push_back(Write { seq, index, issued_ms: now_ms, others: None });
    }

    /// Looks who holds the entries that are on their way to the disk: `held` gives the others
    /// that hold an entry, if they are a quorum.
    pub(crate) fn look(&mut self, now_ms: u64, held: impl Fn(LogIndex) -> Option<BTreeSet<RaftId>>) {
        for write in self.writes.iter_mut().filter(|write| write.others.is_none()) {
            let Some(holders) = held(write.index) else { return };
            write.others = Some((now_ms.saturating_sub(write.issued_ms), holders));
        }
    }

    /// Writes up to this one are durable.
    pub(crate) fn written(&mut self, seq: PersistSeq, now_ms: u64) {
        while let Some(write) = self.writes.pop_front_if(|write| write.seq <= seq) {
            let took_ms = now_ms.saturating_sub(write.issued_ms);
            let faster = write.others.filter(|(others_ms, _)| others_ms.saturating_mul(2) <= took_ms);
            let faster = faster.map(|(_, holders)| holders).unwrap_or_default();
            self.reports.push_back(Report { at_ms: now_ms, took_ms, faster });
            if self.reports.len() > WRITES_MAX {
                self.reports.pop_front();
            }
        }
    }

    /// Whether most of the newest writes were slow, or one has not come back for as long as
    /// they are looked at.
    pub(crate) fn slow(&mut self, now_ms: u64) -> Option<SlowLog> {
        while self.reports.pop_front_if(|report| now_ms.saturating_sub(report.at_ms) > WINDOW_MS).is_some() {}
        let oldest_ms = self.writes.front().map_or(0, |write| now_ms.saturating_sub(write.issued_ms));
        let slow: Vec<u64> =
            self.reports.iter().filter(|report| report.is_slow()).map(|report| report.took_ms).collect();
        if oldest_ms > WINDOW_MS {
            return Some(SlowLog { slow: slow.len(), writes: self.reports.len(), longest_ms: oldest_ms });
        }
        let longest_ms = slow.iter().copied().max()?;
        let most = self.reports.len() >= WRITES_MIN && 2 * slow.len() > self.reports.len();
        most.then_some(SlowLog { slow: slow.len(), writes: self.reports.len(), longest_ms })
    }

    /// To whom leadership should go, of those that can lead: who is most often among the
    /// faster ones. `None` if this node is not behind, or has handed over not long ago.
    pub(crate) fn hand_over_to(&self, candidates: &BTreeSet<RaftId>, now_ms: u64) -> Option<RaftId> {
        if self.handed_over_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < HAND_OVER_PAUSE_MS) {
            return None;
        }
        let behind = self.reports.iter().filter(|report| report.is_behind());
        if self.reports.len() < WRITES_MIN || 2 * behind.clone().count() <= self.reports.len() {
            return None;
        }
        let mut often: BTreeMap<RaftId, usize> = BTreeMap::new();
        for id in behind.flat_map(|report| &report.faster).filter(|id| candidates.contains(id)) {
            *often.entry(*id).or_default() += 1;
        }
        // The last of equal maxima wins, hence from the highest id to the lowest.
        often.into_iter().rev().max_by_key(|(_, count)| *count).map(|(id, _)| id)
    }

    /// Leadership is being handed over for it.
    pub(crate) fn handed_over(&mut self, now_ms: u64) {
        self.handed_over_ms = Some(now_ms);
    }
}

#[cfg(test)]
mod tests;
