//! Reads an archived WAL file as the server wrote it: whatever its compression, which is told by its content.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use barman_wal::WalFileName;
use barman_wal::codec;

use super::error::RestoreError;
use crate::ops::wal_codec::WalCodec;

/// A reader of the plain content of `file`, which the archive has under `name` at `path`. The user's filter asks
/// `cancelled` whether to stop.
///
/// # Errors
///
/// It cannot be read, or its compression or encryption is not available.
pub(super) fn reader<'a>(
    codec: &WalCodec<'_>,
    name: WalFileName,
    file: &'a File,
    path: &Path,
    cancelled: &'a dyn Fn() -> bool,
) -> Result<Box<dyn Read + 'a>, RestoreError> {
    let first = codec::first_bytes(file).map_err(RestoreError::io("read", path))?;
    let unreadable = |what: String| RestoreError::UnreadableWal {
        name: path.display().to_string(),
        what,
    };
    if codec::looks_encrypted(&first) {
        return Err(unreadable("encrypted (gpg)".to_owned()));
    }
    let algorithm = codec.stored_as(name, &first);
    codec
        .reader(algorithm, 1, file, cancelled)
        .map_err(|error| unreadable(format!("compressed with {algorithm} ({error})")))
}

/// Whether files of this compression, named as in the WAL catalogue, can be read.
#[must_use]
pub(super) fn available(codec: &WalCodec<'_>, compression: &str) -> bool {
    compression.parse().is_ok_and(|algorithm| codec.reads(algorithm))
}
