//! Reads an archived WAL file as the server wrote it: whatever its compression, which is told by its content.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use barman_wal::codec::{self, Algorithm};

use super::error::RestoreError;

/// A reader of the plain content of `file`, whose offset is at its start.
///
/// # Errors
///
/// It cannot be read, or its compression or encryption is not available.
pub(super) fn reader<'a>(file: &'a File, path: &Path) -> Result<impl Read + use<'a>, RestoreError> {
    let first = codec::first_bytes(file).map_err(RestoreError::io("read", path))?;
    let unreadable = |what: String| RestoreError::UnreadableWal {
        name: path.display().to_string(),
        what,
    };
    if codec::looks_encrypted(&first) {
        return Err(unreadable("encrypted (gpg)".to_owned()));
    }
    let algorithm = Algorithm::detect(&first, None).unwrap_or(Algorithm::None);
    codec::decoder(algorithm, file).map_err(|_| unreadable(format!("compressed with {algorithm}")))
}

/// Whether files of this compression, named as in the WAL catalogue, can be read.
#[must_use]
pub(super) fn available(compression: &str) -> bool {
    compression
        .parse::<Algorithm>()
        .is_ok_and(Algorithm::is_available)
}
