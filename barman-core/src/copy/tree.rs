//! Copies a directory tree with several threads, each file under its final name, modes and times kept.
//!
//! Nothing is synced here: the caller syncs the whole tree when everything is in place, and until then nothing may
//! take the copy for a whole one. Symbolic links are followed, as Barman's rsync does. Memory does not grow with the
//! number of files, only with the number of directories.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use barman_wal::durable::{self, DurableError};

use super::limit::RateLimit;
use crate::context::{Cancel, Progress};

/// How many files wait for a free thread.
const QUEUE: usize = 256;
/// How much is copied between two looks at the cancel flag.
const CHUNK: usize = 8 << 20;
/// Buffer of a thread where the kernel cannot copy by itself.
const BUFFER: usize = 256 << 10;
/// Nobody nests directories like this; a loop of links does.
const MAX_DEPTH: usize = 64;

/// Why a tree could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The system refused.
    #[error("cannot {action} '{}': {source}", path.display())]
    Io {
        /// Verb.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has another size than the directory said: somebody else writes there, or the disk is failing.
    #[error("'{}' gave {copied} bytes where {expected} were expected", path.display())]
    Size {
        /// The source file.
        path: PathBuf,
        /// Size before the copy.
        expected: u64,
        /// Bytes read.
        copied: u64,
    },
    /// Directories nested without end.
    #[error("'{}' is nested too deeply (a loop of symbolic links?)", path.display())]
    TooDeep {
        /// The directory.
        path: PathBuf,
    },
    /// Attributes could not be kept.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Cancelled,
}

fn fail(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_owned();
    move |source| TreeError::Io { action, path, source }
}

/// What is left out, as paths relative to the root of the tree.
#[derive(Debug, Clone, Default)]
pub struct Skip {
    /// Files and directories that are not copied at all.
    pub paths: BTreeSet<PathBuf>,
    /// Directories that are made but stay empty.
    pub contents_of: BTreeSet<PathBuf>,
}

impl Skip {
    fn skips(&self, relative: &Path) -> bool {
        self.paths.contains(relative)
            || relative
                .parent()
                .is_some_and(|parent| self.contents_of.contains(parent))
    }
}

/// How big a tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeSize {
    /// Regular files.
    pub files: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// Bytes in the files.
    pub bytes: u64,
    /// Bytes the files take on disk, never more than `bytes`: holes and compression take none.
    pub allocated: u64,
}

/// How to copy.
#[derive(Clone, Copy)]
pub struct TreeOptions<'a> {
    /// Threads that copy, at least 1.
    pub threads: usize,
    /// Bytes per second, if limited.
    pub limit: Option<&'a RateLimit>,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// Who wants to know how far it is.
    pub progress: &'a dyn Progress,
    /// Bytes done so far, over several trees.
    pub done: &'a AtomicU64,
}

/// Measures what [`copy`] would copy.
///
/// # Errors
///
/// A directory that cannot be read, a file that cannot be looked at.
pub fn measure(root: &Path, skip: &Skip, cancel: &Cancel) -> Result<TreeSize, TreeError> {
    let mut size = TreeSize::default();
    walk(root, skip, cancel, &mut |entry| {
        match entry {
            Entry::Directory { .. } => size.directories += 1,
            Entry::File { metadata, .. } => {
                size.files += 1;
                size.bytes = size.bytes.saturating_add(metadata.len());
                let allocated = metadata.blocks().saturating_mul(512).min(metadata.len());
                size.allocated = size.allocated.saturating_add(allocated);
            }
        }
        Ok(())
    })?;
    Ok(size)
}

enum Entry<'a> {
    /// A directory, the root included; always before what is in it.
    Directory { relative: &'a Path },
    /// A regular file.
    File {
        relative: &'a Path,
        metadata: &'a fs::Metadata,
    },
}

fn walk(
    root: &Path,
    skip: &Skip,
    cancel: &Cancel,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), TreeError>,
) -> Result<(), TreeError> {
    let mut waiting = vec![(PathBuf::new(), 0_usize)];
    while let Some((directory, depth)) = waiting.pop() {
        let source = root.join(&directory);
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep { path: source });
        }
        visit(Entry::Directory { relative: &directory })?;
        for entry in fs::read_dir(&source).map_err(fail("read directory", &source))? {
            if cancel.is_requested() {
                return Err(TreeError::Cancelled);
            }
            let entry = entry.map_err(fail("read directory", &source))?;
            let relative = directory.join(entry.file_name());
            if skip.skips(&relative) {
                continue;
            }
            let path = entry.path();
            let metadata = fs::metadata(&path).map_err(fail("look at", &path))?;
            if metadata.is_dir() {
                waiting.push((relative, depth + 1));
            } else if metadata.is_file() {
                visit(Entry::File {
                    relative: &relative,
                    metadata: &metadata,
                })?;
            }
            // Sockets, pipes and devices have no content to copy.
        }
    }
    Ok(())
}

