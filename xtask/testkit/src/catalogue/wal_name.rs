//! Names of WAL files and positions in WAL, from the arithmetic of PostgreSQL (`xlog_internal.h`). Written anew here, because the
//! kit must not share a mistake with what it tests.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of a file of the archive. A segment is counted from the beginning of WAL, so that its name depends on the segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WalName {
    /// A segment.
    Segment {
        /// Timeline.
        timeline: u32,
        /// Number.
        number: u64,
    },
    /// The label of a backup that began in a segment.
    Label {
        /// Timeline.
        timeline: u32,
        /// Number of the segment.
        number: u64,
        /// Offset in it.
        offset: u32,
    },
    /// An unfinished segment.
    Partial {
        /// Timeline.
        timeline: u32,
        /// Number of the segment.
        number: u64,
    },
    /// A timeline history file.
    History {
        /// The timeline that it describes.
        timeline: u32,
    },
}

/// The size of segments, and what depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// Bytes; a power of two from 1 MiB to 1 GiB.
    pub segment_size: u64,
}

impl Geometry {
    /// Segments of so many MiB.
    pub fn of_mib(mib: u64) -> Self {
        Self {
            segment_size: mib << 20,
        }
    }

    /// How many segments share the first two parts of their names, and so a directory of the archive.
    pub fn per_directory(self) -> u64 {
        (1 << 32) / self.segment_size
    }

    /// `TTTTTTTTLLLLLLLLSSSSSSSS`.
    pub fn segment(self, timeline: u32, number: u64) -> String {
        let per = self.per_directory();
        format!("{timeline:08X}{:08X}{:08X}", number / per, number % per)
    }

    /// The name as it is on disk.
    pub fn text(self, name: WalName) -> String {
        match name {
            WalName::Segment { timeline, number } => self.segment(timeline, number),
            WalName::Label {
                timeline,
                number,
                offset,
            } => format!("{}.{offset:08X}.backup", self.segment(timeline, number)),
            WalName::Partial { timeline, number } => format!("{}.partial", self.segment(timeline, number)),
            WalName::History { timeline } => format!("{timeline:08X}.history"),
        }
    }

    /// The directory of the archive in which it lies; none for history files.
    pub fn directory(self, name: WalName) -> Option<String> {
        match name {
            WalName::History { .. } => None,
            WalName::Segment { .. } | WalName::Label { .. } | WalName::Partial { .. } => {
                self.text(name).get(..16).map(str::to_owned)
            }
        }
    }
}

/// A position as PostgreSQL prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_postgresql() {
        for (mib, number, expected) in [
            (16, 3, "000000010000000000000003"),
            (16, 256, "000000010000000100000000"),
            (16, 255, "0000000100000000000000FF"),
            (1, 4095, "000000010000000000000FFF"),
            (1024, 5, "000000010000000100000001"),
        ] {
            assert_eq!(Geometry::of_mib(mib).segment(1, number), expected);
        }
        let geometry = Geometry::of_mib(16);
        for (name, text, directory) in [
            (
                WalName::Label {
                    timeline: 2,
                    number: 300,
                    offset: 40,
                },
                "00000002000000010000002C.00000028.backup",
                Some("0000000200000001"),
            ),
            (
                WalName::Partial {
                    timeline: 1,
                    number: 1,
                },
                "000000010000000000000001.partial",
                Some("0000000100000000"),
            ),
            (WalName::History { timeline: 26 }, "0000001A.history", None),
        ] {
            assert_eq!(geometry.text(name), text);
            assert_eq!(geometry.directory(name).as_deref(), directory);
        }
        assert_eq!(Lsn(0x1_0000_0028).to_string(), "1/28");
    }
}
