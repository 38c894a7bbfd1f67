//! What the rows work with: our programs as built for this run, scratch space, data that is made once.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use testkit::{Program, Sandbox, SandboxBuilder, TestDir, cache};

use crate::run;

/// How long a single run may take: the slowest peers need a minute.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// Programs of ours that are measured: the crate, the kind of cargo target, its name.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("barman-cli", "--bin", "barman"),
    ("patroni-barman", "--bin", "patroni_barman"),
    ("barman-pg", "--example", "basebackup"),
    ("barman-wal", "--example", "codec"),
    ("barman-wal", "--example", "waldump"),
    ("barman-wal", "--example", "index_measure"),
];

/// Sizes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As the targets say.
    Full,
    /// Small, to see whether everything runs.
    Quick,
}

/// Shared by all rows of a run.
pub struct World {
    pub size: Size,
    /// Declared before the directory: servers stop before their files go.
    states: HashMap<String, Rc<dyn Any>>,
    dir: TestDir,
    bin: PathBuf,
    /// Held for its lock: two runs would measure each other.
    _lock: File,
}

impl World {
    /// Builds our programs, optimised, and copies them where no other build touches them.
    ///
    /// # Errors
    /// The build fails, or another run is going on.
    pub fn new(size: Size) -> Result<Self> {
        let lock = lock()?;
        let dir = TestDir::new()?;
        let bin = dir.join("bin");
        fs::create_dir(&bin)?;
        for (package, kind, name) in PROGRAMS {
            let mut choice = vec!["--release", "--package", package, kind, name];
            if package == "barman-wal" {
                choice.extend(["--features", "codecs"]);
            }
            let built = run::built(&choice, name)?;
            fs::copy(&built, bin.join(name)).with_context(|| format!("copy {}", built.display()))?;
        }
        Ok(Self {
            size,
            states: HashMap::new(),
            dir,
            bin,
            _lock: lock,
        })
    }

    /// `full`, or `quick` where the run is a quick one.
    pub fn sized<T>(&self, full: T, quick: T) -> T {
        match self.size {
            Size::Full => full,
            Size::Quick => quick,
        }
    }

    /// One of our programs.
    pub fn ours(&self, name: &str) -> Program {
        Program::new(self.bin.join(name)).timeout(PATIENCE)
    }

    /// A sandbox whose `barman` is the one of this run.
    pub fn sandbox<'a>(&self, server: &str) -> SandboxBuilder<'a> {
        Sandbox::builder(server).program(self.bin.join("barman"))
    }

    /// An empty directory of this name for scratch files.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        empty(&path)?;
        Ok(path)
    }

    /// Scratch space of the whole run.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Something that several rows of a group use: made by the first.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn shared<T: 'static>(&mut self, key: &str, make: impl FnOnce(&Self) -> Result<T>) -> Result<Rc<T>> {
        if !self.states.contains_key(key) {
            let made = make(self).with_context(|| format!("prepare {key}"))?;
            self.states.insert(key.to_owned(), Rc::new(made));
        }
        let state = self.states.get(key).cloned().context("no state")?;
        match state.downcast() {
            Ok(state) => Ok(state),
            Err(_) => bail!("two rows mean different things by {key:?}"),
        }
    }

    /// Lets go of what the group's rows shared.
    pub fn end_group(&mut self) {
        self.states.clear();
    }
}

fn lock() -> Result<File> {
    let dir = data_dir();
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let path = dir.join("lock");
    let lock = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!(
            "another `cargo xtask bench` is running (it holds {}): two would measure each other",
            path.display()
        );
    }
    Ok(lock)
}

/// Where data that is slow to make is kept between runs.
pub fn data_dir() -> PathBuf {
    cache::dir().join("bench")
}

/// Makes `path` an empty directory.
///
/// # Errors
/// It cannot be removed or made.
pub fn empty(path: &Path) -> Result<()> {
    remove(path)?;
    fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))
}

/// Removes a tree that may not be there.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes what is dirty to disk, so that no run pays for what was prepared for it.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn settle(dir: &Path) -> Result<()> {
    let open = File::open(dir).with_context(|| format!("open {}", dir.display()))?;
    rustix::fs::syncfs(open).with_context(|| format!("sync the file system of {}", dir.display()))
}
