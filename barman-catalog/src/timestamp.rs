//! The timestamps of `backup.info`: an instant with the UTC offset it was recorded in.
//!
//! Barman records times in the offset of the PostgreSQL session and shows them in it; the offset survives every
//! re-save. Comparisons are of instants, whatever the offsets.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// An instant, to the microsecond, and the UTC offset it is written in.
///
/// ```
/// use barman_catalog::Timestamp;
///
/// let t: Timestamp = "2026-11-21 10:47:40.098727+05:30".parse()?;
/// assert_eq!(t.to_string(), "2026-11-21 10:47:40.098727+05:30");
/// assert_eq!(t.ctime(), "Sat Nov 21 10:47:40 2026");
/// assert_eq!(t.epoch_seconds(), 1795238260);
/// # Ok::<(), barman_catalog::timestamp::TimestampError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Timestamp {
    instant: jiff::Timestamp,
    offset: Offset,
}

/// A text that is no timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a date and time: {text:?}")]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// The instant `instant`, cut to whole microseconds, written with `offset`.
    #[must_use]
    pub fn new(instant: jiff::Timestamp, offset: Offset) -> Self {
        let micros = instant.as_microsecond();
        Self {
            instant: jiff::Timestamp::from_microsecond(micros).unwrap_or(instant),
            offset,
        }
    }

    /// The same instant and offset as `zoned`.
    #[must_use]
    pub fn from_zoned(zoned: &jiff::Zoned) -> Self {
        Self::new(zoned.timestamp(), zoned.offset())
    }

    /// The instant.
    #[must_use]
    pub fn instant(&self) -> jiff::Timestamp {
        self.instant
    }

    /// The UTC offset it is written in.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The wall clock at [`offset`](Self::offset).
    #[must_use]
    pub fn wall_clock(&self) -> DateTime {
        self.offset.to_datetime(self.instant)
    }

    /// Whole seconds since the epoch, fractions cut off toward zero, as Barman's JSON shows them.
    #[must_use]
    pub fn epoch_seconds(&self) -> i64 {
        self.instant.as_microsecond() / 1_000_000
    }

    /// The C library's `ctime` form of the wall clock: `Sat Nov  7 04:58:18 2026`, in English, without the offset.
    #[must_use]
    pub fn ctime(&self) -> String {
        ctime(self.wall_clock())
    }

    /// Reads `text`; a time without a zone is taken in `local`.
    ///
    /// Understood: ISO 8601 with a blank or `T`, the basic form, `ctime` and mail forms, each with `Z`, `UTC`, `GMT`
    /// or a numeric offset, or without zone.
    ///
    /// # Errors
    /// Everything else.
    pub fn parse_in(text: &str, local: &TimeZone) -> Result<Self, TimestampError> {
        let error = || TimestampError {
            text: text.chars().take(80).collect(),
        };
        let (wall, offset) = split(text.trim()).ok_or_else(error)?;
        match offset {
            Some(offset) => {
                let instant = offset.to_timestamp(wall).map_err(|_| error())?;
                Ok(Self::new(instant, offset))
            }
            None => local
                .to_zoned(wall)
                .map(|z| Self::from_zoned(&z))
                .map_err(|_| error()),
        }
    }
}

