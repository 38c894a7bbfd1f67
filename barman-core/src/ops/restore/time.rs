//! `--target-time`: free-form time stamps, read by the rules of Python's `dateutil` as `restore.md` 6.2 lists them.
//!
//! A time without a zone is in the zone of this host. The text written into recovery settings is always the
//! normalised one, so that PostgreSQL never has to guess.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::time_fields::{self, Fields, Resolved};

/// A target time: a wall clock and its offset from UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTime {
    /// The wall clock as the user gave it, microsecond resolution.
    pub civil: DateTime,
    /// Its offset.
    pub offset: Offset,
    /// Whether the text named no zone, so that this host's zone was taken.
    pub assumed_local: bool,
    /// A zone name that was not understood, so that this host's zone was taken.
    pub ignored_zone: Option<String>,
    /// Whether day and month could be swapped (`10/11/2026`).
    pub ambiguous_date: bool,
}

impl TargetTime {
    /// The instant. `None` only for times outside of what can be represented.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.offset.to_timestamp(self.civil).ok()
    }
}

impl std::fmt::Display for TargetTime {
    /// `YYYY-MM-DD HH:MM:SS[.ffffff]±HH:MM`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format_civil(self.civil, self.offset))
    }
}

/// A wall clock and offset as Barman writes them everywhere.
#[must_use]
pub fn format_civil(civil: DateTime, offset: Offset) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second()
    );
    let micros = civil.subsec_nanosecond() / 1000;
    if micros != 0 {
        let _ = write!(text, ".{micros:06}");
    }
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let absolute = seconds.unsigned_abs();
    let _ = write!(text, "{sign}{:02}:{:02}", absolute / 3600, absolute / 60 % 60);
    if !absolute.is_multiple_of(60) {
        let _ = write!(text, ":{:02}", absolute % 60);
    }
    text
}

/// An instant shown with the offset it carries, as Barman prints times.
#[must_use]
pub fn format_zoned(time: &Zoned) -> String {
    format_civil(time.datetime(), time.offset())
}

/// Reads a time stamp. `now` gives the fields that are missing (today) and the zone of this host.
///
/// # Errors
///
/// A few words that say what was not understood.
pub fn parse(text: &str, now: &Zoned) -> Result<TargetTime, String> {
    if text.len() > 256 {
        return Err("the text is too long".to_owned());
    }
    time_fields::read(text)?.resolve(now)
}

impl Fields {
    /// Completes what was said by today and this host's zone.
    fn resolve(self, now: &Zoned) -> Result<TargetTime, String> {
        let Resolved {
            year,
            month,
            day,
            ambiguous: ambiguous_date,
        } = self.ymd.resolve()?;
        let nothing = year.is_none() && month.is_none() && day.is_none() && self.hour.is_none();
        if nothing && self.minute.is_none() && self.second.is_none() && self.weekday.is_none() {
            return Err("it contains no date and no time".to_owned());
        }
        let this_year = i32::from(now.year());
        let year = match year {
            None => this_year,
            Some(year) => {
                let year = i32::try_from(year).map_err(|_| "the year is out of range".to_owned())?;
                if year < 100 && !self.ymd.century {
                    near_century(year, this_year)
                } else {
                    year
                }
            }
        };
        let month = month.unwrap_or_else(|| u32::from(now.month().unsigned_abs()));
        // A day that comes from today is cut to what the month has.
        let given_day = day;
        let day =
            day.unwrap_or_else(|| u32::from(now.day().unsigned_abs()).min(time_fields::days_in(year, month)));
        let small = |value: u32, what: &str| {
            i8::try_from(value).map_err(|_| format!("the {what} {value} is out of range"))
        };
        let year = i16::try_from(year)
            .ok()
            .filter(|year| *year >= 1)
            .ok_or_else(|| format!("the year {year} is out of range"))?;
        let mut date = Date::new(year, small(month, "month")?, small(day, "day")?)
            .map_err(|_| format!("there is no day {year:04}-{month:02}-{day:02}"))?;
        if let (Some(weekday), None) = (self.weekday, given_day) {
            while date.weekday() != weekday {
                date = date
                    .tomorrow()
                    .map_err(|_| "the date is out of range".to_owned())?;
            }
        }
        let (hour, minute, second) = (
            self.hour.unwrap_or(0),
            self.minute.unwrap_or(0),
            self.second.unwrap_or(0),
        );
        if hour > 23 || minute > 59 || second > 59 {
            return Err(format!("there is no time {hour:02}:{minute:02}:{second:02}"));
        }
        let nanos = i32::try_from(self.micros.unwrap_or(0))
            .unwrap_or(0)
            .saturating_mul(1000);
        let time = Time::new(
            small(hour, "hour")?,
            small(minute, "minute")?,
            small(second, "second")?,
            nanos,
        )
        .map_err(|error| error.to_string())?;
        let civil = DateTime::from_parts(date, time);

        let zone = now.time_zone();
        let local_name = self
            .zone
            .as_deref()
            .is_some_and(|name| local_names(zone, now).iter().any(|own| own == name));
        let explicit = match self.offset {
            _ if local_name => None,
            Some(seconds) => Some(
                Offset::from_seconds(seconds)
                    .map_err(|_| "the offset from UTC is out of range".to_owned())?,
            ),
            None => None,
        };
        let (offset, assumed_local) = match explicit {
            Some(offset) => (offset, false),
            None => (local_offset(zone, civil), !local_name),
        };
        let ignored_zone = if assumed_local { self.zone } else { None };
        Ok(TargetTime {
            civil,
            offset,
            assumed_local,
            ignored_zone,
            ambiguous_date,
        })
    }
}

