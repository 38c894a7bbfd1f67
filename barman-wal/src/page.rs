//! Headers of WAL pages, and whether the first one of a segment fits the name of its file.
//!
//! Every page begins with a short header; the first of each segment with a long one, which names the cluster
//! (PostgreSQL, `xlog_internal.h`). All fields are little-endian here: segments of big-endian servers are not
//! recognised, and so are treated as foreign.
//!
//! ```
//! use barman_wal::page::{self, PageHeader};
//!
//! let mut first = [0u8; 40];
//! first[..2].copy_from_slice(&0xD118u16.to_le_bytes());   // xlp_magic of PostgreSQL 18
//! first[2] = 2;                                           // XLP_LONG_HEADER
//! first[4] = 1;                                           // timeline
//! first[8..16].copy_from_slice(&0x300_0000u64.to_le_bytes());
//! first[24..32].copy_from_slice(&7u64.to_le_bytes());     // system identifier
//! first[32..36].copy_from_slice(&(16u32 << 20).to_le_bytes());
//! first[36..40].copy_from_slice(&8192u32.to_le_bytes());
//! let header = page::check_segment_header(&first)?;
//! assert_eq!((header.postgres_major(), header.system_identifier), (Some(18), 7));
//! assert!(header.check_name("000000010000000000000003".parse()?).is_ok());
//! assert!(header.check_name("000000010000000000000004".parse()?).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{le_u16, le_u32, le_u64};

use crate::lsn::Lsn;
use crate::segment::{SegmentName, SegmentSize};
use crate::timeline::TimelineId;

/// `SizeOfXLogShortPHD`, bytes.
pub const SHORT_HEADER_SIZE: usize = 24;
/// `SizeOfXLogLongPHD`, bytes: what [`check_segment_header`] needs.
pub const LONG_HEADER_SIZE: usize = 40;

/// `XLP_FIRST_IS_CONTRECORD`: the page begins within a record.
pub const FIRST_IS_CONTRECORD: u16 = 1;
/// `XLP_LONG_HEADER`: the header is a long one.
pub const LONG_HEADER: u16 = 2;
/// `XLP_BKP_REMOVABLE`: full page images may be removed.
pub const BKP_REMOVABLE: u16 = 4;
/// `XLP_FIRST_IS_OVERWRITE_CONTRECORD`: a record was given up and overwritten here.
pub const FIRST_IS_OVERWRITE_CONTRECORD: u16 = 8;

/// `XLOG_PAGE_MAGIC` of each major version.
const MAGIC: [(u16, u32); 9] = [
    (0xD097, 10),
    (0xD098, 11),
    (0xD101, 12),
    (0xD106, 13),
    (0xD10D, 14),
    (0xD110, 15),
    (0xD113, 16),
    (0xD116, 17),
    (0xD118, 18),
];
/// Above this a magic number belongs to a newer version than we know, up to the next change of its upper byte.
const NEWEST_MAGIC: u16 = 0xD118;

/// The major version that writes pages with `magic`.
#[must_use]
pub fn postgres_major_of(magic: u16) -> Option<u32> {
    MAGIC
        .iter()
        .find(|(known, _)| *known == magic)
        .map(|(_, major)| *major)
}

/// Whether `magic` is that of a version we know, or could be that of a newer one.
#[must_use]
pub fn is_plausible_magic(magic: u16) -> bool {
    postgres_major_of(magic).is_some() || (NEWEST_MAGIC..=0xD1FF).contains(&magic)
}

/// The header of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// `xlp_magic`: which version writes such pages.
    pub magic: u16,
    /// `xlp_info`: flags, see [`LONG_HEADER`] and its neighbours.
    pub info: u16,
    /// `xlp_tli`: the timeline of the first record on the page; 0 never occurs.
    pub timeline: u32,
    /// `xlp_pageaddr`: the position of the page.
    pub page_address: Lsn,
    /// `xlp_rem_len`: how many bytes of a record that began earlier follow.
    pub remaining: u32,
    /// The further fields of a long header.
    pub long: Option<LongHeader>,
}

/// What the first page of a segment tells besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongHeader {
    /// `xlp_sysid`: the cluster, as in its `pg_control`.
    pub system_identifier: u64,
    /// `xlp_seg_size`, bytes.
    pub segment_size: u32,
    /// `xlp_xlog_blcksz`: the size of a page, bytes.
    pub block_size: u32,
}

