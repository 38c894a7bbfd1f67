//! PostgreSQL's version number.

use std::fmt;

/// A server version as `server_version_num` gives it: `150018` is 15.18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct PgVersion(pub u32);

impl PgVersion {
    /// The oldest server that is supported: PostgreSQL 10.
    pub const MINIMUM: Self = Self(100_000);

    /// The major version, 10 or more for every supported server.
    #[must_use]
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }

    /// The minor version: 18 of 15.18.
    #[must_use]
    pub fn minor(self) -> u32 {
        self.0 % 100
    }

    /// Whether the server is of this major release or newer.
    #[must_use]
    pub fn at_least(self, major: u32) -> bool {
        self.major() >= major
    }

    /// Reads the `server_version` parameter that every server reports at connect time: `15.18 (Debian ...)`,
    /// `18beta1`, `9.6.24`. The minor number of a development version is 0.
    #[must_use]
    pub fn from_report(text: &str) -> Option<Self> {
        let word = text.split_whitespace().next()?;
        let digits = |part: &str| -> Option<u32> {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..end).filter(|d| !d.is_empty())?.parse().ok()
        };
        let mut parts = word.split('.');
        let major = digits(parts.next()?)?;
        let second = parts.next().and_then(digits).unwrap_or(0);
        let number = if major >= 10 {
            major.checked_mul(10_000)?.checked_add(second)?
        } else {
            let third = parts.next().and_then(digits).unwrap_or(0);
            major
                .checked_mul(10_000)?
                .checked_add(second.checked_mul(100)?)?
                .checked_add(third)?
        };
        Some(Self(number))
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 100_000 {
            write!(f, "{}.{}", self.major(), self.minor())
        } else {
            write!(f, "{}.{}.{}", self.0 / 10_000, self.0 / 100 % 100, self.0 % 100)
        }
    }
}

/// The major version of a textual one, by Barman's rule: the text without its last dotted component, which is first
/// cut at its first non-digit (`15.18` is `15`, `18beta1` is `18`, `9.6.24` is `9.6`, `15` alone is empty).
#[must_use]
pub fn major_of_text(version: &str) -> String {
    let mut parts: Vec<&str> = version.split('.').collect();
    let last = parts.pop().unwrap_or("");
    if let Some(cut) = last.find(|c: char| !c.is_ascii_digit()) {
        parts.push(last.get(..cut).unwrap_or(""));
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_report_and_shown_as_barman_does() {
        for (report, number, text) in [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018, "15.18"),
            ("18beta1", 180_000, "18.0"),
            ("9.6.24", 90_624, "9.6.24"),
            ("10.23", 100_023, "10.23"),
        ] {
            let version = PgVersion::from_report(report).unwrap();
            assert_eq!(version, PgVersion(number), "{report}");
            assert_eq!(version.to_string(), text);
        }
        assert_eq!(PgVersion::from_report(""), None);
        assert_eq!(PgVersion::from_report("devel"), None);
        assert_eq!(PgVersion::from_report("999999999999"), None);
        assert_eq!(PgVersion(100_122).to_string(), "10.22");
    }

    #[test]
    fn major_of_text_follows_the_last_component_rule() {
        for (text, major) in [
            ("15.18", "15"),
            ("9.6.24", "9.6"),
            ("18beta1", "18"),
            ("17devel", "17"),
            ("15", ""),
        ] {
            assert_eq!(major_of_text(text), major);
        }
    }
}
