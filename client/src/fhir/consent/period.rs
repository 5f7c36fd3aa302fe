//! Times and periods of FHIR as times of blocks.
//!
//! A FHIR date may be a year, a month or a day, and then has no time zone. It is read over
//! all zones that are in use, UTC-12 to UTC+14: what a permit gets is what holds in every
//! zone, what a denial gets is what holds in one. Both ends of a Period are inclusive, an
//! end `2012-02-03` includes all of that day
//! (<https://hl7.org/fhir/R4/datatypes.html#Period>); a grant's end is exclusive.

use consilium_proto::consent::Period;
use consilium_proto::ids::TimeMs;
use time::{Date, Month};

use super::node::Node;
use super::{ConsentProblem, Gap, Problem};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A place's clock is at most this far behind and ahead of UTC.
const BEHIND_MS: i64 = 12 * HOUR_MS;
const AHEAD_MS: i64 = 14 * HOUR_MS;

/// What a text of a time covers, in milliseconds since 1970: whole milliseconds from the
/// first, up to but without the second; local where it has no zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: i64,
    to: i64,
    zoned: bool,
}

/// A Period, read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Periods {
    /// What is in it in every zone; none if that is empty.
    pub(super) narrow: Option<Period>,
    /// What is in it in some zone.
    pub(super) wide: Period,
}

impl Periods {
    pub(super) const ALWAYS: Self = {
        let always = Period { from: TimeMs(0), to: TimeMs(0) };
        Self { narrow: Some(always), wide: always }
    };

    /// The time zone makes a difference.
    pub(super) fn vague(&self) -> bool {
        self.narrow != Some(self.wide)
    }
}

/// `dateTime` of a Consent: its first moment, in UTC where it has no zone.
pub(super) fn moment(node: &Node<'_>) -> Result<u64, ConsentProblem> {
    let span = span(node.text()?).ok_or_else(|| node.problem(Problem::Time))?;
    Ok(u64::try_from(span.from).unwrap_or(0))
}

/// Reads a Period.
pub(super) fn periods(node: &Node<'_>) -> Result<Periods, ConsentProblem> {
    node.only(&["id", "start", "end"])?;
    let read = |key| -> Result<Option<Span>, ConsentProblem> {
        let Some(node) = node.get(key)? else { return Ok(None) };
        span(node.text()?).map(Some).ok_or_else(|| node.problem(Problem::Time))
    };
    let (start, end) = (read("start")?, read("end")?);
    if let (Some(start), Some(end)) = (start, end)
        && start.zoned == end.zoned
        && end.to <= start.from
    {
        return Err(node.problem(Problem::Backwards));
    }
    let shifted = |time: i64, span: &Span, by: i64| if span.zoned { time } else { time + by };
    let wide = period(start.map(|s| shifted(s.from, &s, -AHEAD_MS)), end.map(|e| shifted(e.to, &e, BEHIND_MS)));
    let narrow = period(start.map(|s| shifted(s.from, &s, BEHIND_MS)), end.map(|e| shifted(e.to, &e, -AHEAD_MS)));
    let wide = wide.ok_or_else(|| node.problem(Problem::Backwards))?;
    Ok(Periods { narrow, wide })
}

/// Nothing is before 1970: what ended then is over in the first millisecond.
fn period(from: Option<i64>, to: Option<i64>) -> Option<Period> {
    if from.zip(to).is_some_and(|(from, to)| to <= from) {
        return None;
    }
    let to = to.map_or(0, |to| u64::try_from(to).unwrap_or(0).max(1));
    let from = from.map_or(0, |from| u64::try_from(from).unwrap_or(0));
    Some(Period { from: TimeMs(from), to: TimeMs(to) })
}

/// What is in both, if anything is.
pub(super) fn both(a: Period, b: Period) -> Option<Period> {
    let from = a.from.max(b.from);
    let to = match (a.to.0, b.to.0) {
        (0, to) | (to, 0) => to,
        (a, b) => a.min(b),
    };
    (to == 0 || to > from.0).then_some(Period { from, to: TimeMs(to) })
}

