//! What needs attention, by stable name: for status and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use consilium_proto::ids::TimeMs;

use crate::clock::now_ms;

/// Raised alarms.
#[derive(Debug, Default)]
pub struct Alarms(Mutex<BTreeMap<&'static str, RaisedAlarm>>);

/// One alarm.
#[derive(Debug, Clone)]
pub struct RaisedAlarm {
    /// What is wrong and what to do.
    pub message: String,
    /// Since when.
    pub since: TimeMs,
}

impl Alarms {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, RaisedAlarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises an alarm, or keeps it raised.
    pub fn raise(&self, name: &'static str, message: String) {
        let mut alarms = self.lock();
        if !alarms.contains_key(name) {
            tracing::error!(alarm = name, message, "alarm raised");
            metrics::gauge!("consilium_alarm", "name" => name).set(1.0);
        }
        let since = alarms.get(name).map_or_else(now_ms, |a| a.since);
        alarms.insert(name, RaisedAlarm { message, since });
    }

    /// Clears an alarm.
    pub fn clear(&self, name: &'static str) {
        if self.lock().remove(name).is_some() {
            tracing::info!(alarm = name, "alarm cleared");
            metrics::gauge!("consilium_alarm", "name" => name).set(0.0);
        }
    }

    /// All raised alarms.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static str, RaisedAlarm)> {
        self.lock().iter().map(|(name, alarm)| (*name, alarm.clone())).collect()
    }
}