/// The C library's `ctime` form of a wall clock.
#[must_use]
pub fn ctime(wall: DateTime) -> String {
    let weekday = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let weekday = usize::try_from(wall.date().weekday().to_monday_zero_offset())
        .ok()
        .and_then(|i| weekday.get(i));
    let month = usize::try_from(wall.month() - 1).ok().and_then(|i| MONTHS.get(i));
    format!(
        "{} {} {:>2} {:02}:{:02}:{:02} {}",
        weekday.unwrap_or(&"???"),
        month.unwrap_or(&"???"),
        wall.day(),
        wall.hour(),
        wall.minute(),
        wall.second(),
        wall.year()
    )
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wall = self.wall_clock();
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            wall.year(),
            wall.month(),
            wall.day(),
            wall.hour(),
            wall.minute(),
            wall.second()
        )?;
        let micros = wall.subsec_nanosecond() / 1000;
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        let seconds = self.offset.seconds();
        let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
        write!(f, "{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60)?;
        if seconds % 60 != 0 {
            write!(f, ":{:02}", seconds % 60)?;
        }
        Ok(())
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// As [`Timestamp::parse_in`] with the time zone of this host.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse_in(text, &TimeZone::system())
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.instant == other.instant
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.instant.cmp(&other.instant)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A wall clock and, if it has one, the offset. The words may come in any order that names one date and one time.
fn split(text: &str) -> Option<(DateTime, Option<Offset>)> {
    if text.len() > 64 {
        return None;
    }
    let mut date = None;
    let mut time = None;
    let mut offset = None;
    let (mut day, mut month, mut year) = (None, None, None);
    for word in text.split([' ', ',', '\t']).filter(|w| !w.is_empty()) {
        if let Some((d, t, o)) = iso(word) {
            // One word with date, time or both.
            if (d.is_some() && date.is_some())
                || (t.is_some() && time.is_some())
                || (o.is_some() && offset.is_some())
            {
                return None;
            }
            date = date.or(d);
            time = time.or(t);
            offset = offset.or(o);
        } else if let Some(o) = zone(word).filter(|_| time.is_some() && offset.is_none()) {
            offset = Some(o);
        } else if let Some(m) = month_name(word).filter(|_| month.is_none()) {
            month = Some(m);
        } else if word.bytes().all(|b| b.is_ascii_digit()) {
            match word.len() {
                1 | 2 if day.is_none() => day = Some(word.parse().ok()?),
                4 if year.is_none() => year = Some(word.parse().ok()?),
                _ => return None,
            }
        } else if !is_weekday(word) {
            return None;
        }
    }
    let date = match (date, year, month, day) {
        (Some(date), None, None, None) => date,
        (None, Some(year), Some(month), Some(day)) => Date::new(year, month, day).ok()?,
        _ => return None,
    };
    Some((date.to_datetime(time.unwrap_or(Time::midnight())), offset))
}

type Parts = (Option<Date>, Option<Time>, Option<Offset>);

/// `2026-11-21`, `20261121`, `04:47:28[.f]`, date `T` time, and an offset right after a time.
fn iso(word: &str) -> Option<Parts> {
    if let Some((left, right)) = word.split_once(['T', 't'])
        && let (Some(date), Some((time, offset))) = (iso_date(left), iso_time(right, true))
    {
        return Some((Some(date), Some(time), offset));
    }
    if let Some(date) = iso_date(word) {
        return Some((Some(date), None, None));
    }
    iso_time(word, false).map(|(time, offset)| (None, Some(time), offset))
}

fn iso_date(word: &str) -> Option<Date> {
    let (y, m, d) = if word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit()) {
        (word.get(..4)?, word.get(4..6)?, word.get(6..)?)
    } else {
        let mut parts = word.split(['-', '/']);
        let ymd = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        ymd
    };
    if y.len() != 4 || m.len() > 2 || d.len() > 2 {
        return None;
    }
    Date::new(y.parse().ok()?, m.parse().ok()?, d.parse().ok()?).ok()
}

fn iso_time(word: &str, after_date: bool) -> Option<(Time, Option<Offset>)> {
    let end = word
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.')))
        .unwrap_or(word.len());
    let (clock, rest) = (word.get(..end)?, word.get(end..)?);
    let offset = if rest.is_empty() { None } else { Some(zone(rest)?) };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts: Vec<&str> = clock.split(':').collect();
    if parts.len() == 1 {
        // The basic form is a time only where a date came before it.
        let digits = parts.first().copied()?;
        if !after_date || !matches!(digits.len(), 4 | 6) {
            return None;
        }
        parts = (0..digits.len() / 2)
            .map(|i| digits.get(2 * i..2 * i + 2))
            .collect::<Option<_>>()?;
    }
    if !(2..=3).contains(&parts.len()) || fraction.len() > 9 {
        return None;
    }
    let number = |i: usize| {
        parts
            .get(i)
            .map_or(Some(0), |p: &&str| p.parse::<i8>().ok().filter(|_| p.len() <= 2))
    };
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    let time = Time::new(number(0)?, number(1)?, number(2)?, nanos).ok()?;
    Some((time, offset))
}