/// R4's `dateTime`: `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or `YYYY-MM-DDThh:mm:ss[.s+]` and a zone.
fn span(text: &str) -> Option<Span> {
    if !text.is_ascii() {
        return None;
    }
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let (first, after) = days(date)?;
    match time {
        None => Some(Span { from: first, to: after, zoned: false }),
        Some(time) if date.len() == 10 => clock(first, time),
        Some(_) => None,
    }
}

/// First millisecond of a year, month or day, and of the next one.
fn days(text: &str) -> Option<(i64, i64)> {
    let part = |range: std::ops::Range<usize>| digits(text.get(range)?);
    let year = i32::try_from(part(0..4)?).ok().filter(|year| *year > 0)?;
    let dashes = |places: &[usize]| places.iter().all(|place| text.as_bytes().get(*place) == Some(&b'-'));
    let first_of = |year: i32, month: u32| {
        let (year, month) = if month > 12 { (year + 1, 1) } else { (year, month) };
        if year > 9999 { Some(Date::MAX) } else { date(year, month, 1) }
    };
    match text.len() {
        4 => Some((start_ms(date(year, 1, 1)?), start_ms(first_of(year + 1, 1)?))),
        7 if dashes(&[4]) => {
            let month = u32::try_from(part(5..7)?).ok()?;
            Some((start_ms(date(year, month, 1)?), start_ms(first_of(year, month + 1)?)))
        }
        10 if dashes(&[4, 7]) => {
            let day = date(year, u32::try_from(part(5..7)?).ok()?, u8::try_from(part(8..10)?).ok()?)?;
            Some((start_ms(day), start_ms(day) + DAY_MS))
        }
        _ => None,
    }
}

fn date(year: i32, month: u32, day: u8) -> Option<Date> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(year, month, day).ok()
}

fn start_ms(date: Date) -> i64 {
    date.midnight().assume_utc().unix_timestamp() * 1000
}

/// `hh:mm:ss[.s+]` and a zone. A leap second is the second after it.
fn clock(midnight: i64, text: &str) -> Option<Span> {
    let two = |at: usize, max: i64| digits(text.get(at..at + 2)?).filter(|n| *n <= max);
    if text.as_bytes().get(2) != Some(&b':') || text.as_bytes().get(5) != Some(&b':') {
        return None;
    }
    let seconds = two(0, 23)? * 3600 + two(3, 59)? * 60 + two(6, 60)?;
    let rest = text.get(8..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    if fraction.is_empty() && rest.starts_with('.') {
        return None;
    }
    let at = midnight + seconds * 1000 - zone_ms(zone)?;
    let (from, to) = fraction_ms(fraction)?;
    Some(Span { from: at + from, to: at + to, zoned: true })
}

/// Whole milliseconds of a second that a fraction covers. Of one that is finer than that: from
/// the next one on, up to and with the one it lies in.
fn fraction_ms(fraction: &str) -> Option<(i64, i64)> {
    let (coarse, fine) = fraction.split_at_checked(3).unwrap_or((fraction, ""));
    let (unit, value) = match coarse.len() {
        0 => (1000, 0),
        1 => (100, digits(coarse)?),
        2 => (10, digits(coarse)?),
        _ => (1, digits(coarse)?),
    };
    let between = i64::from(fine.bytes().any(|b| b != b'0'));
    Some((value * unit + between, (value + 1) * unit))
}

fn zone_ms(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let two = |text: &str, max: i64| digits(text).filter(|n| text.len() == 2 && *n <= max);
    let (hours, minutes) = (two(hours, 14)?, two(minutes, 59)?);
    (hours < 14 || minutes == 0).then_some(sign * (hours * HOUR_MS + minutes * 60_000))
}

fn digits(text: &str) -> Option<i64> {
    let all = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.bytes().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
}

/// The period of a permit: what holds in every zone.
pub(super) fn of_permit(node: &Node<'_>) -> Result<Period, ConsentProblem> {
    periods(node)?.narrow.ok_or_else(|| node.gap(Gap::EmptyPeriod))
}

#[cfg(test)]
mod tests;
