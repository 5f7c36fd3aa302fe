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
    /// Time that one request uses up.
    each_us: u64,
    /// Time that may be used up ahead.
    ahead_us: u64,
    /// When what an identity has used up will be over.
    used_until_us: BTreeMap<(SpiffeId, Count), u64>,
    sweep_at: usize,
}

impl Quotas {
    pub(crate) fn new(quota: AccessQuota) -> Self {
        let each_us = MINUTE_US.div_ceil(quota.per_minute.get().into());
        let ahead_us = each_us.saturating_mul(quota.burst.get().into());
        Self { each_us, ahead_us, used_until_us: BTreeMap::new(), sweep_at: SWEEP_AT }
    }

    /// Counts a request of an identity.
    ///
    /// # Errors
    /// Milliseconds until there is one left, if there is none; it is not counted then.
    pub(crate) fn take(&mut self, who: &SpiffeId, count: Count, now_ms: u64) -> Result<(), u64> {
        let now_us = now_ms.saturating_mul(1_000);
        self.sweep(now_us);
        let used_until = self.used_until_us.entry((who.clone(), count)).or_default();
        let used = used_until.saturating_sub(now_us) + self.each_us;
        if used > self.ahead_us {
            return Err((used - self.ahead_us).div_ceil(1_000));
        }
        *used_until = now_us + used;
        Ok(())
    }

    /// Milliseconds that one request uses up.
    pub(crate) fn each_ms(&self) -> u64 {
        self.each_us.div_ceil(1_000)
    }

    fn sweep(&mut self, now_us: u64) {
        if self.used_until_us.len() >= self.sweep_at {
            self.used_until_us.retain(|_, used_until| *used_until > now_us);
            self.sweep_at = SWEEP_AT.max(2 * self.used_until_us.len());
        }
    }
}

#[cfg(test)]
mod tests;
