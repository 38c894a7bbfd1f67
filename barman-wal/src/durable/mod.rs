//! Making names point at content that is on disk: the only module of the project that renames and syncs.
//!
//! The rule behind all functions: content is synced before a name points at it, and a directory is synced before
//! anybody is told that its new (or removed) name is there to stay. A process that is killed, or a machine that
//! loses power, between any two system calls leaves either the old state or the new one under a final name, and at
//! most a temporary file beside it: hidden, ending in `.tmp` ([`is_temporary_name`]), which Barman ignores everywhere.
//!
//! ```
//! use barman_wal::durable::{self, AtomicFile};
//! use std::io::Write;
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("identity.json");
//! durable::write_atomic(&path, b"{}", 0o644)?;
//!
//! let mut file = AtomicFile::create(&path, 0o644)?;
//! file.write_all(b"{\"systemid\": 1}")?;
//! assert_eq!(std::fs::read(&path)?, b"{}"); // nothing has changed yet
//! file.commit()?;
//! assert_eq!(std::fs::read(&path)?, b"{\"systemid\": 1}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "this is the module that the lint sends everybody else to"
)]

mod atomic;
mod copy;
mod tree;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use atomic::{
    AtomicFile, is_temporary_name, remove_stale_temporaries, remove_stale_temporaries_of, write_atomic,
};
pub use copy::{CopyOptions, Preserve, copy_attributes, copy_durable, set_times};
pub use tree::{TreeSync, sync_tree};

/// What was being done to which file when the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}", path.display())]
pub struct DurableError {
    /// What was being done, in words: `sync`, `rename`, `create` ...
    pub action: &'static str,
    /// To which file or directory.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

impl DurableError {
    pub(crate) fn new(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self {
            action,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    /// What the system said.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether two directories that were expected on one file system are not.
    #[must_use]
    pub fn is_cross_device(&self) -> bool {
        self.source.kind() == io::ErrorKind::CrossesDevices
    }
}

impl From<DurableError> for io::Error {
    fn from(error: DurableError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// Syncs an open file: content and metadata are on disk when it returns.
///
/// # Errors
/// The system's. After a failed sync the content must be considered lost: a second one may "succeed".
pub fn fsync_open(file: &File, path: &Path) -> Result<(), DurableError> {
    file.sync_all()
        .map_err(|error| DurableError::new("sync", path, error))
}

/// Opens a regular file (or a link to one) for reading. Anything else is refused at once: the open of a FIFO that lies
/// where a file should be would wait for its writer, without an end.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        // Means nothing to a regular file.
        .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0))
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ))
    }
}

/// Syncs a file by name. A file that the system syncs only for writers is opened for writing.
///
/// # Errors
/// It cannot be opened or synced.
pub fn fsync_file(path: &Path) -> Result<(), DurableError> {
    let file = File::open(path).map_err(|error| DurableError::new("open", path, error))?;
    match file.sync_all() {
        // Some network file systems sync only what is open for writing; they say EACCES or EBADF.
        Err(error) if matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::ACCESS.raw_os_error() || code == rustix::io::Errno::BADF.raw_os_error()) =>
        {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .map_err(|error| DurableError::new("open for writing", path, error))?;
            fsync_open(&file, path)
        }
        result => result.map_err(|error| DurableError::new("sync", path, error)),
    }
}

/// Syncs a directory: the names that were made, changed and removed in it are on disk when it returns. A file system
/// that has nothing to sync there (EINVAL) counts as synced.
///
/// # Errors
/// It cannot be opened or synced.
pub fn fsync_dir(path: &Path) -> Result<(), DurableError> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let directory = File::open(path).map_err(|error| DurableError::new("open directory", path, error))?;
    match directory.sync_all() {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => Ok(()),
        result => result.map_err(|error| DurableError::new("sync directory", path, error)),
    }
}

/// Syncs the directory that holds `path`.
///
/// # Errors
/// It cannot be opened or synced.
pub fn fsync_parent(path: &Path) -> Result<(), DurableError> {
    fsync_dir(parent_of(path))
}

/// Syncs the file `from`, renames it to `to` (replacing what is there), and syncs the directories of both names.
///
/// # Errors
/// A step failed. If only the last syncs failed, the name has changed but may come back after a crash.
pub fn rename_durable(from: &Path, to: &Path) -> Result<(), DurableError> {
    let kind = fs::symlink_metadata(from)
        .map_err(|error| DurableError::new("look at", from, error))?
        .file_type();
    if kind.is_file() {
        fsync_file(from)?;
    }
    rename_synced(from, to)
}

/// As [`rename_durable`], for content that the caller has synced already, and for directories, links and the like.
///
/// # Errors
/// See [`rename_durable`].
pub fn rename_synced(from: &Path, to: &Path) -> Result<(), DurableError> {
    fs::rename(from, to).map_err(|error| DurableError::new("rename", from, error))?;
    sync_both_parents(from, to)
}

/// As [`rename_synced`], but refuses ([`io::ErrorKind::AlreadyExists`]) to replace anything: of two processes that
/// race for a name one wins and none loses its content.
///
/// # Errors
/// See [`rename_durable`].
pub fn rename_new_synced(from: &Path, to: &Path) -> Result<(), DurableError> {
    rename_new(from, to)?;
    sync_both_parents(from, to)
}