/// Copies the tree `from` into the directory `to`, which is made if it is missing. Files must not exist yet.
///
/// # Errors
///
/// The first failure; the copy is incomplete then. Running threads end with the chunk they are at.
pub fn copy(from: &Path, to: &Path, skip: &Skip, options: TreeOptions<'_>) -> Result<TreeSize, TreeError> {
    struct Job {
        from: PathBuf,
        to: PathBuf,
        size: u64,
    }

    let (sender, receiver) = sync_channel::<Job>(QUEUE);
    let receiver = Mutex::new(receiver);
    let failure: Mutex<Option<TreeError>> = Mutex::new(None);
    let stop = AtomicBool::new(false);
    let record = |error: TreeError| {
        stop.store(true, Ordering::SeqCst);
        if let Ok(mut failure) = failure.lock() {
            failure.get_or_insert(error);
        }
    };
    let work = || {
        let mut buffer = Vec::new();
        loop {
            let next = match receiver.lock() {
                Ok(receiver) => receiver.recv(),
                Err(_) => return,
            };
            let Ok(job) = next else { return };
            // After a failure the queue is only emptied, so that the walk does not block.
            if !stop.load(Ordering::SeqCst)
                && let Err(error) = copy_file(&job.from, &job.to, job.size, &mut buffer, options)
            {
                record(error);
            }
        }
    };
    let mut size = TreeSize::default();
    let mut directories: Vec<PathBuf> = Vec::new();
    let walked = thread::scope(|scope| {
        let started = (0..options.threads.clamp(1, 64))
            .filter_map(|number| {
                thread::Builder::new()
                    .name(format!("copy-{number}"))
                    .spawn_scoped(scope, work)
                    .ok()
            })
            .count();
        let mut own_buffer = Vec::new();
        let walked = walk(from, skip, options.cancel, &mut |entry| {
            match entry {
                Entry::Directory { relative } => {
                    let path = to.join(relative);
                    match fs::DirBuilder::new().mode(0o700).create(&path) {
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                        other => other.map_err(fail("create directory", &path))?,
                    }
                    directories.push(relative.to_owned());
                    size.directories += 1;
                }
                Entry::File { relative, metadata } => {
                    if stop.load(Ordering::SeqCst) {
                        return Err(TreeError::Cancelled);
                    }
                    size.files += 1;
                    size.bytes = size.bytes.saturating_add(metadata.len());
                    let job = Job {
                        from: from.join(relative),
                        to: to.join(relative),
                        size: metadata.len(),
                    };
                    if started == 0 {
                        copy_file(&job.from, &job.to, job.size, &mut own_buffer, options)?;
                    } else {
                        // Fails only when all workers are gone, and they go only when the sender is dropped.
                        let _ = sender.send(job);
                    }
                }
            }
            Ok(())
        });
        drop(sender);
        walked
    });
    if let Ok(Some(error)) = failure.into_inner() {
        return Err(error);
    }
    walked?;
    // Contents first: making an entry changes the time of its directory.
    for relative in directories.iter().rev() {
        let source = File::open(from.join(relative)).map_err(fail("open", &from.join(relative)))?;
        let path = to.join(relative);
        let target = File::open(&path).map_err(fail("open", &path))?;
        durable::copy_attributes(&source, &target, &path)?;
    }
    Ok(size)
}

fn copy_file(
    from: &Path,
    to: &Path,
    expected: u64,
    buffer: &mut Vec<u8>,
    options: TreeOptions<'_>,
) -> Result<(), TreeError> {
    let source = File::open(from).map_err(fail("open", from))?;
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(fail("create", to))?;
    let chunk = options.limit.map_or(CHUNK, RateLimit::chunk);
    let mut copied: u64 = 0;
    let mut in_kernel = true;
    loop {
        if options.cancel.is_requested() {
            return Err(TreeError::Cancelled);
        }
        let count = if in_kernel {
            match rustix::fs::copy_file_range(&source, None, &target, None, chunk) {
                Ok(0) if copied < expected => {
                    // Some file systems say "end" when they mean "cannot".
                    in_kernel = false;
                    continue;
                }
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => {
                    // Cannot do it, or failed: the ordinary way goes on at the same offset, or says why not.
                    in_kernel = false;
                    continue;
                }
            }
        } else {
            buffer.resize(BUFFER.min(chunk), 0);
            let count = match (&source).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(fail("read", from))?,
            };
            target
                .write_all(buffer.get(..count).unwrap_or_default())
                .map_err(fail("write", to))?;
            count
        };
        if count == 0 {
            break;
        }
        let bytes = u64::try_from(count).unwrap_or(u64::MAX);
        copied = copied.saturating_add(bytes);
        let done = options
            .done
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        options.progress.position(done);
        if let Some(limit) = options.limit {
            limit.pass(bytes, options.cancel);
        }
        // Saves the call that only finds the end; a file that grew is found out by its size.
        if copied >= expected {
            let now = source.metadata().map_err(fail("look at", from))?.len();
            if now == copied {
                break;
            }
        }
    }
    if copied != expected {
        return Err(TreeError::Size {
            path: from.to_owned(),
            expected,
            copied,
        });
    }
    durable::copy_attributes(&source, &target, to)?;
    Ok(())
}

