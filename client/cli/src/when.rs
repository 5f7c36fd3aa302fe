//! Durations and points in time, as people write them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Parses `90s`, `30m`, `1d12h` into milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let problem = || format!("{text:?} is no duration such as 30m, 12h or 7d");
    let mut rest = text;
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(problem)?;
        let number: u64 = rest[..digits].parse().map_err(|_| problem())?;
        let unit_ms = match rest[digits..].chars().next() {
            Some('s') => 1_000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => 86_400_000,
            Some(_) | None => return Err(problem()),
        };
        total = number.checked_mul(unit_ms).and_then(|ms| total.checked_add(ms)).ok_or_else(problem)?;
        rest = &rest[digits + 1..];
    }
    if total == 0 { Err(problem()) } else { Ok(total) }
}

/// A point in time: absolute, or from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Milliseconds since 1970.
    At(u64),
    /// Milliseconds from now.
    In(u64),
}

impl When {
    /// Milliseconds since 1970.
    pub(crate) fn resolve(self, now_ms: u64) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::In(ms) => now_ms.saturating_add(ms),
        }
    }
}

/// Parses RFC 3339 (`2026-11-21T22:00:00Z`), or a duration from now (`+30m`).
pub(crate) fn when(text: &str) -> Result<When, String> {
    if let Some(duration) = text.strip_prefix('+') {
        return duration_ms(duration).map(When::In);
    }
    let at = OffsetDateTime::parse(text, &Rfc3339);
    let ms = at.ok().and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    if ms == Some(0) {
        return Err("1970 itself stands for no time at all here".to_owned());
    }
    ms.map(When::At).ok_or_else(|| format!("{text:?} is no time such as 2026-11-21T22:00:00Z or +30m"))
}

#[cfg(test)]
mod tests;
