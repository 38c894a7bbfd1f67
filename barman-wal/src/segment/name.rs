//! Complete segments: their numbers, their names, ranges of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::size::SegmentSize;
use crate::lsn::Lsn;
use crate::text::{self, excerpt, hex8};
use crate::timeline::TimelineId;

/// The number of a segment counted from the beginning of the WAL: LSN / segment size (PostgreSQL, `XLogSegNo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SegmentNumber(pub u64);

impl SegmentNumber {
    /// The one after, unless there is none.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The one before, unless this is the first.
    #[must_use]
    pub fn prev(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Where it starts; `None` when that is beyond the end of the WAL's address space.
    #[must_use]
    pub fn start_lsn(self, size: SegmentSize) -> Option<Lsn> {
        self.0.checked_mul(u64::from(size.bytes())).map(Lsn)
    }

    /// The file that holds it on `timeline`; `None` when it is beyond the end of the WAL's address space.
    #[must_use]
    pub fn name(self, timeline: TimelineId, size: SegmentSize) -> Option<SegmentName> {
        let per_log = u64::from(size.segments_per_log());
        Some(SegmentName {
            timeline,
            log: u32::try_from(self.0 / per_log).ok()?,
            seg: u32::try_from(self.0 % per_log).ok()?,
        })
    }
}

/// The name of a complete segment: 24 hexadecimal digits. Whether `seg` is possible depends on the segment size,
/// which a name does not tell: see [`SegmentName::fits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// Digits 1 to 8.
    pub timeline: TimelineId,
    /// Digits 9 to 16: the upper half of the LSN.
    pub log: u32,
    /// Digits 17 to 24: the number of the segment within its log.
    pub seg: u32,
}

impl SegmentName {
    /// The segment that holds the byte at `lsn`; at a border the one that starts there.
    #[must_use]
    pub fn from_lsn(timeline: TimelineId, lsn: Lsn, size: SegmentSize) -> Self {
        // Both halves of a u64 fit by construction; the fallback is never taken.
        let log = u32::try_from(lsn.0 >> 32).unwrap_or(u32::MAX);
        let seg = u32::try_from((lsn.0 & 0xFFFF_FFFF) / u64::from(size.bytes())).unwrap_or(u32::MAX);
        Self { timeline, log, seg }
    }

    /// The segment that holds the last byte *before* `lsn` (PostgreSQL, `XLByteToPrevSeg`): at a border the one that
    /// ends there. This is the last segment that a backup ending at `lsn` needs. `None` for `0/0`.
    #[must_use]
    pub fn holding_last_byte_before(timeline: TimelineId, lsn: Lsn, size: SegmentSize) -> Option<Self> {
        Some(Self::from_lsn(timeline, lsn.checked_sub(1)?, size))
    }

    /// Barman's rule for what `pg_walfile_name_offset` of PostgreSQL 17 and later answers: it names the segment that
    /// *starts* at a border, Barman stores the *previous* file with offset 0. `self` and `offset` are the answer;
    /// with any other offset the name stays. `None` when there is no segment before.
    #[must_use]
    pub fn previous_at_border(self, offset: u32, size: SegmentSize) -> Option<Self> {
        if offset == 0 { self.prev(size) } else { Some(self) }
    }

    /// Whether a segment of this name can exist with this segment size.
    #[must_use]
    pub fn fits(self, size: SegmentSize) -> bool {
        self.seg <= size.max_segment()
    }

    /// The position of its first byte. For a name that does not [fit](Self::fits) the arithmetic goes on as if it
    /// did, up to the end of the address space.
    #[must_use]
    pub fn start_lsn(self, size: SegmentSize) -> Lsn {
        self.lsn_at(0, size)
    }

    /// The position `offset` bytes into it, up to the end of the address space.
    #[must_use]
    pub fn lsn_at(self, offset: u32, size: SegmentSize) -> Lsn {
        let within = u64::from(self.seg) * u64::from(size.bytes()) + u64::from(offset);
        Lsn((u64::from(self.log) << 32).saturating_add(within))
    }

