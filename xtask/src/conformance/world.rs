//! What is dear to make and shared by the scenarios of one run: live clusters, data directories to copy, catalogues that the oracle made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use testkit::sandbox;
use testkit::{Cluster, Stop, TestDir, cache, wait_until};

use super::state::{Live, PLAIN};

/// A value that somebody makes while the others wait.
type Slot<T> = Arc<Mutex<Option<Arc<T>>>>;

/// Values by PostgreSQL major, each made when it is first wanted; whoever wants one that is being made waits.
#[derive(Debug)]
struct ByMajor<T>(Mutex<BTreeMap<u16, Slot<T>>>);

impl<T> Default for ByMajor<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> ByMajor<T> {
    fn get(&self, major: u16, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let slot = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(major).or_default().clone()
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*slot {
            return Ok(made.clone());
        }
        let made = Arc::new(make()?);
        *slot = Some(made.clone());
        Ok(made)
    }

    fn majors(&self) -> Vec<u16> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.keys().copied().collect()
    }
}

/// A catalogue that the oracle made.
#[derive(Debug)]
pub struct Archive {
    /// Its `barman_home`.
    pub home: PathBuf,
    /// Holds the directory.
    _dir: TestDir,
}

/// Everything that is shared.
#[derive(Debug, Default)]
pub struct World {
    shared: ByMajor<Cluster>,
    templates: ByMajor<Cluster>,
    archives: ByMajor<Archive>,
}

impl World {
    /// The running cluster of this major that nobody changes.
    ///
    /// # Errors
    /// It does not start.
    pub fn shared(&self, major: u16) -> Result<Arc<Cluster>> {
        self.shared.get(major, || {
            let cluster = Cluster::builder(major)
                .conf("archive_mode", "on")
                .conf("archive_command", "/bin/true")
                .start()?;
            cluster.switch_wal()?;
            wait_until("a segment is archived", Duration::from_secs(60), || {
                Ok(cluster.sql_value("SELECT archived_count > 0 FROM pg_stat_archiver")? == "t")
            })?;
            Ok(cluster)
        })
    }

    /// The data directory of a stopped cluster of this major, with a table.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn template(&self, major: u16) -> Result<PathBuf> {
        let cluster = self.templates.get(major, || {
            let cluster = Cluster::builder(major).conf("autovacuum", "off").start()?;
            cluster.sql("CREATE TABLE t (i int)")?;
            cluster.sql("INSERT INTO t SELECT generate_series(1, 1000)")?;
            cluster.stop(Stop::Fast)?;
            Ok(cluster)
        })?;
        Ok(cluster.data_dir().to_owned())
    }

    /// The catalogue that the oracle made of a cluster of this major.
    ///
    /// # Errors
    /// A server or the oracle fails.
    pub fn archive(&self, major: u16) -> Result<Arc<Archive>> {
        self.archives.get(major, || self.make_archive(major))
    }

    fn make_archive(&self, major: u16) -> Result<Archive> {
        let dir = TestDir::new()?;
        let root = dir.join("archive");
        let cluster = PLAIN
            .live(Live::Own(major))
            .main("compression = gzip")
            .make(&root, self)?
            .context("a state with a cluster")?;
        let barman = sandbox::program(&cache::oracle_program(), &root.join("barman.conf"), dir.path())
            .env("HOME", root.join("user-home"))
            .env("TZ", "UTC")
            .timeout(Duration::from_secs(120));
        let archived = |name: &str| -> Result<()> {
            let path = root
                .join("home/main/wals")
                .join(name.get(..16).unwrap_or(name))
                .join(name);
            wait_until("the oracle has archived", Duration::from_secs(60), || {
                barman.ok(["archive-wal", "main"])?;
                Ok(path.exists())
            })
        };
        barman.ok(["switch-wal", "--force", "--archive", "main"])?;
        barman.ok(["backup", "--wait", "main"])?;
        cluster.sql("INSERT INTO t VALUES (1)")?;
        archived(&cluster.switch_wal()?)?;
        barman.ok(["backup", "--wait", "--name", "second", "main"])?;
        for _ in 0..2 {
            cluster.sql("INSERT INTO t VALUES (2)")?;
            archived(&cluster.switch_wal()?)?;
        }
        cluster.stop(Stop::Fast)?;
        // What the end of the server has still delivered.
        barman.ok(["archive-wal", "main"])?;
        drop(cluster);
        let home = root.join("home");
        fs::remove_dir_all(root.join("pgdata")).context("remove the cluster's files")?;
        // No moment in it may fall into the second in which the first run with it begins: it would count as one of that run,
        // and not as one of the other program's run.
        let made = Timestamp::now().as_second();
        wait_until("the next second has begun", Duration::from_secs(60), || {
            Ok(Timestamp::now().as_second() > made)
        })?;
        Ok(Archive { home, _dir: dir })
    }

    /// The majors of the clusters that ran.
    pub fn majors(&self) -> BTreeSet<u16> {
        let all = [self.shared.majors(), self.templates.majors()];
        all.into_iter().flatten().collect()
    }
}
