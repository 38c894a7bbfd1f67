//! `backup_manifest`: which files a base backup has, with size and checksum, and which WAL it needs (PostgreSQL,
//! `backup_manifest.c`, `parse_manifest.c`; versions 1, and 2 with the system identifier from PostgreSQL 17).
//!
//! A manifest is read as a stream: files are handed to a callback one by one, so that memory does not grow with their
//! number. The manifest ends with a SHA-256 over itself; only when [`read`] returns without error were the entries
//! that it handed out true.
//!
//! ```
//! use barman_wal::manifest::{self, Algorithm, Hasher, ManifestFile, ManifestWriter};
//!
//! let mut hasher = Hasher::new(Algorithm::Crc32c);
//! hasher.update(b"15\n");
//! let file = ManifestFile { path: "PG_VERSION".into(), size: 3, last_modified: None, checksum: hasher.finish() };
//!
//! let mut content = Vec::new();
//! let mut writer = ManifestWriter::new(&mut content, Some(7))?;
//! writer.file(&file)?;
//! writer.finish(&[])?;
//!
//! let mut paths = Vec::new();
//! let summary = manifest::read(content.as_slice(), |file| {
//!     paths.push(file.path);
//!     Ok::<(), std::convert::Infallible>(())
//! })?;
//! assert_eq!((paths, summary.system_identifier), (vec!["PG_VERSION".into()], Some(7)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod barman;
mod checksum;
mod read;
mod write;

use std::path::PathBuf;

use crate::lsn::Lsn;
use crate::timeline::TimelineId;

pub use barman::BarmanManifestWriter;
pub use checksum::{Algorithm, Checksum, Hasher, UnknownAlgorithm};
pub use read::{ManifestError, read};
pub use write::ManifestWriter;

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Below the data directory; relative, without `..` (tablespaces are below `pg_tblspc/OID`).
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// As written: `2026-11-21 09:20:25 GMT`.
    pub last_modified: Option<String>,
    /// `None` if the backup was taken without checksums.
    pub checksum: Option<Checksum>,
}

/// WAL that a backup needs to be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRange {
    /// On this timeline,
    pub timeline: TimelineId,
    /// from here
    pub start: Lsn,
    /// to here, exclusive.
    pub end: Lsn,
}

/// What a manifest tells besides the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSummary {
    /// 1 or 2.
    pub version: u32,
    /// The cluster, in version 2.
    pub system_identifier: Option<u64>,
    /// How many files there were.
    pub files: u64,
    /// The sum of their sizes, bytes.
    pub bytes: u64,
    /// The WAL the backup needs; empty in manifests of `generate-manifest`.
    pub wal_ranges: Vec<WalRange>,
}

/// Two hexadecimal digits for each byte, lower case.
fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads [`to_hex`], in either case.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect()
}
