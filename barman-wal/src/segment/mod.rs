//! WAL segments: their size, their numbers, and the names of the files in `pg_wal` and in an archive.
//!
//! Names read in either case and write in upper case. Their order is the order of the names as text, which is the
//! order in which Barman archives and deletes: `00000002.history` comes before every segment of timeline 2, and
//! `SEGMENT.partial` directly after `SEGMENT`.

mod file_name;
mod name;
mod size;

pub use file_name::WalFileName;
pub use name::{NameParseError, SegmentName, SegmentNumber, SegmentRange};
pub use size::{SegmentSize, SegmentSizeError};

#[cfg(test)]
mod tests;
