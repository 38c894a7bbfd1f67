//! Timeline ids.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text;

/// The id of a timeline: 1 or more (PostgreSQL, `TimeLineID`; 0 marks "none" there and is not a value here).
/// `Display` and `FromStr` are decimal, as in history files and backup labels; file names use [`TimelineId::hex8`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimelineId(NonZeroU32);

/// Why a text is not a timeline id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a timeline id (a decimal number from 1 to 4294967295)")]
pub struct TimelineParseError {
    text: String,
}

impl TimelineId {
    /// The timeline a cluster starts on.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// `None` for 0.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The eight upper-case hexadecimal digits that begin WAL file names.
    #[must_use]
    pub fn hex8(self) -> String {
        format!("{:08X}", self.0)
    }

    /// Reads [`TimelineId::hex8`], in either case.
    #[must_use]
    pub fn from_hex8(text: &str) -> Option<Self> {
        Self::new(text::hex8(text)?)
    }

    /// The name of the file that tells this timeline's ancestry, `0000000A.history`.
    #[must_use]
    pub fn history_file_name(self) -> String {
        format!("{:08X}.history", self.0)
    }

    /// The next number, unless this is the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl From<TimelineId> for u32 {
    fn from(timeline: TimelineId) -> Self {
        timeline.get()
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for TimelineId {
    type Err = TimelineParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(number) = text.parse()
            && let Some(timeline) = Self::new(number)
        {
            Ok(timeline)
        } else {
            Err(TimelineParseError {
                text: text::excerpt(text),
            })
        }
    }
}

impl Serialize for TimelineId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.get())
    }
}

impl<'de> Deserialize<'de> for TimelineId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NonZeroU32::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        assert_eq!(TimelineId::new(0), None);
        let ten = TimelineId::new(10).unwrap();
        assert_eq!(
            (ten.to_string().as_str(), ten.hex8().as_str()),
            ("10", "0000000A")
        );
        assert_eq!(ten.history_file_name(), "0000000A.history");
        assert_eq!("10".parse(), Ok(ten));
        assert_eq!(TimelineId::from_hex8("0000000a"), Some(ten));
        for bad in ["", "0", "-1", "+1", " 1", "A", "4294967296"] {
            assert!(bad.parse::<TimelineId>().is_err(), "{bad}");
        }
        for bad in ["", "A", "00000000", "0000000AB", "0000000G", "+000000A"] {
            assert_eq!(TimelineId::from_hex8(bad), None, "{bad}");
        }
    }

    #[test]
    fn serde_is_a_number() {
        assert_eq!(serde_json::to_string(&TimelineId::FIRST).unwrap(), "1");
        assert_eq!(serde_json::from_str::<TimelineId>("7").unwrap().get(), 7);
        assert!(serde_json::from_str::<TimelineId>("0").is_err());
    }
}
