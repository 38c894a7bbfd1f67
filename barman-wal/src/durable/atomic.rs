//! Files that appear under their name complete or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{DurableError, file_name_of, fsync_dir, fsync_open, parent_of, rename_new};

/// Distinguishes the temporary files of one process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A name may have 255 bytes; this many of the final one are kept in the temporary one.
const STEM_LIMIT: usize = 200;

/// `.NAME.PID-SERIAL.tmp`: hidden from the shell patterns with which Barman lists directories, and with the suffix
/// that it ignores where it sees hidden files.
fn temporary_name(name: &OsStr, pid: u32, serial: u64) -> OsString {
    let mut bytes = vec![b'.'];
    bytes.extend_from_slice(name.as_bytes().get(..STEM_LIMIT).unwrap_or(name.as_bytes()));
    bytes.extend_from_slice(format!(".{pid}-{serial}.tmp").as_bytes());
    OsString::from_vec(bytes)
}

/// Whether a file of this name is one that [`AtomicFile`] makes before it commits.
#[must_use]
pub fn is_temporary_name(name: &OsStr) -> bool {
    owner_of_temporary(name).is_some()
}

/// The process id in a temporary name.
fn owner_of_temporary(name: &OsStr) -> Option<u32> {
    let inner = name.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (_, tail) = inner.rsplit_once('.')?;
    let (pid, serial) = tail.split_once('-')?;
    serial.parse::<u64>().ok()?;
    pid.parse().ok()
}

/// A file that is written under a temporary name in the directory of its final one, and gets that one when it is
/// committed. Dropping it without [`AtomicFile::commit`] removes it.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    armed: bool,
}

