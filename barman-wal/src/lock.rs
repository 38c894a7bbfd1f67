//! The lock files of Barman: BSD `flock(2)` on `.SERVER-cron.lock` and its like, so that this program and Barman can
//! work side by side.
//!
//! A lock is held if and only if the `flock` is held; the content (`PID\n`) only tells who. The file stays when the
//! lock is released, until [`cleanup`] removes it. A descriptor that was opened just before somebody's clean-up would
//! lock a file without a name while others lock its successor; so after locking, the file under the name is compared
//! with the one that is open, and opened anew if they differ.
//!
//! ```
//! use barman_wal::lock::{self, Lock, LockError};
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join(".main-cron.lock");
//! let held = Lock::try_acquire(&path)?;
//! assert!(matches!(Lock::try_acquire(&path), Err(LockError::Busy { pid: Some(_), .. })));
//! assert_eq!(lock::probe(&path)?, Some(std::process::id()));
//! drop(held);
//! assert_eq!(lock::probe(&path)?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::durable;

/// How often a lock file may vanish under our hands before we stop: each time somebody else has cleaned up.
const REOPEN_LIMIT: u32 = 1000;
/// The shortest and the longest pause between two attempts of a waiting process.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Why a lock was not obtained.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process (or another part of this one) holds it.
    #[error("`{}` is locked{}", path.display(), pid.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The holder, as far as the file tells; unknown for shared locks and unreadable content.
        pid: Option<u32>,
    },
    /// The file cannot be opened or created with the rights of this user.
    #[error("permission denied to lock `{}`", path.display())]
    Denied {
        /// The lock file.
        path: PathBuf,
    },
    /// The caller's cancel flag was raised while waiting.
    #[error("interrupted while waiting for `{}`", path.display())]
    Cancelled {
        /// The lock file.
        path: PathBuf,
    },
    /// Anything else that the system says.
    #[error("cannot lock `{}`: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LockError {
    /// Whether somebody else holds it.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    fn io(path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Denied {
                path: path.to_path_buf(),
            }
        } else {
            Self::Io {
                path: path.to_path_buf(),
                source,
            }
        }
    }
}

/// Whether others may hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exclusive,
    Shared,
}

