//! Dates and times of R4: real days of the calendar, at the precision they are given in.

use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

/// Hours by which a day without a zone may lie from the same day in UTC.
const ZONE_HOURS_MAX: i64 = 14;
const SECONDS_PER_HOUR: i64 = 3600;

/// What a partial date or a time may mean: seconds since 1970, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    earliest: i64,
    latest: i64,
    zoned: bool,
}

impl Moment {
    /// Whether it lies after another one, whatever either means.
    pub(super) fn is_after(self, other: Self) -> bool {
        let slack = if self.zoned == other.zoned { 0 } else { ZONE_HOURS_MAX * SECONDS_PER_HOUR };
        self.earliest > other.latest + slack
    }
}

/// A date or a dateTime or an instant.
pub(super) fn moment(text: &str) -> Option<Moment> {
    date(text).or_else(|| instant(text))
}

/// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
pub(super) fn date(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let year = i32::try_from(digits(bytes.get(..4)?)?).ok().filter(|y| *y > 0)?;
    let (first, last) = match bytes.len() {
        4 => (day(year, 1, 1)?, day(year, 12, 31)?),
        7 => {
            let month = month_of(bytes)?;
            (day(year, month, 1)?, day(year, month, Month::try_from(month).ok()?.length(year))?)
        }
        10 => {
            let day = whole_day(bytes)?;
            (day, day)
        }
        _ => return None,
    };
    let (first, last) = (first.midnight().assume_utc(), last.with_hms(23, 59, 59).ok()?.assume_utc());
    Some(Moment { earliest: first.unix_timestamp(), latest: last.unix_timestamp(), zoned: false })
}

/// `YYYY-MM-DDThh:mm:ss[.fff](Z|+hh:mm|-hh:mm)`.
pub(super) fn instant(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let date = whole_day(bytes.get(..10)?)?;
    if bytes.get(10) != Some(&b'T') {
        return None;
    }
    let rest = text.get(11..)?;
    let zone_at = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let at = PrimitiveDateTime::new(date, time(clock)?).assume_offset(offset(zone)?).unix_timestamp();
    Some(Moment { earliest: at, latest: at, zoned: true })
}

/// `hh:mm:ss[.fff]`.
pub(super) fn is_time(text: &str) -> bool {
    time(text).is_some()
}

fn time(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    let (clock, fraction) = (bytes.get(..8)?, bytes.get(8..)?);
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *clock else { return None };
    let fraction_fits = match fraction {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let two = |a, b| digits(&[a, b]).and_then(|n| u8::try_from(n).ok());
    // R4 allows the leap second; its time of day is the one before.
    let second = two(s1, s2).filter(|s| *s <= 60)?.min(59);
    let time = Time::from_hms(two(h1, h2)?, two(m1, m2)?, second).ok()?;
    fraction_fits.then_some(time)
}

fn offset(text: &str) -> Option<UtcOffset> {
    let [sign, h1, h2, b':', m1, m2] = *text.as_bytes() else {
        return (text == "Z").then_some(UtcOffset::UTC);
    };
    let two = |a, b| digits(&[a, b]).and_then(|n| i8::try_from(n).ok());
    let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
    let within = i64::from(hours) < ZONE_HOURS_MAX || (i64::from(hours) == ZONE_HOURS_MAX && minutes == 0);
    match sign {
        _ if !within => None,
        b'+' => UtcOffset::from_hms(hours, minutes, 0).ok(),
        b'-' => UtcOffset::from_hms(-hours, -minutes, 0).ok(),
        _ => None,
    }
}

fn whole_day(bytes: &[u8]) -> Option<Date> {
    let year = i32::try_from(digits(bytes.get(..4)?)?).ok().filter(|y| *y > 0)?;
    let number = u8::try_from(digits(bytes.get(8..10)?)?).ok()?;
    if bytes.len() != 10 || bytes.get(7) != Some(&b'-') {
        return None;
    }
    day(year, month_of(bytes)?, number)
}

fn month_of(bytes: &[u8]) -> Option<u8> {
    (bytes.get(4) == Some(&b'-')).then_some(())?;
    u8::try_from(digits(bytes.get(5..7)?)?).ok().filter(|m| (1..=12).contains(m))
}

fn day(year: i32, month: u8, day: u8) -> Option<Date> {
    Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}
