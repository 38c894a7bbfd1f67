//! The names of all kinds of files in a WAL archive, and their order.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::{NameParseError, SegmentName, parse_segment};
use crate::text::{self, hex8};
use crate::timeline::TimelineId;

/// The name of any file that belongs in a WAL archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WalFileName {
    /// A complete segment: 24 digits.
    Segment(SegmentName),
    /// A segment that was still being written when its timeline (or its receiver) ended: `SEGMENT.partial`.
    Partial(SegmentName),
    /// The ancestry of a timeline: `0000000A.history`.
    History(TimelineId),
    /// The label file of a backup: `SEGMENT.OFFSET.backup`.
    BackupHistory {
        /// The segment in which the backup started.
        segment: SegmentName,
        /// The offset in that segment, in bytes.
        offset: u32,
    },
}

impl WalFileName {
    /// The timeline that the name begins with.
    #[must_use]
    pub const fn timeline(&self) -> TimelineId {
        match self {
            Self::History(timeline) => *timeline,
            Self::Segment(segment) | Self::Partial(segment) | Self::BackupHistory { segment, .. } => {
                segment.timeline
            }
        }
    }

    /// The segment in the name, of whatever kind; `None` for a history file.
    #[must_use]
    pub const fn segment(&self) -> Option<SegmentName> {
        match self {
            Self::History(_) => None,
            Self::Segment(segment) | Self::Partial(segment) | Self::BackupHistory { segment, .. } => {
                Some(*segment)
            }
        }
    }

    /// Whether it is a complete segment.
    #[must_use]
    pub const fn is_segment(&self) -> bool {
        matches!(self, Self::Segment(_))
    }

    /// The directory below `wals/` that holds it, 16 digits; `None` for a history file, which lies in `wals/` itself.
    #[must_use]
    pub fn archive_directory(&self) -> Option<String> {
        self.segment().map(SegmentName::archive_directory)
    }

    /// What decides the order of names as text: the timeline; history files (`.` sorts before digits); the position;
    /// then nothing, `.OFFSET.backup`, `.partial`.
    fn sort_key(&self) -> (TimelineId, Option<(u32, u32, u8, u32)>) {
        let key = match self {
            Self::History(_) => None,
            Self::Segment(name) => Some((name.log, name.seg, 0, 0)),
            Self::BackupHistory { segment, offset } => Some((segment.log, segment.seg, 1, *offset)),
            Self::Partial(name) => Some((name.log, name.seg, 2, 0)),
        };
        (self.timeline(), key)
    }
}

impl Ord for WalFileName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sort_key().cmp(&other.sort_key())
    }
}

impl PartialOrd for WalFileName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<SegmentName> for WalFileName {
    fn from(segment: SegmentName) -> Self {
        Self::Segment(segment)
    }
}

impl fmt::Display for WalFileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(segment) => segment.fmt(formatter),
            Self::Partial(segment) => write!(formatter, "{segment}.partial"),
            Self::History(timeline) => write!(formatter, "{:08X}.history", timeline.get()),
            Self::BackupHistory { segment, offset } => write!(formatter, "{segment}.{offset:08X}.backup"),
        }
    }
}

impl FromStr for WalFileName {
    type Err = NameParseError;

    /// Reads a base name, not a path. The digits may be of either case, `.history`, `.partial` and `.backup` not.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = match text.split_once('.') {
            None => parse_segment(text).map(Self::Segment),
            Some((stem, "history")) => TimelineId::from_hex8(stem).map(Self::History),
            Some((stem, "partial")) => parse_segment(stem).map(Self::Partial),
            Some((stem, rest)) => parse_segment(stem).and_then(|segment| {
                let offset = hex8(rest.strip_suffix(".backup")?)?;
                Some(Self::BackupHistory { segment, offset })
            }),
        };
        name.ok_or_else(|| NameParseError::new(text))
    }
}

impl Serialize for WalFileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for WalFileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}
