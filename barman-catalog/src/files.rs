//! Small files of metadata: replaced and removed durably, with the modes Barman's have.

use barman_wal::durable;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What Barman creates its metadata with: everything the umask leaves.
pub(crate) const MODE: u32 = 0o666;

/// Replaces a file, making the directories above it. Everything is on disk on return.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        create_directories(directory)?;
    }
    durable::write_atomic(path, content, MODE).map_err(io::Error::from)
}

/// Makes an empty file, durably, which needs no room for content. One that is there stays as it is.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(path)?;
    durable::fsync_open(&file, path)?;
    durable::fsync_parent(path).map_err(io::Error::from)
}

/// Whether a disk or a quota is full.
pub(crate) fn is_out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Makes a directory and those above it, durably.
pub(crate) fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_directories(above)?;
    }
    match std::fs::create_dir(path) {
        Ok(()) => durable::fsync_parent(path).map_err(io::Error::from),
        // Somebody else was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Removes a file, durably. One that does not exist is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match durable::remove_durable(path) {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
