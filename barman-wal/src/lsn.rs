//! Log sequence numbers: positions in the WAL, counted in bytes from its beginning.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::segment::{SegmentNumber, SegmentSize};
use crate::text;

/// A position in the WAL in bytes (PostgreSQL, `XLogRecPtr`). Written as two hexadecimal halves without leading
/// zeros: `16/B374D848`. [`Lsn::INVALID`] (`0/0`) never is the position of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// Why a text is not an LSN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an LSN (two hexadecimal numbers of at most 8 digits around one `/`)")]
pub struct LsnParseError {
    text: String,
}

impl Lsn {
    /// PostgreSQL's `InvalidXLogRecPtr`.
    pub const INVALID: Self = Self(0);

    /// Whether this can be the position of anything (is not `0/0`).
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// The position `bytes` further on, unless that is beyond the end of the WAL's address space.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// The position `bytes` before this one, unless that is before the WAL's beginning.
    #[must_use]
    pub fn checked_sub(self, bytes: u64) -> Option<Self> {
        self.0.checked_sub(bytes).map(Self)
    }

    /// The number of the segment that holds the byte at this position.
    #[must_use]
    pub fn segment(self, size: SegmentSize) -> SegmentNumber {
        SegmentNumber(self.0 / u64::from(size.bytes()))
    }

    /// The offset of this position in its segment, in bytes.
    #[must_use]
    pub fn offset(self, size: SegmentSize) -> u32 {
        // A segment size is a power of two of at most 1 GiB, so the masked value fits.
        u32::try_from(self.0 & u64::from(size.bytes() - 1)).unwrap_or(0)
    }

    /// Whether a segment begins exactly here.
    #[must_use]
    pub fn is_segment_start(self, size: SegmentSize) -> bool {
        self.offset(size) == 0
    }

    /// The beginning of the segment that holds the byte at this position.
    #[must_use]
    pub fn segment_start(self, size: SegmentSize) -> Self {
        Self(self.0 & !u64::from(size.bytes() - 1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = LsnParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let halves = text.split_once('/').and_then(|(high, low)| {
            Some((u64::from(text::hex_u32(high)?) << 32) | u64::from(text::hex_u32(low)?))
        });
        halves.map(Self).ok_or_else(|| LsnParseError {
            text: text::excerpt(text),
        })
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_form() {
        for (text, value) in [
            ("0/0", 0),
            ("0/3000028", 0x300_0028),
            ("16/B374D848", 0x16_B374_D848),
            ("FFFFFFFF/FFFFFFFF", u64::MAX),
            ("00000001/00000002", 0x1_0000_0002),
            ("a/b", 0xA_0000_000B),
        ] {
            assert_eq!(text.parse(), Ok(Lsn(value)), "{text}");
        }
        assert_eq!(Lsn(0x16_0000_0848).to_string(), "16/848");
        for bad in [
            "",
            "/",
            "1",
            "1/",
            "/1",
            "1/2/3",
            "1 /2",
            "+1/2",
            "0x1/2",
            "1/G",
            "123456789/0",
            "0/123456789",
        ] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn serde_is_the_text() {
        assert_eq!(serde_json::to_string(&Lsn(0x300_0028)).unwrap(), "\"0/3000028\"");
        assert_eq!(
            serde_json::from_str::<Lsn>("\"0/3000028\"").unwrap(),
            Lsn(0x300_0028)
        );
        assert!(serde_json::from_str::<Lsn>("50331688").is_err());
    }

    proptest! {
        #[test]
        fn round_trip(value: u64) {
            prop_assert_eq!(Lsn(value).to_string().parse(), Ok(Lsn(value)));
        }

        #[test]
        fn any_text_is_safe(text in ".{0,40}") {
            if let Ok(lsn) = text.parse::<Lsn>() {
                prop_assert_eq!(lsn.to_string().parse(), Ok(lsn));
            }
        }

        #[test]
        fn start_and_offset_make_the_position(value: u64, power in 20u32..=30) {
            let size = SegmentSize::new(1 << power).unwrap();
            let lsn = Lsn(value);
            prop_assert_eq!(lsn.segment_start(size).0 + u64::from(lsn.offset(size)), value);
            prop_assert_eq!(lsn.segment(size).start_lsn(size), Some(lsn.segment_start(size)));
        }
    }
}
