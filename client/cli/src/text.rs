//! Texts for people: tables and times.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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
