//! WAL segments made by hand: what PostgreSQL writes at the beginning of one, and nothing of value behind it.

use crate::catalogue::wal_name::Geometry;

/// `XLOG_PAGE_MAGIC` by major version (PostgreSQL, `xlog_internal.h`). Written anew here, because the kit must not share a
/// mistake with what it tests.
const MAGIC: [(u32, u16); 10] = [
    (9, 0xD093),
    (10, 0xD097),
    (11, 0xD098),
    (12, 0xD101),
    (13, 0xD106),
    (14, 0xD10D),
    (15, 0xD110),
    (16, 0xD113),
    (17, 0xD116),
    (18, 0xD118),
];

/// `XLP_LONG_HEADER`.
const LONG_HEADER: u16 = 2;

/// `XLOG_BLCKSZ` of an ordinary build, bytes.
const PAGE: u32 = 8192;

/// A segment as a server of this major would begin it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// PostgreSQL major, 9 to 18; a newer one gets the mark of 18.
    pub major: u32,
    /// Timeline.
    pub timeline: u32,
    /// Number, counted from the beginning of WAL.
    pub number: u64,
    /// Bytes of a segment: a power of two from 1 MiB to 1 GiB.
    pub size: u64,
    /// System identifier of the cluster.
    pub system: u64,
}

impl Segment {
    /// Number `number` on timeline 1 of the cluster 7, PostgreSQL 18, segments of 1 MiB: for tests to which nothing of this
    /// matters but that it is right. Change the fields that do.
    #[must_use]
    pub fn small(number: u64) -> Self {
        Self {
            major: 18,
            timeline: 1,
            number,
            size: 1 << 20,
            system: 7,
        }
    }

    /// The name of its file.
    #[must_use]
    pub fn name(self) -> String {
        let size = self.size;
        Geometry { segment_size: size }.segment(self.timeline, self.number)
    }

    /// The long page header with which it begins (`XLogLongPageHeaderData`, little-endian), 40 bytes.
    #[must_use]
    pub fn header(self) -> Vec<u8> {
        let known = MAGIC.iter().find(|(major, _)| *major == self.major);
        let magic = known.map_or(0xD118, |(_, magic)| *magic);
        let mut header = Vec::with_capacity(40);
        header.extend(magic.to_le_bytes());
        header.extend(LONG_HEADER.to_le_bytes());
        header.extend(self.timeline.to_le_bytes());
        header.extend((self.number * self.size).to_le_bytes());
        header.extend([0; 8]); // xlp_rem_len: no record continues; padding
        header.extend(self.system.to_le_bytes());
        header.extend((self.size as u32).to_le_bytes());
        header.extend(PAGE.to_le_bytes());
        header
    }

    /// All of it: the header, then `fill` to its end. What is filled otherwise has other content.
    #[must_use]
    pub fn whole(self, fill: u8) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(self.size as usize, fill);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    #[test]
    fn it_is_what_a_server_writes() {
        for major in [10, 15, 18] {
            let cluster = Cluster::start_new(major).unwrap();
            let name = cluster.switch_wal().unwrap();
            let system = "SELECT system_identifier FROM pg_control_system()";
            let segment = Segment {
                major: u32::from(major),
                timeline: 1,
                number: u64::from_str_radix(&name[16..], 16).unwrap(),
                size: 16 << 20,
                system: cluster.sql_value(system).unwrap().parse().unwrap(),
            };
            let written = std::fs::read(cluster.data_dir().join("pg_wal").join(&name)).unwrap();
            let mut first = written[..40].to_vec();
            // A record may go on from the segment before: then this says so, and how long.
            first[2] &= !1;
            first[16..20].fill(0);
            assert_eq!((segment.name(), segment.header()), (name, first), "{major}");
            assert_eq!(segment.whole(5).len(), written.len());
        }
    }
}