    /// Its absolute number.
    #[must_use]
    pub fn number(self, size: SegmentSize) -> SegmentNumber {
        SegmentNumber(u64::from(self.log) * u64::from(size.segments_per_log()) + u64::from(self.seg))
    }

    /// The segment after it on the same timeline; `None` after the last of the address space.
    #[must_use]
    pub fn next(self, size: SegmentSize) -> Option<Self> {
        if self.seg < size.max_segment() {
            Some(Self {
                seg: self.seg + 1,
                ..self
            })
        } else {
            Some(Self {
                log: self.log.checked_add(1)?,
                seg: 0,
                ..self
            })
        }
    }

    /// The segment before it on the same timeline; `None` before the first.
    #[must_use]
    pub fn prev(self, size: SegmentSize) -> Option<Self> {
        if self.seg > 0 {
            Some(Self {
                seg: self.seg - 1,
                ..self
            })
        } else {
            Some(Self {
                log: self.log.checked_sub(1)?,
                seg: size.max_segment(),
                ..self
            })
        }
    }

    /// This segment and those after it up to `last`, both included. Empty when `last` comes before this one or is of
    /// another timeline.
    #[must_use]
    pub fn through(self, last: Self, size: SegmentSize) -> SegmentRange {
        let next = (self.timeline == last.timeline && self <= last).then_some(self);
        SegmentRange {
            next,
            last: Some(last),
            size,
        }
    }

    /// This segment and all after it, up to the end of the address space.
    #[must_use]
    pub fn onwards(self, size: SegmentSize) -> SegmentRange {
        SegmentRange {
            next: Some(self),
            last: None,
            size,
        }
    }

    /// The directory of the archive that holds it and its `.partial` and `.backup` companions: 16 digits.
    #[must_use]
    pub fn archive_directory(self) -> String {
        format!("{:08X}{:08X}", self.timeline.get(), self.log)
    }

    /// Whether a directory of this name in an archive holds segments: 16 hexadecimal digits, of either case.
    ///
    /// ```
    /// assert!(barman_wal::SegmentName::is_archive_directory(b"0000000100000000"));
    /// assert!(!barman_wal::SegmentName::is_archive_directory(b"lost+found"));
    /// ```
    #[must_use]
    pub fn is_archive_directory(name: &[u8]) -> bool {
        name.len() == 16 && name.iter().all(u8::is_ascii_hexdigit)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:08X}{:08X}{:08X}",
            self.timeline.get(),
            self.log,
            self.seg
        )
    }
}

/// A text that is not the name of a WAL file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of a WAL file")]
pub struct NameParseError {
    text: String,
}

impl NameParseError {
    pub(super) fn new(text: &str) -> Self {
        Self { text: excerpt(text) }
    }
}

impl FromStr for SegmentName {
    type Err = NameParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_segment(text).ok_or_else(|| NameParseError::new(text))
    }
}

pub(super) fn parse_segment(text: &str) -> Option<SegmentName> {
    if text.len() != 24 || !text.is_ascii() {
        return None;
    }
    let (timeline, rest) = text.split_at(8);
    let (log, seg) = rest.split_at(8);
    Some(SegmentName {
        timeline: TimelineId::from_hex8(timeline)?,
        log: hex8(log)?,
        seg: hex8(seg)?,
    })
}

impl Serialize for SegmentName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for SegmentName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// Consecutive segments of one timeline; made by [`SegmentName::through`] and [`SegmentName::onwards`].
#[derive(Debug, Clone)]
pub struct SegmentRange {
    next: Option<SegmentName>,
    last: Option<SegmentName>,
    size: SegmentSize,
}

impl Iterator for SegmentRange {
    type Item = SegmentName;

    fn next(&mut self) -> Option<SegmentName> {
        let current = self
            .next
            .filter(|next| self.last.is_none_or(|last| *next <= last))?;
        self.next = current.next(self.size);
        Some(current)
    }
}