fn zone(word: &str) -> Option<Offset> {
    if ["Z", "UTC", "GMT"].iter().any(|z| word.eq_ignore_ascii_case(z)) {
        return Some(Offset::UTC);
    }
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = word.get(1..)?.chars().filter(|&c| c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 2 | 4 | 6) {
        return None;
    }
    let number = |i: usize| digits.get(i..i + 2).map_or(Some(0), |d| d.parse::<i32>().ok());
    let (h, m, s) = (number(0)?, number(2)?, number(4)?);
    if m > 59 || s > 59 {
        return None;
    }
    Offset::from_seconds(sign * (h * 3600 + m * 60 + s)).ok()
}

fn month_name(word: &str) -> Option<i8> {
    let at = MONTHS
        .iter()
        .position(|m| word.get(..3).is_some_and(|w| w.eq_ignore_ascii_case(m)))?;
    i8::try_from(at + 1).ok()
}

fn is_weekday(word: &str) -> bool {
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        .iter()
        .any(|d| word.get(..3).is_some_and(|w| w.eq_ignore_ascii_case(d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Timestamp, TimestampError> {
        Timestamp::parse_in(text, &TimeZone::fixed(Offset::constant(2)))
    }

    #[test]
    fn every_spelling_becomes_the_canonical_one() {
        for (text, canonical) in [
            (
                "2026-11-21 04:47:24.066066+00:00",
                "2026-11-21 04:47:24.066066+00:00",
            ),
            (
                "2026-11-21 10:47:40.098727+05:30",
                "2026-11-21 10:47:40.098727+05:30",
            ),
            (
                "2026-11-21 00:26:53.142063-05:00",
                "2026-11-21 00:26:53.142063-05:00",
            ),
            ("2026-11-21 04:47:24.000000+00:00", "2026-11-21 04:47:24+00:00"),
            ("2026-11-21T04:47:24.5Z", "2026-11-21 04:47:24.500000+00:00"),
            (
                "2026-11-21T04:47:24.5678912+01",
                "2026-11-21 04:47:24.567891+01:00",
            ),
            ("20261121T044724", "2026-11-21 04:47:24+02:00"),
            ("2026-11-21 04:47", "2026-11-21 04:47:00+02:00"),
            ("2026-11-21 04:47:24 +0530", "2026-11-21 04:47:24+05:30"),
            ("Sat Nov 21 04:47:28 2026", "2026-11-21 04:47:28+02:00"),
            ("Sat Nov  7 04:47:28 2026", "2026-11-07 04:47:28+02:00"),
            ("2026-11-21 04:47:28 UTC", "2026-11-21 04:47:28+00:00"),
            ("Sat, 21 Nov 2026 04:47:28 +0000", "2026-11-21 04:47:28+00:00"),
            ("1883-01-01 00:00:00+05:53:28", "1883-01-01 00:00:00+05:53:28"),
        ] {
            assert_eq!(
                parse(text).map(|t| t.to_string()).as_deref(),
                Ok(canonical),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "None",
            "yesterday",
            "04:47:28",
            "2026-13-01 00:00:00+00:00",
            "2026-11-21 25:00:00",
            "2026-11-21 04:47:24+99:00",
            "é",
            "2026-11-21 2026-11-21",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ctime_pads_the_day_with_a_blank() {
        let t = parse("2026-11-01 04:55:39+00:00");
        assert_eq!(t.map(|t| t.ctime()).as_deref(), Ok("Sun Nov  1 04:55:39 2026"));
    }

    #[test]
    fn order_is_that_of_instants() {
        let (a, b) = (
            parse("2026-11-21 10:00:00+05:30"),
            parse("2026-11-21 05:00:00+00:00"),
        );
        assert!(a.unwrap() < b.unwrap());
    }
}
