//! Texts for people: tables and times.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::context::escaped;

/// A table with aligned columns, two spaces between them. Control characters
/// in cells are made visible.
pub(crate) fn table<R: AsRef<[String]>>(head: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|&h| h.to_owned()).collect()];
    lines.extend(rows.into_iter().map(|row| row.as_ref().iter().map(|cell| escaped(cell)).collect()));
    let width =
        |column: usize| lines.iter().filter_map(|l| l.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A number of things: `1 entry`, `2 entries`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What somebody wrote, below a lead: line by line, so that it can be read, and indented, so that
/// no line of it looks like one of the program's own.
pub(crate) fn quoted(lead: &str, text: &str) -> String {
    let lines = text.lines().map(|line| format!("\n    {}", escaped(line)));
    std::iter::once(format!("{lead}:")).chain(lines).collect()
}

/// How far the times that people are shown are ahead of UTC. Written `+01:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Zone {
    minutes: i16,
}

/// Minutes that a zone may be off, either way.
const ZONE_MINUTES_MAX: i16 = 14 * 60;

impl Zone {
    /// Milliseconds since 1970 as RFC 3339, to the second.
    pub(crate) fn time_ms(self, ms: u64) -> String {
        let offset = UtcOffset::from_whole_seconds(i32::from(self.minutes) * 60).ok();
        let utc = i64::try_from(ms / 1000).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let there = utc.zip(offset).and_then(|(utc, offset)| utc.checked_to_offset(offset));
        there.and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_else(|| time_ms(ms))
    }

    /// The head of a column of times.
    pub(crate) fn head(self, word: &str) -> String {
        format!("{word} ({})", self.name())
    }

    /// `UTC`, or `UTC+01:00`.
    pub(crate) fn name(self) -> String {
        if self.minutes == 0 { "UTC".to_owned() } else { format!("UTC{self}") }
    }
}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.minutes < 0 { '-' } else { '+' };
        let minutes = self.minutes.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl std::str::FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (sign, rest) = match text.split_at_checked(1)? {
                ("+", rest) => (1, rest),
                ("-", rest) => (-1, rest),
                _ => return None,
            };
            let (hours, minutes) = rest.split_once(':').filter(|_| rest.len() == 5 && !rest.contains(['+', '-']))?;
            let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
            let minutes = hours.checked_mul(60)?.checked_add(minutes).filter(|_| minutes < 60)?;
            (minutes <= ZONE_MINUTES_MAX).then_some(Self { minutes: sign * minutes })
        };
        parsed().ok_or_else(|| format!("{text:?} is no offset from UTC such as +01:00 or -05:30"))
    }
}

/// Milliseconds since 1970 as RFC 3339, in UTC and to the second.
pub(crate) fn time_ms(ms: u64) -> String {
    time_s(i64::try_from(ms / 1000).unwrap_or(i64::MAX))
}

/// Seconds since 1970 as RFC 3339, in UTC.
pub(crate) fn time_s(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s since 1970"))
}

#[cfg(test)]
mod tests;
