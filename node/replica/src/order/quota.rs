//! How often one identity may ask to read. Each request leaves an entry in a patient's log for
//! ever, denied ones too, so that floods and probing are turned away before they are ordered.
//!
//! Each node that takes transactions of clients counts, and so does the leader: who asks over
//! many nodes has no more for it. Emergencies have a count of their own, of the same size: no
//! ordinary reading uses it up.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use consilium_proto::names::SpiffeId;
use consilium_proto::transaction::{Transaction, Urgency};

use crate::rate::{Rate, Used};

const MINUTE_US: u64 = 60_000_000;
/// Identities remembered until those that have all of their requests left are forgotten.
const SWEEP_AT: usize = 4_096;

/// How many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessQuota {
    /// In the long run.
    pub per_minute: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// Which of an identity's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Count {
    Ordinary,
    Emergency,
}

impl Count {
    /// Of a transaction, if it is counted.
    pub(crate) fn of(transaction: &Transaction) -> Option<Self> {
        match (transaction.urgency(), transaction.access_request()) {
            (Some(Urgency::Emergency), _) => Some(Self::Emergency),
            (Some(Urgency::Protection | Urgency::Withdrawal | Urgency::Key) | None, Some(_)) => Some(Self::Ordinary),
            (Some(Urgency::Protection | Urgency::Withdrawal | Urgency::Key) | None, None) => None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Quotas {
    rate: Rate,
    used: BTreeMap<(SpiffeId, Count), Used>,
    sweep_at: usize,
}

impl Quotas {
    pub(crate) fn new(quota: AccessQuota) -> Self {
        let each_us = MINUTE_US.div_ceil(quota.per_minute.get().into());
        let rate = Rate::new(each_us, quota.burst.get().into());
        Self { rate, used: BTreeMap::new(), sweep_at: SWEEP_AT }
    }

    /// Counts a request of an identity.
    ///
    /// # Errors
    /// Milliseconds until there is one left, if there is none; it is not counted then.
    pub(crate) fn take(&mut self, who: &SpiffeId, count: Count, now_ms: u64) -> Result<(), u64> {
        self.sweep(now_ms);
        self.rate.take(self.used.entry((who.clone(), count)).or_default(), 1, now_ms)
    }

    /// Milliseconds that one request uses up.
    pub(crate) fn each_ms(&self) -> u64 {
        self.rate.each_ms()
    }

    fn sweep(&mut self, now_ms: u64) {
        if self.used.len() >= self.sweep_at {
            self.used.retain(|_, used| !used.is_over(now_ms));
            self.sweep_at = SWEEP_AT.max(2 * self.used.len());
        }
    }
}

#[cfg(test)]
mod tests;
