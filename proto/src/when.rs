//! Points in time as people read them: RFC 3339, in UTC. Whatever is shown to a person says a time
//! this way; milliseconds and seconds since 1970 are for messages and for programs.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ids::TimeMs;

const NANOS_PER_MS: i128 = 1_000_000;
const MS_PER_S: i128 = 1_000;

/// Shows a point in time: `2026-11-21T22:00:00Z`, with as many decimals of a second as it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc {
    /// Since 1970.
    ms: i128,
}

/// Of seconds since 1970, as certificates have them.
#[must_use]
pub fn utc_s(seconds: i64) -> Utc {
    Utc { ms: i128::from(seconds) * MS_PER_S }
}

/// Of milliseconds since 1970.
#[must_use]
pub fn utc_ms(ms: u64) -> Utc {
    Utc { ms: ms.into() }
}

impl TimeMs {
    /// As people read it.
    #[must_use]
    pub fn utc(self) -> Utc {
        utc_ms(self.0)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(self.ms.saturating_mul(NANOS_PER_MS)).ok();
        match time.and_then(|time| time.format(&Rfc3339).ok()) {
            Some(text) => f.write_str(&text),
            // No calendar of four digits has it.
            None => write!(f, "{} s after 1970", self.ms / MS_PER_S),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_and_those_beyond_any_calendar_are_told_too() {
        for (time, text) in [
            (utc_ms(0), "1970-01-01T00:00:00Z"),
            (utc_ms(1_500), "1970-01-01T00:00:01.5Z"),
            (TimeMs(1_795_939_200_000).utc(), "2026-11-29T08:00:00Z"),
            (utc_s(1_709_208_000), "2024-02-29T12:00:00Z"),
            (utc_s(-1), "1969-12-31T23:59:59Z"),
            (utc_s(i64::MAX), "9223372036854775807 s after 1970"),
            (utc_ms(u64::MAX), "18446744073709551 s after 1970"),
        ] {
            assert_eq!(time.to_string(), text);
        }
    }
}