/// The year with these last two digits that is nearest to `this_year`.
fn near_century(year: i32, this_year: i32) -> i32 {
    let year = year + this_year / 100 * 100;
    if year >= this_year + 50 {
        year - 100
    } else if year < this_year - 50 {
        year + 100
    } else {
        year
    }
}

/// The names of the zone of this host, winter and summer (`CET`, `CEST`).
fn local_names(zone: &TimeZone, now: &Zoned) -> Vec<String> {
    let year = now.year();
    [1, 7]
        .into_iter()
        .filter_map(|month| Date::new(year, month, 1).ok())
        .filter_map(|date| zone.to_timestamp(date.at(12, 0, 0, 0)).ok())
        .map(|instant| zone.to_offset_info(instant).abbreviation().to_owned())
        .collect()
}

/// The offset of a local wall clock: in a gap and in an overlap that of summer.
fn local_offset(zone: &TimeZone, civil: DateTime) -> Offset {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { before, after } => before.max(after),
        AmbiguousOffset::Fold { before, .. } => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, zone: &str) -> String {
        let now: Zoned = format!("2026-11-21T09:00:00[{zone}]").parse().unwrap();
        match parse(text, &now) {
            Ok(time) => {
                let mut shown = time.to_string();
                if time.assumed_local {
                    shown += " local";
                }
                if let Some(zone) = &time.ignored_zone {
                    shown = format!("{shown} ignored {zone}");
                }
                if time.ambiguous_date {
                    shown += " ambiguous";
                }
                shown
            }
            Err(_) => "error".to_owned(),
        }
    }

    #[test]
    fn reads_what_dateutil_reads() {
        let table = [
            ("2026-11-21 04:49:20", "2026-11-21 04:49:20+00:00 local"),
            ("2026-11-21T04:49:20", "2026-11-21 04:49:20+00:00 local"),
            ("20261121T044920", "2026-11-21 04:49:20+00:00 local"),
            ("20261121044920", "2026-11-21 04:49:20+00:00 local"),
            ("2026-11-21 04:49:20.5", "2026-11-21 04:49:20.500000+00:00 local"),
            (
                "2026-11-21 04:49:20.372148",
                "2026-11-21 04:49:20.372148+00:00 local",
            ),
            (
                "2026-11-21 04:49:20,123456789",
                "2026-11-21 04:49:20.123456+00:00 local",
            ),
            ("2026-11-21 04:49:20Z", "2026-11-21 04:49:20+00:00"),
            ("2026-11-21T04:49:20z", "2026-11-21 04:49:20+00:00"),
            ("2026-11-21 04:49:20 UTC", "2026-11-21 04:49:20+00:00"),
            ("2026-11-21 04:49:20+00", "2026-11-21 04:49:20+00:00"),
            ("2026-11-21 04:49:20+0530", "2026-11-21 04:49:20+05:30"),
            ("2026-11-21 04:49:20+05:30", "2026-11-21 04:49:20+05:30"),
            (
                "2026-11-21 04:49:20.372148+00:00",
                "2026-11-21 04:49:20.372148+00:00",
            ),
            ("2026-11-21 04:49:20 +3", "2026-11-21 04:49:20+03:00"),
            ("2026-11-21 04:49:20-03", "2026-11-21 04:49:20-03:00"),
            ("2026-11-21 04:49:20 -0300 (BRST)", "2026-11-21 04:49:20-03:00"),
            ("2026-11-21 04:49:20 GMT+3", "2026-11-21 04:49:20-03:00"),
            (
                "2026-11-21 04:49:20 EST",
                "2026-11-21 04:49:20+00:00 local ignored EST",
            ),
            ("Nov 21 2026 5pm", "2026-11-21 17:00:00+00:00 local"),
            ("21 November 2026 05:00", "2026-11-21 05:00:00+00:00 local"),
            ("Sat Nov 21 04:49:18 2026", "2026-11-21 04:49:18+00:00 local"),
            ("21-Nov-2026 05:00", "2026-11-21 05:00:00+00:00 local"),
            ("2026-11-21", "2026-11-21 00:00:00+00:00 local"),
            ("10:30", "2026-11-21 10:30:00+00:00 local"),
            ("10pm", "2026-11-21 22:00:00+00:00 local"),
            ("12 am", "2026-11-21 00:00:00+00:00 local"),
            ("10h30m", "2026-11-21 10:30:00+00:00 local"),
            ("2026-11", "2026-11-21 00:00:00+00:00 local"),
            ("12", "2026-11-12 00:00:00+00:00 local"),
            ("10/11/2026", "2026-10-11 00:00:00+00:00 local ambiguous"),
            ("10-11-12", "2012-10-11 00:00:00+00:00 local ambiguous"),
            ("21/11/2026", "2026-11-21 00:00:00+00:00 local"),
            ("  2026-11-21 05:00  ", "2026-11-21 05:00:00+00:00 local"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text, "UTC"), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "now",
            "yesterday",
            "1795236558",
            "@1795236558",
            "2026-11-21 04:49:20 Europe/Rome",
            "2026-W47-6",
            "2026-11-21 24:00:00",
            "2026-11-21 04:49:60",
            "2026-02-30",
            "2026-13-45",
            "99999999999999999999",
            "1 2 3 4 5",
            "2026-11-21 10:00 +",
            "é",
            "2026-11-21 10:00 +999999999999",
        ] {
            assert_eq!(read(text, "UTC"), "error", "{text}");
        }
    }

    #[test]
    fn the_zone_of_the_host_counts_when_none_is_given() {
        let table = [
            ("2026-07-01 10:00", "2026-07-01 10:00:00+02:00 local"),
            ("2026-01-01 10:00 CET", "2026-01-01 10:00:00+01:00"),
            (
                "2026-07-01 10:00 EST",
                "2026-07-01 10:00:00+02:00 local ignored EST",
            ),
            // A wall clock that does not exist, and one that exists twice.
            ("2026-03-29 02:30", "2026-03-29 02:30:00+02:00 local"),
            ("2026-10-25 02:30", "2026-10-25 02:30:00+02:00 local"),
            ("2026-07-01 10:00 UTC", "2026-07-01 10:00:00+00:00"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text, "Europe/Berlin"), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = read(&text, "Europe/Berlin");
        }

        #[test]
        fn digits_and_signs_never_panic(text in "[0-9a-zA-Z:+./, -]{0,30}") {
            let _ = read(&text, "UTC");
        }
    }
}
