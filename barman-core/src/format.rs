//! How Barman writes numbers, sizes, durations and times. Scripts read these texts, so each is exact, in every locale.

use jiff::Zoned;
use std::time::Duration;

const SIZE_UNITS: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// A number of bytes in the first unit of base 1024 that leaves less than 1024 of it: `0 B`, `1023 B`, `22.2 MiB`.
///
/// Bytes are truncated to an integer, other units have one decimal and never carry (1048575 is `1024.0 KiB`).
#[must_use]
pub fn size(bytes: f64) -> String {
    let mut value = bytes;
    for (power, unit) in SIZE_UNITS.iter().enumerate() {
        if value.abs() < 1024.0 || power + 1 == SIZE_UNITS.len() {
            return if power == 0 {
                format!("{:.0} {unit}", value.trunc() + 0.0)
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    String::new()
}

/// [`size`] of an exact number of bytes.
#[must_use]
pub fn size_of(bytes: u64) -> String {
    // Above 2^53 the loss is far behind the one decimal that is shown.
    size(bytes as f64)
}

/// A duration in words: `1 day, 2 hours, 5 seconds`; zero parts are left out, fractions are cut off.
#[must_use]
pub fn interval(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return "less than one second".to_owned();
    }
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let words: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    words.join(", ")
}

/// [`interval`] of a number of seconds that may lie in the past: ` ago` follows a negative one.
#[must_use]
pub fn signed_interval(seconds: i64) -> String {
    let words = interval(Duration::from_secs(seconds.unsigned_abs()));
    if seconds < 0 {
        format!("{words} ago")
    } else {
        words
    }
}

/// A ratio (1.0 is everything) as a percentage of two decimals: `99.90%`.
#[must_use]
pub fn percentage(ratio: f64) -> String {
    format!("{:.2}%", ratio * 100.0)
}

/// A number of events in an hour: `29.64/hour`.
#[must_use]
pub fn hourly_rate(per_hour: f64) -> String {
    format!("{per_hour:.2}/hour")
}

/// The C library's `ctime` form, in the offset that the value carries: `Sat Jan  3 04:05:06 2026`.
#[must_use]
pub fn ctime(time: &Zoned) -> String {
    barman_catalog::timestamp::ctime(time.datetime())
}

/// Date, time, microseconds unless they are zero, and offset: `2026-11-21 04:59:48.453522+00:00`.
#[must_use]
pub fn timestamp(time: &Zoned) -> String {
    format!("{}{}", naive_timestamp(time), offset(time.offset().seconds()))
}

/// [`timestamp`] without the offset.
#[must_use]
pub fn naive_timestamp(time: &Zoned) -> String {
    let micros = time.subsec_nanosecond() / 1000;
    let fraction = if micros == 0 {
        String::new()
    } else {
        format!(".{micros:06}")
    };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{fraction}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let total = seconds.unsigned_abs();
    let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60);
    if rest == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{rest:02}")
    }
}

/// Seconds since 1970 as the `*_timestamp` members of the JSON documents carry them: a string of a whole number.
#[must_use]
pub fn epoch(time: &Zoned) -> String {
    time.timestamp().as_second().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            (0.0, "0 B"),
            (1.5, "1 B"),
            (-0.5, "0 B"),
            (1023.0, "1023 B"),
            (1024.0, "1.0 KiB"),
            (1_048_575.0, "1024.0 KiB"),
            (1_048_576.0, "1.0 MiB"),
            (23_269_206.0, "22.2 MiB"),
            (-200.0, "-200 B"),
            (-33_554_432.0, "-32.0 MiB"),
            (1024f64.powi(8), "1.0 YiB"),
            (1024f64.powi(9), "1024.0 YiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        assert_eq!(size_of(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn intervals() {
        let table = [
            (0, "less than one second"),
            (999, "less than one second"),
            (1000, "1 second"),
            (1999, "1 second"),
            (61_000, "1 minute, 1 second"),
            (3_600_000, "1 hour"),
            (93_784_000, "1 day, 2 hours, 3 minutes, 4 seconds"),
            (604_800_000, "7 days"),
        ];
        for (millis, text) in table {
            assert_eq!(interval(Duration::from_millis(millis)), text, "{millis}");
        }
    }

    #[test]
    fn intervals_in_the_past() {
        assert_eq!(signed_interval(-3601), "1 hour, 1 second ago");
        assert_eq!(signed_interval(2), "2 seconds");
    }

    #[test]
    fn ratios() {
        assert_eq!(percentage(0.999), "99.90%");
        assert_eq!(percentage(-0.000_001), "-0.00%");
        assert_eq!(hourly_rate(29.638), "29.64/hour");
    }

    #[test]
    fn times() {
        let table = [
            (
                "2026-01-03T04:05:06+00:00[UTC]",
                "Sat Jan  3 04:05:06 2026",
                "2026-01-03 04:05:06+00:00",
                "1767413106",
            ),
            (
                "2026-11-21T04:59:48.453522+00:00[UTC]",
                "Sat Nov 21 04:59:48 2026",
                "2026-11-21 04:59:48.453522+00:00",
                "1795237188",
            ),
            (
                "2026-11-21T04:59:48.0005-05:30[-05:30]",
                "Sat Nov 21 04:59:48 2026",
                "2026-11-21 04:59:48.000500-05:30",
                "1795256988",
            ),
        ];
        for (input, c, stamp, seconds) in table {
            let time: Zoned = input.parse().unwrap();
            assert_eq!(ctime(&time), c);
            assert_eq!(timestamp(&time), stamp);
            assert_eq!(epoch(&time), seconds);
        }
        let naive: Zoned = "2026-11-21T04:59:48.453522+00:00[UTC]".parse().unwrap();
        assert_eq!(naive_timestamp(&naive), "2026-11-21 04:59:48.453522");
    }
}
