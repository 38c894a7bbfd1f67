//! Points in time as the WAL has them.

use std::fmt;

/// From 1970-01-01 to 2000-01-01, seconds.
const EPOCH: i64 = 946_684_800;
const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// Microseconds since 2000-01-01 00:00 UTC (PostgreSQL, `TimestampTz`). Shows itself in UTC:
/// `2026-11-21 16:45:51.123456 UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalTime(pub i64);

impl WalTime {
    /// Microseconds since 1970-01-01 00:00 UTC; `None` beyond what 64 bits hold.
    #[must_use]
    pub fn unix_micros(self) -> Option<i64> {
        self.0.checked_add(EPOCH * MICROS)
    }

    /// The time so many microseconds after 1970-01-01 00:00 UTC; `None` beyond what 64 bits hold.
    #[must_use]
    pub fn from_unix_micros(micros: i64) -> Option<Self> {
        micros.checked_sub(EPOCH * MICROS).map(Self)
    }

    /// The time so many seconds after 1970-01-01 00:00 UTC (`pg_time_t`).
    pub(super) fn from_unix_seconds(seconds: i64) -> Option<Self> {
        Self::from_unix_micros(seconds.checked_mul(MICROS)?)
    }
}

impl fmt::Display for WalTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(MICROS);
        let micros = self.0.rem_euclid(MICROS);
        let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil(day);
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{micros:06} UTC",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// Year, month and day of the day that is `days` after 2000-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years that begin on March 1st end with the leap day. 2000-03-01 begins a cycle of 400 such years.
    let days = days - 60;
    let cycle = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on: 31, 30, 31, 30, 31, 31, ... days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (2000 + 400 * cycle + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_in_utc() {
        for (unix, text) in [
            (0, "1970-01-01 00:00:00.000000 UTC"),
            (946_684_800_000_000, "2000-01-01 00:00:00.000000 UTC"),
            (951_782_400_000_000, "2000-02-29 00:00:00.000000 UTC"),
            (951_868_799_999_999, "2000-02-29 23:59:59.999999 UTC"),
            (1_709_164_800_000_000, "2024-02-29 00:00:00.000000 UTC"),
            (1_795_279_551_123_456, "2026-11-21 16:45:51.123456 UTC"),
            (4_107_542_400_000_000, "2100-03-01 00:00:00.000000 UTC"),
            (-1, "1969-12-31 23:59:59.999999 UTC"),
        ] {
            let time = WalTime::from_unix_micros(unix).unwrap();
            assert_eq!(
                (time.to_string().as_str(), time.unix_micros()),
                (text, Some(unix))
            );
        }
        assert_eq!(WalTime::from_unix_micros(i64::MIN), None);
        assert_eq!(WalTime(i64::MAX).unix_micros(), None);
        assert!(!WalTime(i64::MAX).to_string().is_empty() && !WalTime(i64::MIN).to_string().is_empty());
    }
}