/// Sets the mode of a directory.
///
/// # Errors
///
/// The system's.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), TreeError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(fail("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{CancelCause, Silent};
    use std::os::unix::fs::symlink;

    fn run(from: &Path, to: &Path, skip: &Skip, cancel: &Cancel) -> Result<TreeSize, TreeError> {
        let done = AtomicU64::new(0);
        copy(
            from,
            to,
            skip,
            TreeOptions {
                threads: 3,
                limit: None,
                cancel,
                progress: &Silent,
                done: &done,
            },
        )
    }

    fn source() -> tempfile::TempDir {
        let source = tempfile::tempdir().unwrap();
        let root = source.path();
        for directory in ["base/1", "base/2", "global", "log", "empty"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for number in 0..300 {
            fs::write(root.join(format!("base/1/{number}")), vec![7; number * 10]).unwrap();
        }
        fs::write(root.join("base/2/big"), vec![9; 9 << 20]).unwrap();
        fs::write(root.join("global/pg_control"), b"control").unwrap();
        fs::write(root.join("log/x"), b"x").unwrap();
        fs::set_permissions(root.join("base/1/5"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(root.join("base/2"), fs::Permissions::from_mode(0o750)).unwrap();
        let old = File::options().write(true).open(root.join("base/1/7")).unwrap();
        durable::set_times(&old, Path::new("x"), 1_000_000_000, 5).unwrap();
        symlink("global", root.join("link")).unwrap();
        source
    }

    #[test]
    fn copies_content_modes_and_times() {
        let (source, target) = (source(), tempfile::tempdir().unwrap());
        let skip = Skip {
            paths: [PathBuf::from("global/pg_control")].into(),
            contents_of: [PathBuf::from("log")].into(),
        };
        let to = target.path().join("copy");
        let size = run(source.path(), &to, &skip, &Cancel::new()).unwrap();
        assert_eq!(
            size,
            TreeSize {
                allocated: 0,
                ..measure(source.path(), &skip, &Cancel::new()).unwrap()
            }
        );
        assert_eq!((size.files, size.directories), (302, 8));
        for number in 0..300 {
            assert_eq!(
                fs::read(to.join(format!("base/1/{number}"))).unwrap(),
                vec![7; number * 10]
            );
        }
        assert_eq!(fs::read(to.join("base/2/big")).unwrap().len(), 9 << 20);
        assert!(!to.join("global/pg_control").exists());
        // Followed, and below another name nothing is left out.
        assert_eq!(fs::read(to.join("link/pg_control")).unwrap(), b"control");
        assert_eq!(fs::read_dir(to.join("log")).unwrap().count(), 0);
        let mode = |path: &str| fs::metadata(to.join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("base/1/5"), mode("base/2")), (0o640, 0o750));
        let old = fs::metadata(to.join("base/1/7")).unwrap();
        assert_eq!((old.mtime(), old.mtime_nsec()), (1_000_000_000, 5));
    }

    #[test]
    fn nothing_is_overwritten() {
        let (source, target) = (source(), tempfile::tempdir().unwrap());
        fs::create_dir(target.path().join("global")).unwrap();
        fs::write(target.path().join("global/pg_control"), b"mine").unwrap();
        let error = run(source.path(), target.path(), &Skip::default(), &Cancel::new()).unwrap_err();
        assert!(error.to_string().contains("pg_control"), "{error}");
        assert_eq!(
            fs::read(target.path().join("global/pg_control")).unwrap(),
            b"mine"
        );
    }

    #[test]
    fn a_request_to_stop_stops() {
        let (source, target) = (source(), tempfile::tempdir().unwrap());
        let cancel = Cancel::new();
        cancel.request(CancelCause::Interrupt);
        let result = run(
            source.path(),
            &target.path().join("copy"),
            &Skip::default(),
            &cancel,
        );
        assert!(matches!(result, Err(TreeError::Cancelled)));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let source = tempfile::tempdir().unwrap();
        symlink(".", source.path().join("loop")).unwrap();
        let result = measure(source.path(), &Skip::default(), &Cancel::new());
        assert!(
            matches!(result, Err(TreeError::TooDeep { .. } | TreeError::Io { .. })),
            "{result:?}"
        );
    }

    #[test]
    fn a_broken_link_is_an_error() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink("nowhere", source.path().join("broken")).unwrap();
        assert!(
            run(
                source.path(),
                &target.path().join("c"),
                &Skip::default(),
                &Cancel::new()
            )
            .is_err()
        );
    }
}