impl PageHeader {
    /// Reads a header; whether it is a long one, its flags tell. `None` when there are too few bytes. Nothing is
    /// checked.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let short = (le_u16::<_, ()>, le_u16, le_u32, le_u64, le_u32, take(4usize));
        let (rest, (magic, info, timeline, page_address, remaining, _padding)) =
            { short }.parse(bytes).ok()?;
        let long = if info & LONG_HEADER == 0 {
            None
        } else {
            let (_, (system_identifier, segment_size, block_size)) =
                (le_u64::<_, ()>, le_u32, le_u32).parse(rest).ok()?;
            Some(LongHeader {
                system_identifier,
                segment_size,
                block_size,
            })
        };
        Some(Self {
            magic,
            info,
            timeline,
            page_address: Lsn(page_address),
            remaining,
            long,
        })
    }
}

/// A checked first page of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// `XLOG_PAGE_MAGIC` of the server.
    pub magic: u16,
    /// The timeline that wrote the page.
    pub timeline: TimelineId,
    /// Where the segment starts.
    pub start_lsn: Lsn,
    /// The cluster.
    pub system_identifier: u64,
    /// The size of its segments.
    pub segment_size: SegmentSize,
    /// The size of its WAL pages, bytes.
    pub block_size: u32,
}

/// Why bytes are not the beginning of a WAL segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentHeaderError {
    /// Fewer than [`LONG_HEADER_SIZE`] bytes.
    #[error("{length} bytes are too few for a WAL segment")]
    Short {
        /// How many.
        length: usize,
    },
    /// Nothing but zeros: a file that was allocated and not written.
    #[error("the segment begins with zeros: it was allocated but never written")]
    Zeroed,
    /// Another magic number.
    #[error("{magic:#06X} is not the magic number of a WAL page")]
    Magic {
        /// What is there instead.
        magic: u16,
    },
    /// The magic number is right, the rest cannot be.
    #[error("the header of the first WAL page is damaged: {what}")]
    Damaged {
        /// Which field, and its value.
        what: String,
    },
    /// A segment of another name.
    #[error("the content is that of WAL segment {content}, not of {name}")]
    Name {
        /// What the header says.
        content: SegmentName,
        /// What the file is called.
        name: SegmentName,
    },
}

/// Reads and checks the header of the first page of a segment. Magic numbers of versions newer than we know are
/// accepted: what cannot be decoded must still be archived.
///
/// # Errors
/// These are not the first bytes of a segment.
pub fn check_segment_header(bytes: &[u8]) -> Result<SegmentHeader, SegmentHeaderError> {
    let first = bytes
        .get(..LONG_HEADER_SIZE)
        .ok_or(SegmentHeaderError::Short { length: bytes.len() })?;
    if first.iter().all(|byte| *byte == 0) {
        return Err(SegmentHeaderError::Zeroed);
    }
    let damaged = |what: String| SegmentHeaderError::Damaged { what };
    let header = PageHeader::parse(first).ok_or(SegmentHeaderError::Short { length: bytes.len() })?;
    if !is_plausible_magic(header.magic) {
        return Err(SegmentHeaderError::Magic { magic: header.magic });
    }
    let long = header
        .long
        .ok_or_else(|| damaged(format!("no long header (flags {:#06X})", header.info)))?;
    let timeline = TimelineId::new(header.timeline).ok_or_else(|| damaged("timeline 0".to_owned()))?;
    let segment_size = SegmentSize::new(u64::from(long.segment_size))
        .map_err(|_| damaged(format!("segment size {}", long.segment_size)))?;
    if !long.block_size.is_power_of_two() || !(1024..=65536).contains(&long.block_size) {
        return Err(damaged(format!("block size {}", long.block_size)));
    }
    if !header.page_address.is_segment_start(segment_size) {
        return Err(damaged(format!(
            "page address {} is within a segment",
            header.page_address
        )));
    }
    Ok(SegmentHeader {
        magic: header.magic,
        timeline,
        start_lsn: header.page_address,
        system_identifier: long.system_identifier,
        segment_size,
        block_size: long.block_size,
    })
}

impl SegmentHeader {
    /// The major version of the server, if we know it.
    #[must_use]
    pub fn postgres_major(&self) -> Option<u32> {
        postgres_major_of(self.magic)
    }

