//! Temporary directories that the server's user can enter, removed on drop, and swept by a later run when their owner was killed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

/// Environment variable that marks every process started for a directory, so that strays can be found.
pub const MARK: &str = "BARMAN_RS_TEST_DIR";

/// Environment variable: when set, directories are left behind for inspection, for a week.
pub const KEEP: &str = "BARMAN_RS_KEEP";

/// How long a directory is kept for somebody to look at.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A temporary directory, mode 0755.
#[derive(Debug)]
pub struct TestDir {
    path: PathBuf,
    lock_path: PathBuf,
    keep: bool,
    /// Held for its lock: a directory whose lock is free has lost its owner.
    _lock: File,
}

fn base() -> PathBuf {
    std::env::temp_dir().join("barman-rs-tests")
}

impl TestDir {
    /// Makes a directory.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        let base = base();
        if !base.exists() {
            fs::create_dir_all(&base).with_context(|| format!("create {}", base.display()))?;
            let _ = fs::set_permissions(&base, fs::Permissions::from_mode(0o1777));
        }
        // Mounts and processes are found by their true path.
        let base = fs::canonicalize(&base).with_context(|| format!("find {}", base.display()))?;
        SWEEP.call_once(|| sweep(&base));
        for _ in 0..10_000 {
            let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = base.join(&name);
            let lock_path = base.join(format!("{name}.lock"));
            if path.exists() {
                continue; // one that was kept
            }
            let Ok(lock) = OpenOptions::new().write(true).create_new(true).open(&lock_path) else {
                continue;
            };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() || !is_at(&lock, &lock_path) {
                continue; // a sweeper was quicker
            }
            if fs::create_dir(&path).is_err() {
                continue;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .context("set the mode of a test directory")?;
            return Ok(Self {
                path,
                lock_path,
                keep: std::env::var_os(KEEP).is_some(),
                _lock: lock,
            });
        }
        bail!("cannot make a directory in {}", base.display())
    }

    /// Leaves the directory behind for inspection, as [`KEEP`] does for all. A week later the next run removes it.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of something in the directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a sub-directory that belongs to the user that runs PostgreSQL.
    ///
    /// # Errors
    /// The directory cannot be made or given away.
    pub fn server_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        crate::user::give(&path)?;
        Ok(path)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        kill_marked(&self.path);
        if self.keep {
            mark_kept(&self.path);
            eprintln!("testkit: {} is kept for a week", self.path.display());
        } else if !remove(&self.path) {
            // With its lock left behind, a later run's sweep finds it.
            return;
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => a.ino() == b.ino() && a.dev() == b.dev(),
        _ => false,
    }
}

/// Removes a tree in which a dying process may still be making files; false if it is still there.
fn remove(path: &Path) -> bool {
    crate::small_fs::unmount_below(path);
    for _ in 0..50 {
        match fs::remove_dir_all(path) {
            Ok(()) => return true,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return true,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    }
    eprintln!("testkit: cannot remove {}", path.display());
    false
}

/// The file beside a directory that says since when it is kept.
fn kept_mark(dir: &Path) -> PathBuf {
    dir.with_extension("kept")
}

fn mark_kept(dir: &Path) {
    if let Err(error) = File::create(kept_mark(dir)) {
        eprintln!("testkit: cannot note that {} is kept: {error}", dir.display());
    }
}

/// Removes now what a run does at its first directory: what killed test processes have left.
pub fn sweep_now() {
    if let Ok(base) = fs::canonicalize(base()) {
        sweep(&base);
    }
}

/// Removes what was kept longer ago than [`KEPT`].
fn sweep_kept(mark: &Path) {
    let since = fs::metadata(mark).and_then(|found| found.modified());
    let age = since
        .ok()
        .and_then(|since| SystemTime::now().duration_since(since).ok());
    if age.is_some_and(|age| age > KEPT) && remove(&mark.with_extension("")) {
        let _ = fs::remove_file(mark);
    }
}

/// Removes the directories of test processes that were killed, with the processes that they left, and what was kept long ago.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let lock_path = entry.path();
        if lock_path.extension().is_some_and(|e| e == "kept") {
            sweep_kept(&lock_path);
            continue;
        }
        if lock_path.extension().is_none_or(|e| e != "lock") {
            continue;
        }
        let Ok(lock) = OpenOptions::new().write(true).open(&lock_path) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() || !is_at(&lock, &lock_path) {
            continue;
        }
        let dir = lock_path.with_extension("");
        kill_marked(&dir);
        if std::env::var_os(KEEP).is_some() {
            mark_kept(&dir);
        } else if !remove(&dir) {
            continue;
        }
        let _ = fs::remove_file(&lock_path);
    }
}