/// How long to wait for a busy lock.
#[derive(Debug, Clone, Copy)]
enum Patience<'a> {
    None,
    Until(Instant, Option<&'a AtomicBool>),
    Forever(Option<&'a AtomicBool>),
}

impl<'a> Patience<'a> {
    fn within(wait: Duration, cancel: Option<&'a AtomicBool>) -> Self {
        match Instant::now().checked_add(wait) {
            Some(deadline) => Self::Until(deadline, cancel),
            None => Self::Forever(cancel),
        }
    }
}

/// A lock that is held until this is dropped. Child programs do not inherit it.
#[derive(Debug)]
#[must_use = "a lock is released when it is dropped"]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the exclusive lock `path` if nobody holds it, creating the file (mode 0600) and writing our process id
    /// into it.
    ///
    /// # Errors
    /// [`LockError::Busy`] at once when somebody holds it, [`LockError::Denied`], or the system's.
    pub fn try_acquire(path: &Path) -> Result<Self, LockError> {
        Self::obtain(path, Kind::Exclusive, Patience::None)
    }

    /// As [`Lock::try_acquire`], but waits until it is free, or until `cancel` is raised.
    ///
    /// # Errors
    /// [`LockError::Cancelled`], [`LockError::Denied`], or the system's.
    pub fn acquire(path: &Path, cancel: Option<&AtomicBool>) -> Result<Self, LockError> {
        Self::obtain(path, Kind::Exclusive, Patience::Forever(cancel))
    }

    /// As [`Lock::acquire`], but gives up after `wait`. A starter that allows about a second is not misled by another
    /// process that only probes the lock.
    ///
    /// # Errors
    /// [`LockError::Busy`] when the time is over, and those of [`Lock::acquire`].
    pub fn acquire_within(
        path: &Path,
        wait: Duration,
        cancel: Option<&AtomicBool>,
    ) -> Result<Self, LockError> {
        Self::obtain(path, Kind::Exclusive, Patience::within(wait, cancel))
    }

    /// Takes a shared lock if nobody holds the exclusive one. The file's content is not touched.
    ///
    /// # Errors
    /// See [`Lock::try_acquire`].
    pub fn try_acquire_shared(path: &Path) -> Result<Self, LockError> {
        Self::obtain(path, Kind::Shared, Patience::None)
    }

    /// As [`Lock::try_acquire_shared`], but waits until it is free, or until `cancel` is raised.
    ///
    /// # Errors
    /// See [`Lock::acquire`].
    pub fn acquire_shared(path: &Path, cancel: Option<&AtomicBool>) -> Result<Self, LockError> {
        Self::obtain(path, Kind::Shared, Patience::Forever(cancel))
    }

    /// As [`Lock::acquire_shared`], but gives up after `wait`.
    ///
    /// # Errors
    /// See [`Lock::acquire_within`].
    pub fn acquire_shared_within(
        path: &Path,
        wait: Duration,
        cancel: Option<&AtomicBool>,
    ) -> Result<Self, LockError> {
        Self::obtain(path, Kind::Shared, Patience::within(wait, cancel))
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the lock file and releases the lock, in this order: nobody can take a lock that is about to vanish.
    ///
    /// # Errors
    /// The file cannot be removed; the lock is released all the same.
    pub fn remove(self) -> Result<(), LockError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LockError::io(&self.path, error)),
            _ => Ok(()),
        }
    }

    fn obtain(path: &Path, kind: Kind, patience: Patience<'_>) -> Result<Self, LockError> {
        let (mut pause, longest) = PAUSES;
        loop {
            let busy = match attempt(path, kind)? {
                Ok(file) => {
                    let lock = Self {
                        file,
                        path: path.to_path_buf(),
                    };
                    if kind == Kind::Exclusive {
                        lock.write_pid()?;
                    }
                    return Ok(lock);
                }
                Err(pid) => LockError::Busy {
                    path: path.to_path_buf(),
                    pid,
                },
            };
            let cancel = match patience {
                Patience::None => return Err(busy),
                Patience::Until(deadline, _) if Instant::now() >= deadline => return Err(busy),
                Patience::Until(_, cancel) | Patience::Forever(cancel) => cancel,
            };
            if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return Err(LockError::Cancelled {
                    path: path.to_path_buf(),
                });
            }
            // A waiting flock(2) cannot be given a deadline nor a flag to look at.
            thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }

    fn write_pid(&self) -> Result<(), LockError> {
        let text = format!("{}\n", std::process::id());
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        match self.file.write_all_at(text.as_bytes(), 0) {
            // The lock is ours all the same, and deleting a backup needs one. Only a file that was empty gets here, so
            // nobody is misled by what an earlier holder wrote.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                log::debug!(target: "barman.lockfile", "no room for the process id in {}: {error}", self.path.display());
                Ok(())
            }
            result => result
                .and_then(|()| self.file.set_len(length))
                .map_err(|error| LockError::io(&self.path, error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Explicit, because a child between fork and exec may have a copy of the descriptor.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// One attempt: the locked file, or the process that has it.
fn attempt(path: &Path, kind: Kind) -> Result<Result<File, Option<u32>>, LockError> {
    let operation = match kind {
        Kind::Exclusive => FlockOperation::NonBlockingLockExclusive,
        Kind::Shared => FlockOperation::NonBlockingLockShared,
    };
    for _ in 0..REOPEN_LIMIT {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| LockError::io(path, error))?;
        match lock_now(&file, operation) {
            Ok(true) if is_still(&file, path)? => return Ok(Ok(file)),
            // Removed since we opened it: whoever comes next would lock another file.
            Ok(true) => {}
            // Held by whoever removed it, most likely a clean-up: the name is free.
            Ok(false) if !is_still(&file, path)? => {}
            Ok(false) => return Ok(Err(read_pid(&file))),
            Err(error) => return Err(LockError::io(path, error)),
        }
    }
    Err(LockError::io(
        path,
        io::Error::other("the file is removed again and again"),
    ))
}

/// `false` when somebody else has it.
fn lock_now(file: &File, operation: FlockOperation) -> Result<bool, Errno> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether `path` names the file that is open.
fn is_still(file: &File, path: &Path) -> Result<bool, LockError> {
    let open = file.metadata().map_err(|error| LockError::io(path, error))?;
    match fs::metadata(path) {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LockError::io(path, error)),
    }
}

/// The first line as a number.
fn read_pid(file: &File) -> Option<u32> {
    let mut buffer = [0u8; 32];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Who holds the exclusive lock `path`: a process id, or nobody. Looks with a shared lock, so that two who look do
/// not disturb each other, and does not change the file's content nor create it.
///
/// # Errors
/// The file cannot be opened, or it is locked and does not tell by whom ([`LockError::Busy`] without `pid`).
pub fn probe(path: &Path) -> Result<Option<u32>, LockError> {
    let file = match durable::open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LockError::io(path, error)),
    };
    match lock_now(&file, FlockOperation::NonBlockingLockShared) {
        Ok(true) => {
            let _ = flock(&file, FlockOperation::Unlock);
            Ok(None)
        }
        Ok(false) if !is_still(&file, path)? => Ok(None),
        Ok(false) => match read_pid(&file) {
            Some(pid) => Ok(Some(pid)),
            None => Err(LockError::Busy {
                path: path.to_path_buf(),
                pid: None,
            }),
        },
        Err(error) => Err(LockError::io(path, error)),
    }
}

