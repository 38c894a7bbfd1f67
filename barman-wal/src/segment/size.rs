//! Segment sizes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The size of a WAL segment in bytes: a power of two from 1 MiB to 1 GiB (`initdb --wal-segsize`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentSize(u32);

/// A number that is not a segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} is not a WAL segment size (a power of two from 1 MiB to 1 GiB, in bytes)")]
pub struct SegmentSizeError {
    bytes: u64,
}

impl SegmentSize {
    /// 16 MiB.
    pub const DEFAULT: Self = Self(16 << 20);
    /// 1 GiB.
    pub const MAX: Self = Self(1 << 30);

    /// # Errors
    /// `bytes` is not a power of two, or not within 1 MiB..=1 GiB.
    pub fn new(bytes: u64) -> Result<Self, SegmentSizeError> {
        match u32::try_from(bytes) {
            Ok(size) if size.is_power_of_two() && (1 << 20..=1 << 30).contains(&size) => Ok(Self(size)),
            _ => Err(SegmentSizeError { bytes }),
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// How many segments share one value of a name's log part (the upper half of the LSN): 4096 down to 4.
    #[must_use]
    pub const fn segments_per_log(self) -> u32 {
        // 2^32 / size, computed without leaving 32 bits; size is at least 1 MiB.
        (u32::MAX / self.0) + 1
    }

    /// The highest value of a name's segment part: FFF for 1 MiB, FF for 16 MiB, 3 for 1 GiB.
    #[must_use]
    pub const fn max_segment(self) -> u32 {
        u32::MAX / self.0
    }
}

impl Default for SegmentSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for SegmentSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl TryFrom<u64> for SegmentSize {
    type Error = SegmentSizeError;

    fn try_from(bytes: u64) -> Result<Self, Self::Error> {
        Self::new(bytes)
    }
}

impl Serialize for SegmentSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for SegmentSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
