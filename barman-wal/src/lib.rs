//! PostgreSQL's formats on disk, for programs that back it up: log sequence numbers, timelines, WAL file names for
//! any segment size, history files, the backup label and the tablespace map, `backup_manifest`, `pg_control`, WAL page
//! headers and records, the compression of archived segments, and an [`index`] of what a WAL archive holds: to which time,
//! transaction or restore point it can be recovered. Two modules are about writing rather than reading: [`durable`]
//! is the only place of this project that renames and syncs files, and [`lock`] takes the `flock` locks that Barman
//! takes.
//!
//! By default there is no C code and no codec. Each compression of [`codec`] is a cargo feature: `gzip`, `pigz` (gzip by
//! several threads), `bzip2`, `xz`, `zstd`, `lz4` and `snappy`; `codecs` is all of them.
//!
//! Nothing here talks to a network, reads a configuration or the environment, prints, or panics on bytes that somebody
//! else wrote.
//!
//! ```
//! use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId, WalFileName};
//!
//! let size = SegmentSize::DEFAULT;
//! let lsn: Lsn = "2/FF000028".parse()?;
//! let timeline = TimelineId::new(1).ok_or("timeline 0 does not exist")?;
//! let segment = SegmentName::from_lsn(timeline, lsn, size);
//! assert_eq!(segment.to_string(), "0000000100000002000000FF");
//! assert_eq!(segment.next(size).map(|next| next.to_string()).as_deref(), Some("000000010000000300000000"));
//!
//! let name: WalFileName = "0000000100000002000000ff.partial".parse()?;
//! assert_eq!(name, WalFileName::Partial(segment));
//! assert_eq!(name.archive_directory().as_deref(), Some("0000000100000002"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backup_label;
pub mod codec;
pub mod control;
pub mod crc;
pub mod data_file;
pub mod durable;
pub mod history;
pub mod incremental;
pub mod index;
pub mod lock;
pub mod lsn;
pub mod manifest;
pub mod page;
pub mod page_checksum;
pub mod processors;
pub mod record;
pub mod segment;
pub mod tablespace_map;
pub mod timeline;

mod text;

pub use lsn::{Lsn, LsnParseError};
pub use processors::processors;
pub use segment::{
    NameParseError, SegmentName, SegmentNumber, SegmentRange, SegmentSize, SegmentSizeError, WalFileName,
};
pub use timeline::{TimelineId, TimelineParseError};

/// The example of the read-me file compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