/// Whether [`Lock::try_acquire`] would succeed now: nobody holds the lock `path`, shared neither. Holds it for an instant
/// to find out, and neither creates the file nor changes its content.
///
/// # Errors
/// Those of [`Lock::try_acquire`].
pub fn check_free(path: &Path) -> Result<(), LockError> {
    let file = match durable::open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(LockError::io(path, error)),
    };
    match lock_now(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(true) => {
            let _ = flock(&file, FlockOperation::Unlock);
            Ok(())
        }
        Ok(false) if !is_still(&file, path)? => Ok(()),
        Ok(false) => Err(LockError::Busy {
            path: path.to_path_buf(),
            pid: read_pid(&file),
        }),
        Err(error) => Err(LockError::io(path, error)),
    }
}

/// Removes every lock file `.*.lock` in `directory` that nobody holds, and returns them in the order of their names.
/// Files that are held, or that cannot be opened or removed, stay.
///
/// # Errors
/// The directory cannot be read.
pub fn cleanup(directory: &Path) -> Result<Vec<PathBuf>, LockError> {
    let fail = |error| LockError::io(directory, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let name = name.as_bytes();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && name.starts_with(b".") && name.ends_with(b".lock") && name.len() > b"..lock".len() - 1 {
            paths.push(entry.path());
        }
    }
    paths.sort();
    paths.retain(|path| remove_unheld(path).unwrap_or(false));
    Ok(paths)
}

