//! WAL segments: their size, their numbers, and the names of the files in `pg_wal` and in an archive.
//!
//! Names read in either case and write in upper case. Their order is the order of the names as text, which is the
//! order in which Barman archives and deletes: `00000002.history` comes before every segment of timeline 2, and
//! `SEGMENT.partial` directly after `SEGMENT`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lsn::Lsn;
use crate::text::{self, excerpt, hex8};
use crate::timeline::TimelineId;

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
    fn new(text: &str) -> Self {
        Self { text: excerpt(text) }
    }
}

impl FromStr for SegmentName {
    type Err = NameParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_segment(text).ok_or_else(|| NameParseError::new(text))
    }
}

fn parse_segment(text: &str) -> Option<SegmentName> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seg(text: &str) -> SegmentName {
        text.parse().unwrap()
    }

    fn mib(count: u64) -> SegmentSize {
        SegmentSize::new(count << 20).unwrap()
    }

    #[test]
    fn sizes() {
        for (size, max) in [
            (1, 0xFFF),
            (2, 0x7FF),
            (4, 0x3FF),
            (8, 0x1FF),
            (16, 0xFF),
            (32, 0x7F),
            (64, 0x3F),
            (128, 0x1F),
            (256, 0xF),
            (512, 7),
            (1024, 3),
        ] {
            assert_eq!(mib(size).max_segment(), max, "{size} MiB");
            assert_eq!(mib(size).segments_per_log(), max + 1, "{size} MiB");
        }
        for bad in [0, 1, 8192, (1 << 20) - 1, 3 << 20, 1 << 31, 1 << 32, u64::MAX] {
            assert!(SegmentSize::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_every_kind() {
        let segment = seg("0000000100000002000000FF");
        for (text, name, directory) in [
            (
                "0000000100000002000000FF",
                WalFileName::Segment(segment),
                Some("0000000100000002"),
            ),
            (
                "0000000100000002000000FF.partial",
                WalFileName::Partial(segment),
                Some("0000000100000002"),
            ),
            (
                "0000000100000002000000FF.00000028.backup",
                WalFileName::BackupHistory {
                    segment,
                    offset: 0x28,
                },
                Some("0000000100000002"),
            ),
            (
                "0000000A.history",
                WalFileName::History(TimelineId::new(10).unwrap()),
                None,
            ),
        ] {
            assert_eq!(text.parse(), Ok(name), "{text}");
            assert_eq!(name.to_string(), text);
            assert_eq!(name.archive_directory().as_deref(), directory, "{text}");
        }
        assert_eq!(
            "0000000a.history".parse::<WalFileName>().unwrap().to_string(),
            "0000000A.history"
        );
        assert_eq!(
            seg("00000001000000000000000a").to_string(),
            "00000001000000000000000A"
        );
    }

    #[test]
    fn what_is_no_name() {
        for bad in [
            "",
            ".",
            "..",
            "00000001000000000000000",
            "0000000100000000000000001",
            "00000001000000000000000G",
            "+0000001000000000000000A",
            "000000000000000000000001",
            "00000000.history",
            "000000010000000000000001.gz",
            "000000010000000000000001.tmp",
            "000000010000000000000001.PARTIAL",
            "000000010000000000000001.partial.tmp",
            "000000010000000000000001.backup",
            "000000010000000000000001.00000028.backup.partial",
            "000000010000000000000001.0000028.backup",
            "0000001.history",
            "000000010.history",
            "000000010000000000000001.history",
            "main-xlog.db",
            "000000010000000000000001\n",
            "0000000100000000000000\u{e9}1",
            "wals/000000010000000000000001",
        ] {
            assert!(bad.parse::<WalFileName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn neighbours_across_logs() {
        for (size, name, next) in [
            (16, "0000000100000001000000FE", "0000000100000001000000FF"),
            (16, "0000000100000001000000FF", "000000010000000200000000"),
            (1, "000000030000000100000FFF", "000000030000000200000000"),
            (1024, "000000030000000100000003", "000000030000000200000000"),
        ] {
            assert_eq!(seg(name).next(mib(size)), Some(seg(next)), "{name}");
            assert_eq!(seg(next).prev(mib(size)), Some(seg(name)), "{next}");
        }
        assert_eq!(seg("000000010000000000000000").prev(mib(16)), None);
        assert_eq!(seg("00000001FFFFFFFF000000FF").next(mib(16)), None);
        assert_eq!(seg("00000001FFFFFFFFFFFFFFFF").next(mib(16)), None);
    }

    #[test]
    fn ranges() {
        let (size, first) = (mib(16), seg("0000000100000005000000FE"));
        let names = |last: &str| {
            first
                .through(seg(last), size)
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names("000000010000000600000001"),
            [
                "0000000100000005000000FE",
                "0000000100000005000000FF",
                "000000010000000600000000",
                "000000010000000600000001"
            ]
        );
        assert_eq!(names("0000000100000005000000FE"), ["0000000100000005000000FE"]);
        assert!(names("0000000100000005000000FD").is_empty());
        assert!(names("000000020000000600000000").is_empty());
        assert_eq!(first.onwards(size).nth(2), Some(seg("000000010000000600000000")));
        assert_eq!(seg("00000001FFFFFFFF000000FE").onwards(size).count(), 2);
    }

    #[test]
    fn border_rule() {
        let (size, one) = (mib(16), TimelineId::FIRST);
        let before = |lsn: &str| SegmentName::holding_last_byte_before(one, lsn.parse().unwrap(), size);
        assert_eq!(before("0/0"), None);
        assert_eq!(before("0/3000000"), Some(seg("000000010000000000000002")));
        assert_eq!(before("0/3000001"), Some(seg("000000010000000000000003")));
        assert_eq!(before("1/0"), Some(seg("0000000100000000000000FF")));
        let named = seg("000000010000000100000000");
        assert_eq!(
            named.previous_at_border(0, size),
            Some(seg("0000000100000000000000FF"))
        );
        assert_eq!(named.previous_at_border(40, size), Some(named));
    }

    #[test]
    fn positions_of_impossible_names_do_not_overflow() {
        let worst = seg("00000001FFFFFFFFFFFFFFFF");
        assert!(!worst.fits(mib(16)));
        assert_eq!(worst.start_lsn(mib(1024)), Lsn(u64::MAX));
        assert_eq!(worst.lsn_at(u32::MAX, mib(1024)), Lsn(u64::MAX));
        assert_eq!(SegmentNumber(u64::MAX).name(TimelineId::FIRST, mib(1024)), None);
        assert_eq!(SegmentNumber(u64::MAX).start_lsn(mib(1)), None);
    }

    fn any_segment() -> impl Strategy<Value = SegmentName> {
        (1u32..4, 0u32..3, 0u32..3).prop_map(|(timeline, log, seg)| SegmentName {
            timeline: TimelineId::new(timeline).unwrap(),
            log,
            seg,
        })
    }

    fn any_name() -> impl Strategy<Value = WalFileName> {
        prop_oneof![
            any_segment().prop_map(WalFileName::Segment),
            any_segment().prop_map(WalFileName::Partial),
            (1u32..4).prop_map(|timeline| WalFileName::History(TimelineId::new(timeline).unwrap())),
            (any_segment(), 0u32..3)
                .prop_map(|(segment, offset)| WalFileName::BackupHistory { segment, offset }),
        ]
    }

    proptest! {
        #[test]
        fn order_is_the_order_of_the_text(one in any_name(), other in any_name()) {
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        }

        #[test]
        fn any_text_is_safe(text in "[0-9A-Fa-f]{8,24}(\\.[0-9A-F]{0,9})?(\\.(backup|partial|history))?|.{0,30}") {
            if let Ok(name) = text.parse::<WalFileName>() {
                prop_assert_eq!(name.to_string().to_lowercase(), text.to_lowercase());
            }
        }

        #[test]
        fn lsn_name_number_agree(value: u64, timeline in 1u32.., power in 20u32..=30) {
            let (size, timeline) = (SegmentSize::new(1 << power).unwrap(), TimelineId::new(timeline).unwrap());
            let lsn = Lsn(value);
            let name = SegmentName::from_lsn(timeline, lsn, size);
            prop_assert!(name.fits(size));
            prop_assert_eq!(name.start_lsn(size), lsn.segment_start(size));
            prop_assert_eq!(name.lsn_at(lsn.offset(size), size), lsn);
            prop_assert_eq!(name.number(size), lsn.segment(size));
            prop_assert_eq!(name.number(size).name(timeline, size), Some(name));
            prop_assert_eq!(name.next(size).and_then(|next| next.prev(size)).unwrap_or(name), name);
            prop_assert_eq!(name.next(size).map(|next| next.number(size).0), {
                let next = name.number(size).0 + 1;
                SegmentNumber(next).name(timeline, size).map(|_| next)
            });
        }
    }
}
