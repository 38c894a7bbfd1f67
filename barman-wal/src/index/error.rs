//! What can go wrong with an index. None of it matters to the archive: the index can be made again.

use std::io;
use std::path::{Path, PathBuf};

use crate::durable::DurableError;
use crate::lock::LockError;
use crate::segment::{SegmentName, SegmentSize};

/// Why the index was not written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The lock of the index was not obtained.
    #[error("cannot lock the WAL index: {0}")]
    Lock(#[from] LockError),
    /// A newer program wrote it.
    #[error("`{}` was written by a newer version of this program; remove it to have it made again", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The segment is of another size than the index is for.
    #[error("segment {name} has {found} bytes, the WAL index is for segments of {expected}")]
    Size {
        /// The segment.
        name: SegmentName,
        /// Its size.
        found: SegmentSize,
        /// That of the index.
        expected: SegmentSize,
    },
    /// The system says no.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be made durable.
    #[error("WAL index: {0}")]
    Durable(#[from] DurableError),
}

impl IndexError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what,
            path: path.to_path_buf(),
            source,
        }
    }
}