impl AtomicFile {
    /// Begins a file that will be `target`, with `mode` less the umask. The directory must exist.
    ///
    /// # Errors
    /// The temporary file cannot be created.
    pub fn create(target: &Path, mode: u32) -> Result<Self, DurableError> {
        Self::begin(target, |temporary| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(temporary)
        })
    }

    /// Begins a file that will be `target` as a further hard link to the open file `source`, which must be the one
    /// that `path` names (not a symbolic link). Nothing is copied: content, owner, mode and times are the source's,
    /// and a later write to the source is a write to the target.
    ///
    /// # Errors
    /// The link cannot be made: another file system ([`DurableError::is_cross_device`]), no hard links there, another
    /// owner. [`io::ErrorKind::NotFound`] also when `path` has come to name another file.
    pub fn link(source: File, path: &Path, target: &Path) -> Result<Self, DurableError> {
        let mut source = Some(source);
        Self::begin(target, |temporary| {
            fs::hard_link(path, temporary)?;
            let same = source.as_ref().map_or(Ok(false), |source| {
                let (open, linked) = (source.metadata()?, fs::symlink_metadata(temporary)?);
                Ok::<_, io::Error>((open.dev(), open.ino()) == (linked.dev(), linked.ino()))
            });
            match (same, source.take()) {
                (Ok(true), Some(source)) => Ok(source),
                (result, _) => {
                    let _ = fs::remove_file(temporary);
                    Err(result
                        .err()
                        .unwrap_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
                }
            }
        })
    }

    fn begin(target: &Path, mut make: impl FnMut(&Path) -> io::Result<File>) -> Result<Self, DurableError> {
        let name = file_name_of(target)?;
        let directory = parent_of(target);
        let pid = std::process::id();
        // A name can only be taken by a file that a dead process of the same id left behind.
        for _ in 0..10_000 {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let temporary = directory.join(temporary_name(name, pid, serial));
            match make(&temporary) {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        temporary,
                        target: target.to_path_buf(),
                        armed: true,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(DurableError::new("create", &temporary, error)),
            }
        }
        Err(DurableError::new(
            "create",
            target,
            io::Error::from(io::ErrorKind::AlreadyExists),
        ))
    }

    /// The open temporary file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its present name.
    #[must_use]
    pub fn temporary_path(&self) -> &Path {
        &self.temporary
    }

    /// Its name once committed.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Changes the final name, within the same directory: for a name that tells of the content.
    ///
    /// # Errors
    /// `name` is not a bare name.
    pub fn rename_target(&mut self, name: &OsStr) -> Result<(), DurableError> {
        let target = parent_of(&self.target).join(name);
        if file_name_of(&target)? != name {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(DurableError::new("create", &target, error));
        }
        self.target = target;
        Ok(())
    }

    /// Syncs the content, so that a later [`AtomicFile::commit_synced`] or [`AtomicFile::publish_new`] need not.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> Result<(), DurableError> {
        fsync_open(&self.file, &self.temporary)
    }

    /// Syncs, renames to the final name (replacing what is there) and syncs the directory.
    ///
    /// # Errors
    /// A step failed. Before the rename nothing has changed; after it the new content is there but may vanish with
    /// a crash of the machine.
    pub fn commit(self) -> Result<(), DurableError> {
        self.sync()?;
        self.commit_synced()
    }

    /// As [`AtomicFile::commit`], when the content is synced already.
    ///
    /// # Errors
    /// See [`AtomicFile::commit`].
    pub fn commit_synced(mut self) -> Result<(), DurableError> {
        fs::rename(&self.temporary, &self.target)
            .map_err(|error| DurableError::new("rename", &self.temporary, error))?;
        self.armed = false;
        fsync_dir(parent_of(&self.target))
    }

    /// Gives the *synced* content its final name unless something has that name
    /// ([`io::ErrorKind::AlreadyExists`]), without syncing the directory: for a caller that publishes many files and
    /// syncs the directory once afterwards.
    ///
    /// # Errors
    /// The name is taken, or the system refuses; the temporary file is removed then.
    pub fn publish_new(mut self) -> Result<(), DurableError> {
        rename_new(&self.temporary, &self.target)?;
        self.armed = false;
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.armed {
            // Nothing to do about a failure: the name is one that everybody ignores.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for AtomicFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// Makes `bytes` the content of `path`, durably and at once, with `mode` less the umask.
///
/// # Errors
/// A step failed; see [`AtomicFile::commit`].
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    let mut file = AtomicFile::create(path, mode)?;
    file.write_all(bytes)
        .map_err(|error| DurableError::new("write", file.temporary_path(), error))?;
    file.commit()
}

/// Removes the temporary files in `directory` (not below it) whose process is gone, and returns how many there were.
/// Call it where only one process at a time writes, under its lock. A missing directory has none.
///
/// # Errors
/// The directory cannot be read. Files that cannot be removed are left.
pub fn remove_stale_temporaries(directory: &Path) -> Result<usize, DurableError> {
    remove_stale_temporaries_of(directory, OsStr::new(""))
}

/// As [`remove_stale_temporaries`], but only those of files whose name begins with `prefix`: for directories that are
/// not ours alone.
///
/// # Errors
/// See [`remove_stale_temporaries`].
pub fn remove_stale_temporaries_of(directory: &Path, prefix: &OsStr) -> Result<usize, DurableError> {
    let ours = [b".", prefix.as_bytes()].concat();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(DurableError::new("read directory", directory, error)),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(|error| DurableError::new("read directory", directory, error))?;
        let name = entry.file_name();
        let Some(pid) = owner_of_temporary(&name).filter(|_| name.as_bytes().starts_with(&ours)) else {
            continue;
        };
        if !process_exists(pid) && fs::remove_file(entry.path()).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

fn process_exists(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    !matches!(
        rustix::process::test_kill_process(pid),
        Err(rustix::io::Errno::SRCH)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn dropped_files_leave_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x");
        let mut file = AtomicFile::create(&target, 0o600).unwrap();
        file.write_all(b"half").unwrap();
        let [name] = &names(directory.path())[..] else {
            panic!("one file expected")
        };
        assert!(name.starts_with(".x.") && name.ends_with(".tmp"), "{name}");
        assert!(is_temporary_name(OsStr::new(name)));
        drop(file);
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn committed_files_have_content_and_mode() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x");
        write_atomic(&target, b"one", 0o600).unwrap();
        write_atomic(&target, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(directory.path()), ["x"]);
    }

    #[test]
    fn publishing_never_replaces() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x");
        for (content, expected) in [("one", Ok(())), ("two", Err(io::ErrorKind::AlreadyExists))] {
            let mut file = AtomicFile::create(&target, 0o600).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            assert_eq!(file.publish_new().map_err(|error| error.kind()), expected);
        }
        assert_eq!(fs::read(&target).unwrap(), b"one");
        assert_eq!(names(directory.path()), ["x"]);
    }

    #[test]
    fn a_link_publishes_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (source, other, target) = (
            directory.path().join("a"),
            directory.path().join("b"),
            directory.path().join("x"),
        );
        fs::write(&source, "content").unwrap();
        fs::write(&other, "other").unwrap();
        let open = || File::open(&source).unwrap();
        let error = AtomicFile::link(open(), &other, &target).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        AtomicFile::link(open(), &source, &target)
            .unwrap()
            .publish_new()
            .unwrap();
        assert_eq!(
            fs::metadata(&source).unwrap().ino(),
            fs::metadata(&target).unwrap().ino()
        );
        // Both names are one file by now: still nothing is replaced, and no temporary name stays.
        let again = AtomicFile::link(open(), &source, &target).unwrap().publish_new();
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(directory.path()), ["a", "b", "x"]);
    }

    #[test]
    fn long_names_are_shortened() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("n".repeat(255));
        write_atomic(&target, b"", 0o600).unwrap();
        assert!(target.exists());
    }

    #[test]
    fn only_the_dead_are_swept() {
        let directory = tempfile::tempdir().unwrap();
        // Beyond the highest process id a Linux kernel gives out.
        for name in [".x.99999999-1.tmp", "x", ".x.tmp", ".x.1-y.tmp"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let mine = AtomicFile::create(&directory.path().join("y"), 0o600).unwrap();
        assert_eq!(remove_stale_temporaries(directory.path()).unwrap(), 1);
        assert_eq!(names(directory.path()).len(), 4);
        drop(mine);
        assert_eq!(names(directory.path()), [".x.1-y.tmp", ".x.tmp", "x"]);
        assert_eq!(
            remove_stale_temporaries(&directory.path().join("none")).unwrap(),
            0
        );
    }
}