/// Renames without replacing and without syncing anything: for a caller that renames many files and then syncs each
/// directory once.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when `to` exists, or the system's refusal.
pub fn rename_new(from: &Path, to: &Path) -> Result<(), DurableError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // Not known to this file system or kernel. A hard link does not replace either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            match fs::hard_link(from, to) {
                Ok(()) => fs::remove_file(from).map_err(|error| DurableError::new("remove", from, error)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Err(DurableError::new("rename", from, error))
                }
                // No hard links either (some network file systems). What remains is to look first.
                Err(_) if fs::symlink_metadata(to).is_ok() => Err(DurableError::new(
                    "rename",
                    from,
                    io::Error::from(io::ErrorKind::AlreadyExists),
                )),
                Err(_) => fs::rename(from, to).map_err(|error| DurableError::new("rename", from, error)),
            }
        }
        Err(error) => Err(DurableError::new("rename", from, error)),
    }
}

fn sync_both_parents(from: &Path, to: &Path) -> Result<(), DurableError> {
    let (from, to) = (parent_of(from), parent_of(to));
    // The new name first: a crash between the two shows the file twice rather than nowhere.
    fsync_dir(to)?;
    if from == to { Ok(()) } else { fsync_dir(from) }
}

/// Removes a file and syncs its directory. `false` when there was none.
///
/// # Errors
/// It is there and cannot be removed, or the directory cannot be synced.
pub fn remove_durable(path: &Path) -> Result<bool, DurableError> {
    match fs::remove_file(path) {
        Ok(()) => fsync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DurableError::new("remove", path, error)),
    }
}

/// Removes a directory with all that is in it (links are not followed) and syncs the directory that held it.
/// `false` when there was none.
///
/// # Errors
/// Something in it cannot be removed, or the holding directory cannot be synced.
pub fn remove_tree_durable(path: &Path) -> Result<bool, DurableError> {
    match fs::remove_dir_all(path) {
        Ok(()) => fsync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DurableError::new("remove directory", path, error)),
    }
}

/// Creates a directory and those above it that are missing, with `mode` less the umask, and syncs each directory in
/// which one was created. Does nothing when it exists.
///
/// # Errors
/// One cannot be created or synced, or a file is in the way.
pub fn create_dir_all_durable(path: &Path, mode: u32) -> Result<(), DurableError> {
    let mut missing = Vec::new();
    let mut current = path;
    while !current.as_os_str().is_empty() {
        match fs::metadata(current) {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => {
                let error = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(DurableError::new("create directory", current, error));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(current),
            Err(error) => return Err(DurableError::new("look at", current, error)),
        }
        match current.parent() {
            Some(parent) => current = parent,
            None => break,
        }
    }
    for directory in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(mode).create(directory) {
            Ok(()) => {}
            // Somebody else was quicker. Its name may not be on disk yet, so the sync is needed as well.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
            Err(error) => return Err(DurableError::new("create directory", directory, error)),
        }
        fsync_parent(directory)?;
    }
    Ok(())
}

/// Whether something that is neither a file, a directory nor a link.
fn is_special(kind: fs::FileType) -> bool {
    kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device()
}

/// The directory that holds `path`; `.` for a bare name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// The last component of `path`.
fn file_name_of(path: &Path) -> Result<&OsStr, DurableError> {
    path.file_name()
        .ok_or_else(|| DurableError::new("create", path, io::Error::from(io::ErrorKind::InvalidInput)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let (file, fifo, link) = (
            directory.path().join("file"),
            directory.path().join("fifo"),
            directory.path().join("link"),
        );
        fs::write(&file, "content").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        for (path, expected) in [
            (file.as_path(), Ok(())),
            (&link, Ok(())),
            (&fifo, Err(io::ErrorKind::InvalidInput)),
            (directory.path(), Err(io::ErrorKind::InvalidInput)),
            (&directory.path().join("none"), Err(io::ErrorKind::NotFound)),
        ] {
            assert_eq!(
                open_file(path).map(drop).map_err(|e| e.kind()),
                expected,
                "{path:?}"
            );
        }
    }

    #[test]
    fn rename_replaces_and_rename_new_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let refused = rename_new_synced(&a, &b).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (fs::read(&a).unwrap(), fs::read(&b).unwrap()),
            (b"a".to_vec(), b"b".to_vec())
        );
        rename_durable(&a, &b).unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"a");
        assert!(!a.exists());
        rename_new_synced(&b, &a).unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"a");
    }

    #[test]
    fn a_missing_source_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nothing");
        let error = rename_durable(&path, &directory.path().join("b")).unwrap_err();
        assert_eq!((error.kind(), &error.path), (io::ErrorKind::NotFound, &path));
        assert!(error.to_string().starts_with("cannot look at `/"), "{error}");
        assert!(!remove_durable(&path).unwrap());
        assert!(!remove_tree_durable(&path).unwrap());
    }

    #[test]
    fn directories_are_made_with_their_mode() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b/c");
        create_dir_all_durable(&deep, 0o700).unwrap();
        create_dir_all_durable(&deep, 0o755).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
        let file = deep.join("file");
        fs::write(&file, "").unwrap();
        let error = create_dir_all_durable(&file.join("x"), 0o700).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        assert!(remove_tree_durable(&directory.path().join("a")).unwrap());
    }

    #[test]
    fn a_file_without_permissions_of_its_owner_can_be_synced_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        fsync_file(&path).unwrap();
        fsync_parent(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
    }
}
