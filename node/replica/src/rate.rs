//! How often something may be done: a long-run rate, and as much at once as was left unused.
//! Kept as one number of each who is counted, by the generic cell rate algorithm (ITU-T I.371).

/// How often, in the long run and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Time that one use takes, in microseconds.
    each_us: u64,
    /// Time that may be used ahead, in microseconds.
    ahead_us: u64,
}

/// When what somebody has used will be over, in microseconds of the caller's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used(u64);

impl Rate {
    /// One use takes `each_us` microseconds, and `burst` of them may be made at once.
    pub(crate) const fn new(each_us: u64, burst: u64) -> Self {
        Self { each_us, ahead_us: each_us.saturating_mul(burst) }
    }

    /// Counts `uses` at once. More than the burst is never allowed.
    ///
    /// # Errors
    /// Milliseconds until they would be allowed, if they are not; they are not counted then.
    pub(crate) fn take(&self, used: &mut Used, uses: u64, now_ms: u64) -> Result<(), u64> {
        let now_us = now_ms.saturating_mul(1_000);
        let ahead_us = used.0.saturating_sub(now_us).saturating_add(self.each_us.saturating_mul(uses));
        if ahead_us > self.ahead_us {
            return Err((ahead_us - self.ahead_us).div_ceil(1_000));
        }
        used.0 = now_us.saturating_add(ahead_us);
        Ok(())
    }

    /// Whether one use is left.
    pub(crate) fn is_left(&self, used: Used, now_ms: u64) -> bool {
        let ahead_us = used.0.saturating_sub(now_ms.saturating_mul(1_000));
        ahead_us.saturating_add(self.each_us) <= self.ahead_us
    }

    /// Milliseconds that one use takes.
    pub(crate) fn each_ms(&self) -> u64 {
        self.each_us.div_ceil(1_000)
    }
}

impl Used {
    /// Whether everything is left again.
    pub(crate) fn is_over(self, now_ms: u64) -> bool {
        self.0 <= now_ms.saturating_mul(1_000)
    }
}
