//! Leaders that were not followed, and for how long no vote is granted to them: each time
//! twice as long. Whoever is elected again and again, and lies again and again, leads less
//! and less.
//!
//! It must never keep the network from having a leader: the time is bounded, and while nobody
//! leads for long, votes are granted to everybody, since the others may not be able to win.
//! What is remembered is this node's own, and nothing that others say.

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::RaftId;
use consilium_proto::ids::Height;

/// No vote is withheld longer for one distrust.
const WITHHELD_MS_MAX: u64 = 60_000;
/// One distrust is forgotten in this time.
const FORGET_MS: u64 = 2 * WITHHELD_MS_MAX;
/// All are, when blocks were certified under a leader for this time, and nothing was wrong.
const GOOD_MS: u64 = 30_000;
/// More make it no longer.
const TIMES_MAX: u32 = 16;

#[derive(Debug, Clone, Copy)]
struct Record {
    times: u32,
    last_ms: u64,
    until_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Distrusts {
    /// For the first distrust. In twice that time without a leader everybody is granted to: the
    /// distrust of the others may begin later than this node's, and they need a while to elect.
    base_ms: u64,
    records: BTreeMap<RaftId, Record>,
    /// Nobody leads since then.
    leaderless_ms: Option<u64>,
    /// Who leads since when without a distrust, and what was certified then.
    good: Option<(RaftId, u64, Height)>,
}

impl Distrusts {
    pub(crate) fn new(base_ms: u64) -> Self {
        Self { base_ms, records: BTreeMap::new(), leaderless_ms: None, good: None }
    }

    /// A leader is not followed any more. Gives until when no vote is granted to it. Once more
    /// within that time is the same distrust, which does not end at once.
    pub(crate) fn note(&mut self, leader: RaftId, now_ms: u64) -> u64 {
        self.good = None;
        let record = self.records.entry(leader).or_insert(Record { times: 0, last_ms: now_ms, until_ms: 0 });
        if now_ms >= record.until_ms {
            let forgotten = now_ms.saturating_sub(record.last_ms) / FORGET_MS;
            let before = u64::from(record.times).saturating_sub(forgotten) as u32;
            let withheld_ms = self.base_ms.saturating_mul(1 << before).min(WITHHELD_MS_MAX);
            let times = (before + 1).min(TIMES_MAX);
            *record = Record { times, last_ms: now_ms, until_ms: now_ms.saturating_add(withheld_ms) };
        }
        record.until_ms = record.until_ms.max(now_ms.saturating_add(self.base_ms));
        record.until_ms
    }

    /// Who leads now, and what is certified.
    pub(crate) fn look(&mut self, leader: Option<RaftId>, certified: Height, now_ms: u64) {
        let Some(leader) = leader else {
            self.good = None;
            self.leaderless_ms.get_or_insert(now_ms);
            return;
        };
        self.leaderless_ms = None;
        match self.good {
            Some((same, since_ms, from)) if same == leader => {
                if certified > from && now_ms.saturating_sub(since_ms) >= GOOD_MS {
                    self.records.remove(&leader);
                }
            }
            Some(_) | None => self.good = Some((leader, now_ms, certified)),
        }
        self.records.retain(|_, record| now_ms.saturating_sub(record.last_ms) < FORGET_MS * u64::from(record.times));
    }

    /// Whether nobody has led for so long that it is no time for distrust.
    pub(crate) fn is_leaderless(&self, now_ms: u64) -> bool {
        self.leaderless_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= self.base_ms.saturating_mul(2))
    }

    /// To whom no vote is granted now.
    pub(crate) fn shunned(&self, now_ms: u64) -> BTreeSet<RaftId> {
        if self.is_leaderless(now_ms) {
            return BTreeSet::new();
        }
        self.records.iter().filter(|(_, record)| now_ms < record.until_ms).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests;