fn remove_unheld(path: &Path) -> Result<bool, LockError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| LockError::io(path, error))?;
    let locked = lock_now(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| LockError::io(path, error))?;
    if !locked {
        return Ok(false);
    }
    // Held from here on, so nobody else can come to own this file; the name goes first, then the lock.
    if !is_still(&file, path)? {
        return Ok(false);
    }
    fs::remove_file(path).map_err(|error| LockError::io(path, error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn content_mode_and_release() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".main-cron.lock");
        fs::write(&path, "a longer text of somebody else\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let lock = Lock::try_acquire(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        drop(lock);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
        let lock = Lock::try_acquire(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        lock.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_full_disk_does_not_keep_from_locking() {
        // The device is everybody's: another run of this test may have it.
        let lock = Lock::acquire_within(Path::new("/dev/full"), Duration::from_secs(60), None).unwrap();
        assert!(matches!(
            Lock::try_acquire(Path::new("/dev/full")),
            Err(LockError::Busy { pid: None, .. })
        ));
        drop(lock);
    }

    #[test]
    fn a_lock_of_another_program_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".main-backup.lock");
        fs::write(&path, "4711\n").unwrap();
        let foreign = File::open(&path).unwrap();
        flock(&foreign, FlockOperation::LockExclusive).unwrap();
        assert!(matches!(
            Lock::try_acquire(&path),
            Err(LockError::Busy { pid: Some(4711), .. })
        ));
        assert!(matches!(
            Lock::try_acquire_shared(&path),
            Err(LockError::Busy { .. })
        ));
        assert_eq!(probe(&path).unwrap(), Some(4711));
        assert_eq!(fs::read_to_string(&path).unwrap(), "4711\n");
        fs::write(&path, "nonsense\n").unwrap();
        assert!(matches!(probe(&path), Err(LockError::Busy { pid: None, .. })));
        flock(&foreign, FlockOperation::Unlock).unwrap();
        assert_eq!(probe(&path).unwrap(), None);
        assert_eq!(probe(&directory.path().join("none")).unwrap(), None);
        // What is no file at all is not waited for.
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        assert!(matches!(probe(&fifo), Err(LockError::Io { .. })));
        assert!(matches!(check_free(&fifo), Err(LockError::Io { .. })));
        assert!(!directory.path().join("none").exists());
    }

    #[test]
    fn shared_locks_go_together() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".main-ID.lock");
        let one = Lock::try_acquire_shared(&path).unwrap();
        let two = Lock::try_acquire_shared(&path).unwrap();
        assert!(Lock::try_acquire(&path).is_err());
        drop(one);
        assert!(Lock::try_acquire(&path).is_err());
        // Who only looks for an exclusive holder sees none; who wants to know whether it is free does.
        assert_eq!(probe(&path).unwrap(), None);
        assert!(check_free(&path).unwrap_err().is_busy());
        let short = Duration::from_millis(5);
        assert!(Lock::acquire_shared_within(&path, short, None).is_ok());
        drop(two);
        check_free(&path).unwrap();
        let held = Lock::try_acquire(&path).unwrap();
        assert!(
            Lock::acquire_shared_within(&path, short, None)
                .unwrap_err()
                .is_busy()
        );
        drop(held);
        check_free(&directory.path().join("none")).unwrap();
        assert!(!directory.path().join("none").exists());
    }

    #[test]
    fn waiting_ends_with_release_deadline_or_cancel() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".main-xlogdb.lock");
        let held = Lock::try_acquire(&path).unwrap();
        assert!(
            Lock::acquire_within(&path, Duration::from_millis(5), None)
                .unwrap_err()
                .is_busy()
        );
        let cancel = AtomicBool::new(true);
        assert!(matches!(
            Lock::acquire(&path, Some(&cancel)),
            Err(LockError::Cancelled { .. })
        ));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::acquire(&path, None).map(drop));
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }

    #[test]
    fn cleaning_up_leaves_what_is_held_or_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in [
            ".a-cron.lock",
            ".b-cron.lock",
            "c-cron.lock",
            ".d-cron.lock.x",
            ".lock",
        ] {
            fs::write(at(name), "1\n").unwrap();
        }
        let held = Lock::try_acquire(&at(".b-cron.lock")).unwrap();
        assert_eq!(cleanup(directory.path()).unwrap(), [at(".a-cron.lock")]);
        assert!(at(".b-cron.lock").exists() && at("c-cron.lock").exists() && at(".lock").exists());
        drop(held);
        assert_eq!(cleanup(directory.path()).unwrap(), [at(".b-cron.lock")]);
        assert!(cleanup(&at("missing")).is_err());
    }

    /// With the naive order two threads come to hold "the" lock at once when a third removes the file in between.
    #[test]
    fn clean_up_never_makes_two_holders() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".main-cron.lock");
        let inside = Arc::new(AtomicUsize::new(0));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let cleaner = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    cleanup(directory.path()).unwrap();
                }
            });
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    let inside = Arc::clone(&inside);
                    let path = &path;
                    scope.spawn(move || {
                        for _ in 0..300 {
                            let lock = Lock::acquire(path, None).unwrap();
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    })
                })
                .collect();
            let results: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            stop.store(true, Ordering::Relaxed);
            cleaner.join().unwrap();
            assert!(results.iter().all(Result::is_ok));
        });
    }
}
