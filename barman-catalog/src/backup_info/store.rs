//! The file on disk: found in either place, replaced atomically, changed only under the lock of its backup.

use super::{BackupInfo, BackupInfoError, WriteError};
use crate::ids::BackupId;
use crate::layout::Layout;
use barman_wal::lock::{Lock, LockError};
use std::io;
use std::path::{Path, PathBuf};

/// A file of metadata larger than this is not one.
const MAX_BYTES: u64 = 64 << 20;

/// Why a `backup.info` could not be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such backup.
    #[error("backup {id} of server {server} has no backup.info")]
    Missing {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// The file is not what it should be.
    #[error("cannot read {}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: BackupInfoError,
    },
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be replaced.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A value cannot be written.
    #[error(transparent)]
    Value(#[from] WriteError),
    /// The lock of the backup could not be taken.
    #[error("cannot lock backup {id} of server {server}: {source}")]
    Lock {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Why.
        source: LockError,
    },
}

impl StoreError {
    /// Whether the disk has no room for the file.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Write { source, .. } if crate::files::is_out_of_space(source))
    }
}

/// Reads at most [`MAX_BYTES`] of a file.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = barman_wal::durable::open_file(path)?;
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "too large for a metadata file",
        ));
    }
    Ok(content)
}

/// Reads `backup.info` of `id`: from `meta/`, or else from where Barman kept it before 3.13.2.
///
/// # Errors
/// No file in either place; unreadable; not a `backup.info`.
pub fn load(layout: &Layout, id: BackupId) -> Result<BackupInfo, StoreError> {
    for path in [layout.backup_info(id), layout.old_backup_info(id)] {
        match read_bounded(&path) {
            Ok(content) => {
                return BackupInfo::parse(id, layout.server(), &content)
                    .map_err(|source| StoreError::Invalid { path, source });
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(source) => return Err(StoreError::Read { path, source }),
        }
    }
    Err(StoreError::Missing {
        id,
        server: layout.server().to_owned(),
    })
}

/// Replaces `backup.info` in `meta/`, durably: content, name and directory are on disk on return.
///
/// The caller created the backup or holds its lock; everybody else uses [`update`].
///
/// # Errors
/// A value that cannot be written; the file system's errors.
pub fn save(layout: &Layout, info: &BackupInfo) -> Result<(), StoreError> {
    let path = layout.backup_info(info.id);
    let text = info.to_text()?;
    crate::files::replace(&path, text.as_bytes()).map_err(|source| StoreError::Write { path, source })
}

/// Changes `backup.info` of `id`: takes the lock of the backup without waiting, reads the file again, lets `change`
/// work on what is there now, and replaces it. Returns what was written.
///
/// # Errors
/// The lock is held or not accessible; reading; writing.
pub fn update(
    layout: &Layout,
    id: BackupId,
    change: impl FnOnce(&mut BackupInfo),
) -> Result<BackupInfo, StoreError> {
    let lock = Lock::try_acquire(&layout.id_lock(id)).map_err(|source| StoreError::Lock {
        id,
        server: layout.server().to_owned(),
        source,
    })?;
    let result = update_locked(layout, id, change);
    drop(lock);
    result
}

/// As [`update`], for a caller that holds the lock of the backup already.
///
/// # Errors
/// Reading; writing.
pub fn update_locked(
    layout: &Layout,
    id: BackupId,
    change: impl FnOnce(&mut BackupInfo),
) -> Result<BackupInfo, StoreError> {
    let mut info = load(layout, id)?;
    change(&mut info);
    save(layout, &info)?;
    Ok(info)
}