    /// The name of the segment according to its content.
    #[must_use]
    pub fn name(&self) -> SegmentName {
        SegmentName::from_lsn(self.timeline, self.start_lsn, self.segment_size)
    }

    /// Whether a file called `name` can begin with this page. The timeline of the page may be lower than that of the
    /// name: when a timeline begins within a segment, the new file starts with a copy of the old one's pages.
    ///
    /// # Errors
    /// [`SegmentHeaderError::Name`].
    pub fn check_name(&self, name: SegmentName) -> Result<(), SegmentHeaderError> {
        let content = self.name();
        if (content.log, content.seg) == (name.log, name.seg) && content.timeline <= name.timeline {
            Ok(())
        } else {
            Err(SegmentHeaderError::Name { content, name })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first 40 bytes of segments of real servers.
    fn header(magic: u16, timeline: u32, address: u64, size: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(magic.to_le_bytes());
        bytes.extend(LONG_HEADER.to_le_bytes());
        bytes.extend(timeline.to_le_bytes());
        bytes.extend(address.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(0x6B01_65EB_CB07_8E3Cu64.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(8192u32.to_le_bytes());
        bytes
    }

    #[test]
    fn every_version_and_newer_ones() {
        for (magic, major) in MAGIC {
            let found = check_segment_header(&header(magic, 1, 0x100_0000, 16 << 20)).unwrap();
            assert_eq!(found.postgres_major(), Some(major));
            assert_eq!(found.system_identifier, 0x6B01_65EB_CB07_8E3C);
            assert_eq!(found.name().to_string(), "000000010000000000000001");
        }
        let newer = check_segment_header(&header(0xD11A, 1, 0x100_0000, 16 << 20)).unwrap();
        assert_eq!(newer.postgres_major(), None);
    }

    #[test]
    fn what_does_not_fit() {
        let good = header(0xD110, 2, 0x500_0000, 1 << 20);
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = good.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            check_segment_header(&changed).unwrap_err()
        };
        assert_eq!(
            check_segment_header(&good[..39]),
            Err(SegmentHeaderError::Short { length: 39 })
        );
        assert_eq!(check_segment_header(&[0; 8192]), Err(SegmentHeaderError::Zeroed));
        assert_eq!(
            with(0, &[0x1F, 0x8B]),
            SegmentHeaderError::Magic { magic: 0x8B1F }
        );
        for (at, bytes) in [
            (2, &[0u8, 0][..]),
            (4, &[0; 4]),
            (8, &[0, 0x20]),
            (32, &[0; 4]),
            (32, &[1, 0, 0, 1]),
            (36, &[0; 4]),
            (36, &[0xFF; 4]),
        ] {
            assert!(
                matches!(with(at, bytes), SegmentHeaderError::Damaged { .. }),
                "{at}"
            );
        }
    }

    #[test]
    fn names() {
        let check = |bytes: &[u8], name: &str| {
            check_segment_header(bytes)
                .unwrap()
                .check_name(name.parse().unwrap())
                .is_ok()
        };
        let small = header(0xD118, 2, 0x1_0050_0000, 1 << 20);
        assert!(check(&small, "000000020000000100000005"));
        assert!(check(&small, "000000030000000100000005"));
        assert!(!check(&small, "000000010000000100000005"));
        assert!(!check(&small, "000000020000000100000006"));
        assert!(!check(&small, "000000020000000000000005"));
        assert!(!check(
            &header(0xD118, 2, 0x1_0000_0000, 16 << 20),
            "000000020000000100000005"
        ));
    }

    #[test]
    fn a_short_header() {
        let mut bytes = header(0xD110, 1, 0x100_2000, 16 << 20);
        bytes[2] = 1;
        bytes[16] = 99;
        let page = PageHeader::parse(&bytes[..SHORT_HEADER_SIZE]).unwrap();
        assert_eq!(
            (page.page_address, page.remaining, page.long),
            (Lsn(0x100_2000), 99, None)
        );
        assert_eq!(PageHeader::parse(&bytes[..23]), None);
        bytes[2] = 3;
        assert_eq!(PageHeader::parse(&bytes[..39]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), magic: bool) {
            if magic && bytes.len() > 2 {
                bytes[..2].copy_from_slice(&0xD118u16.to_le_bytes());
            }
            if let Ok(header) = check_segment_header(&bytes) {
                prop_assert!(header.check_name(header.name()).is_ok());
            }
        }
    }
}
