//! The clocks of a node. The wall clock may jump and is for block times, alarms
//! and certificates; the monotonic one is for everything that waits.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use consilium_proto::ids::TimeMs;

/// The wall clock.
#[must_use]
pub fn now_ms() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The wall clock in seconds, for certificates of identity.
#[must_use]
pub fn now_s() -> i64 {
    i64::try_from(now_ms().0 / 1_000).unwrap_or(i64::MAX)
}

/// Both clocks, the monotonic one in milliseconds since it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    began: Instant,
}

impl Clocks {
    /// Begins at zero.
    #[must_use]
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Both, as a replica wants them.
    #[must_use]
    pub fn read(&self) -> consilium_replica::Clock {
        consilium_replica::Clock { wall: now_ms(), monotonic_ms: self.monotonic_ms() }
    }
}

/// Measures a stage into a histogram.
pub(crate) fn record_seconds(name: &'static str, since: Instant) {
    metrics::histogram!(name).record(since.elapsed().as_secs_f64());
}
