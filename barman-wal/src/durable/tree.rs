//! Syncing a whole directory tree whose bulk was written under final names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::{DurableError, fsync_dir, fsync_file};

/// How many paths wait for a free thread.
const QUEUE: usize = 1024;
/// More threads than any disk can make use of.
const MAX_THREADS: usize = 64;
/// What a thread that only syncs needs, several times over.
const STACK: usize = 128 * 1024;
/// So few directories are synced faster than threads are started.
const FEW: usize = 4;

/// What a [`sync_tree`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeSync {
    /// Regular files synced.
    pub files: u64,
    /// Directories synced, the root included.
    pub directories: u64,
    /// The sum of the files' sizes in bytes.
    pub bytes: u64,
}

/// Syncs every regular file below `root` with up to `threads` threads, then every directory from the deepest up, and
/// `root` last (not the directory that holds it). Links are not followed, special files are left alone. A file that
/// vanishes in the meantime is an error: nothing else should be at work in the tree. Syncing what a disk has not yet
/// written can take minutes; raising `stop` ends it after the files that are being synced.
///
/// # Errors
/// The first that any thread met, [`std::io::ErrorKind::Interrupted`] when `stop` was raised; the tree must be
/// considered not synced.
pub fn sync_tree(root: &Path, threads: usize, stop: Option<&AtomicBool>) -> Result<TreeSync, DurableError> {
    let (tree, directories) = in_parallel(
        threads,
        |path| unless_stopped(stop, path).and_then(|()| fsync_file(path)),
        |each| walk(root, each),
    )?;
    // The deepest first; those of one depth do not hold each other.
    let depth = |directory: &PathBuf| directory.components().count();
    for level in directories
        .chunk_by(|one, other| depth(one) == depth(other))
        .rev()
    {
        in_parallel(
            if level.len() < FEW { 0 } else { threads },
            |path| unless_stopped(stop, path).and_then(|()| fsync_dir(path)),
            |each| level.iter().try_for_each(|directory| each(directory)),
        )?;
    }
    Ok(tree)
}

/// Does `work` with each path that `find` finds: in up to `threads` threads, or here if there are to be none or the
/// system gives us none. The first failure of any thread is returned; what is found after it is not worked on.
fn in_parallel<T>(
    threads: usize,
    work: impl Fn(&Path) -> Result<(), DurableError> + Sync,
    find: impl FnOnce(&mut dyn FnMut(&Path) -> Result<(), DurableError>) -> Result<T, DurableError>,
) -> Result<T, DurableError> {
    let (sender, receiver) = sync_channel::<PathBuf>(QUEUE);
    let receiver = Mutex::new(receiver);
    let failure: Mutex<Option<DurableError>> = Mutex::new(None);
    let failed = || failure.lock().is_ok_and(|failure| failure.is_some());
    let worker = || {
        loop {
            let next = match receiver.lock() {
                Ok(receiver) => receiver.recv(),
                Err(_) => return,
            };
            let Ok(path) = next else { return };
            // After a failure the queue is only emptied, so that the search does not block.
            if failed() {
                continue;
            }
            if let Err(error) = work(&path)
                && let Ok(mut failure) = failure.lock()
            {
                failure.get_or_insert(error);
            }
        }
    };
    let found = thread::scope(|scope| {
        let started = (0..threads.min(MAX_THREADS))
            .filter_map(|number| {
                thread::Builder::new()
                    .name(format!("sync-{number}"))
                    .stack_size(STACK)
                    .spawn_scoped(scope, worker)
                    .ok()
            })
            .count();
        let found = find(&mut |path| {
            if started == 0 {
                work(path)
            } else {
                // Fails only when all workers are gone, and they go only when the sender is dropped.
                let _ = sender.send(path.to_path_buf());
                Ok(())
            }
        });
        drop(sender);
        found
    })?;
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(found),
    }
}

fn unless_stopped(stop: Option<&AtomicBool>, path: &Path) -> Result<(), DurableError> {
    if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        let interrupted = io::Error::from(io::ErrorKind::Interrupted);
        return Err(DurableError::new("sync", path, interrupted));
    }
    Ok(())
}

/// Calls `file` for each regular file; returns the figures and the directories, each after the one that holds it.
fn walk(
    root: &Path,
    file: &mut dyn FnMut(&Path) -> Result<(), DurableError>,
) -> Result<(TreeSync, Vec<PathBuf>), DurableError> {
    let mut tree = TreeSync::default();
    let mut directories = vec![root.to_path_buf()];
    let mut next = 0;
    while let Some(directory) = directories.get(next).cloned() {
        next += 1;
        tree.directories += 1;
        let entries = fs::read_dir(&directory)
            .map_err(|error| DurableError::new("read directory", &directory, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| DurableError::new("read directory", &directory, error))?;
            let path = entry.path();
            let kind = entry
                .file_type()
                .map_err(|error| DurableError::new("look at", &path, error))?;
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                let metadata = entry
                    .metadata()
                    .map_err(|error| DurableError::new("look at", &path, error))?;
                tree.files += 1;
                tree.bytes = tree.bytes.saturating_add(metadata.len());
                file(&path)?;
            }
        }
    }
    Ok((tree, directories))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_tree_is_visited_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/file"), "not ours").unwrap();
        std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
        for number in 0..50 {
            fs::write(root.join(format!("a/b/{number}")), "12345").unwrap();
        }
        fs::write(root.join("top"), "1").unwrap();
        for threads in [0, 1, 4] {
            let tree = sync_tree(&root, threads, Some(&AtomicBool::new(false))).unwrap();
            assert_eq!(
                tree,
                TreeSync {
                    files: 51,
                    directories: 3,
                    bytes: 251
                },
                "{threads}"
            );
        }
        assert!(sync_tree(&directory.path().join("missing"), 2, None).is_err());
        let stopped = sync_tree(&root, 2, Some(&AtomicBool::new(true))).unwrap_err();
        assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
    }
}