/// Command lines of the processes that were started for `dir` and still run.
pub fn marked(dir: &Path) -> Vec<String> {
    let mark = format!("{MARK}={}", dir.display());
    let line = |pid: Pid| {
        let bytes = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .replace('\0', " ")
            .trim()
            .to_owned()
    };
    // A process that has ended and was not waited for has no command line.
    let running = all_pids().filter(|pid| has_mark(*pid, &mark)).map(line);
    running.filter(|line| !line.is_empty()).collect()
}

/// Kills every process that was started for `dir` and still runs: background processes that a program under test left behind.
pub fn kill_marked(dir: &Path) {
    let mark = format!("{MARK}={}", dir.display());
    // A killed parent may just have forked: look again until nothing is found.
    for _ in 0..20 {
        let marked: Vec<Pid> = all_pids().filter(|pid| has_mark(*pid, &mark)).collect();
        if marked.is_empty() {
            return;
        }
        for pid in marked {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn all_pids() -> impl Iterator<Item = Pid> {
    let own = std::process::id();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(move |pid| u32::try_from(*pid) != Ok(own))
        .filter_map(Pid::from_raw)
}

fn has_mark(pid: Pid, mark: &str) -> bool {
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    fs::read(proc.join("environ"))
        .is_ok_and(|env| env.split(|b| *b == 0).any(|entry| entry == mark.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn is_removed_on_drop_with_the_processes_it_marks() {
        let dir = TestDir::new().unwrap();
        let path = dir.path().to_owned();
        fs::write(dir.join("file"), "x").unwrap();
        let mut child = Command::new("sleep")
            .arg("600")
            .env(MARK, &path)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        crate::wait_until("the child is seen", Duration::from_secs(60), || {
            Ok(marked(&path) == ["sleep 600"])
        })
        .unwrap();
        drop(dir);
        assert!(!path.exists());
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn what_is_kept_goes_after_a_week() {
        let base = TestDir::new().unwrap();
        let kept = |name: &str, age: Duration| {
            let dir = base.join(name);
            fs::create_dir_all(dir.join("sub")).unwrap();
            mark_kept(&dir);
            let since = SystemTime::now() - age;
            File::open(kept_mark(&dir)).unwrap().set_modified(since).unwrap();
            dir
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let (new, old) = (kept("1-1", 6 * day), kept("1-2", 8 * day));
        sweep(base.path());
        assert!(new.exists() && kept_mark(&new).exists());
        assert!(!old.exists() && !kept_mark(&old).exists());

        let mut dir = TestDir::new().unwrap();
        let path = dir.path().to_owned();
        dir.keep();
        drop(dir);
        assert!(path.exists() && kept_mark(&path).exists() && !path.with_extension("lock").exists());
        fs::remove_dir_all(&path).unwrap();
        fs::remove_file(kept_mark(&path)).unwrap();
    }

    #[test]
    fn a_sweep_removes_only_what_lost_its_owner() {
        // Not where all tests have their directories: any of them sweeps there, and may be at it just now.
        let base = TestDir::new().unwrap();
        let made = ["orphan", "owned"].map(|name| {
            let dir = base.join(name);
            fs::create_dir_all(dir.join("sub")).unwrap();
            (File::create(dir.with_extension("lock")).unwrap(), dir)
        });
        let [(_, orphan), (lock, owned)] = &made;
        flock(lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        sweep(base.path());
        assert!(!orphan.exists() && !orphan.with_extension("lock").exists());
        assert!(owned.join("sub").exists() && owned.with_extension("lock").exists());
    }
}
