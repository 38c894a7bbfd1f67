//! Real data: clusters filled by `pgbench`, and the WAL that a server wrote under load. Made once and kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Background, Cluster, Finished, PgTree, Segment, Stop, user, wait_until};

use super::world::{PATIENCE, World, data_dir, remove};

/// To be raised when what is made here changes.
const RECIPE: u32 = 1;
/// PostgreSQL major whose WAL is archived and restored in the rows that need no particular one.
pub const MAJOR: u16 = 15;
/// Bytes of a WAL segment.
pub const SEGMENT: u64 = 16 << 20;

/// A cluster of the cache while it runs.
pub struct Filled {
    cluster: Cluster,
}

impl Filled {
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl From<Cluster> for Filled {
    fn from(cluster: Cluster) -> Self {
        Self { cluster }
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        // A crash would make the next start slow, and change the data.
        let _ = self.cluster.stop(Stop::Fast);
    }
}

/// Starts a cluster of about 1 GiB (quick: 110 MiB), `pgbench`'s tables.
///
/// # Errors
/// The major is not installed, or the cluster cannot be made or started.
pub fn filled(world: &World, major: u16) -> Result<Filled> {
    let scale = world.sized(70, 7);
    let tree = PgTree::of_major(major)?;
    let done = data_dir().join(format!("data-{}-s{scale}-r{RECIPE}", tree.id()));
    if !done.exists() {
        let fresh = done.with_extension("new");
        remove(&fresh)?;
        let cluster = Cluster::builder(major)
            .conf("max_wal_size", "8GB")
            .conf("checkpoint_timeout", "1h")
            .start()?;
        pgbench(
            &cluster,
            &["--initialize", "--quiet", "--scale", &scale.to_string()],
        )?;
        cluster.sql("CHECKPOINT")?;
        cluster.stop(Stop::Fast)?;
        copy(cluster.data_dir(), &fresh)?;
        publish(&fresh, &done)?;
    }
    // What an earlier run set for its archiving.
    fs::write(done.join("postgresql.auto.conf"), "").context("clear postgresql.auto.conf")?;
    let cluster = Cluster::builder(major).open(&done)?;
    Ok(Filled { cluster })
}

/// Runs `pgbench` to its end.
///
/// # Errors
/// It is not there or fails.
pub fn pgbench(cluster: &Cluster, args: &[&str]) -> Result<Finished> {
    let done = pgbench_start(cluster, args)?.wait(PATIENCE)?;
    ensure!(done.code == Some(0), "{done}");
    Ok(done)
}

fn pgbench_start(cluster: &Cluster, args: &[&str]) -> Result<Background> {
    let mut command = Command::new(PgTree::debian(MAJOR)?.program("pgbench"));
    command
        .args(["--host", &cluster.socket_dir().display().to_string()])
        .args(["--port", &cluster.port().to_string(), "--username", "postgres"])
        .args(args)
        .arg("postgres");
    Background::spawn(command, None)
}

/// WAL segments that a server wrote while `pgbench` filled and used it: bulk loads, full-page images and small records
/// as they come. Sorted by name.
///
/// # Errors
/// They cannot be made.
pub fn segments(count: usize) -> Result<Vec<PathBuf>> {
    let done = data_dir().join(format!("wal-{MAJOR}-{count}-r{RECIPE}"));
    if !done.exists() {
        let fresh = done.with_extension("new");
        remove(&fresh)?;
        fs::create_dir_all(&fresh)?;
        user::give(&fresh)?;
        write_wal(&fresh, count)?;
        let surplus = listed(&fresh)?.into_iter().skip(count);
        for path in surplus {
            fs::remove_file(path)?;
        }
        publish(&fresh, &done)?;
    }
    listed(&done)
}

fn write_wal(dir: &Path, count: usize) -> Result<()> {
    let cluster = Cluster::builder(MAJOR)
        .conf("archive_mode", "on")
        // Complete under its final name, as a listing may come at any time.
        .conf(
            "archive_command",
            &format!("cp %p {0}/.%f && mv {0}/.%f {0}/%f", dir.display()),
        )
        .conf("checkpoint_timeout", "30s")
        .conf("max_wal_size", "512MB")
        .start()?;
    // A third of bulk load, the rest of transactions.
    let scale = (count / 3).max(1).to_string();
    pgbench(&cluster, &["--initialize", "--quiet", "--scale", &scale])?;
    let mut load = pgbench_start(&cluster, &["-n", "-c", "4", "-j", "2", "-T", "3600"])?;
    wait_until("enough WAL is written", PATIENCE, || {
        ensure!(load.is_running()?, "pgbench ended: {}", load.stderr_so_far()?);
        Ok(listed(dir)?.len() >= count)
    })?;
    drop(load);
    cluster.alter_system("archive_command", "/bin/false")?;
    cluster.stop(Stop::Immediate)?;
    std::thread::sleep(Duration::from_millis(100)); // the last `cp` may still be at work
    Ok(())
}

/// What fills the segments of [`uniform`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Images of whole blocks, and little else.
    Images,
    /// Rows and index entries, about 65 bytes each.
    SmallRecords,
}

/// Complete WAL segments full of one kind of record, sorted by name.
///
/// # Errors
/// They cannot be made.
pub fn uniform(count: usize, load: Load) -> Result<Vec<PathBuf>> {
    let kind = match load {
        Load::Images => "images",
        Load::SmallRecords => "small",
    };
    let done = data_dir().join(format!("wal-{MAJOR}-{kind}-{count}-r{RECIPE}"));
    if !done.exists() {
        let fresh = done.with_extension("new");
        remove(&fresh)?;
        fs::create_dir_all(&fresh)?;
        let cluster = Cluster::builder(MAJOR)
            .conf("max_wal_size", "16GB")
            .conf("wal_keep_size", "16GB")
            .conf("checkpoint_timeout", "1h")
            .conf("autovacuum", "off")
            .conf(
                "full_page_writes",
                if load == Load::Images { "on" } else { "off" },
            )
            .start()?;
        let statement = match load {
            Load::Images => {
                // A row on each page is changed, after a checkpoint.
                let pages = 2200 * (count + 1);
                for text in [
                    "CREATE TABLE wide (id int, filler text) WITH (fillfactor = 90)",
                    &format!(
                        "INSERT INTO wide SELECT g, md5(g::text) || md5((g + 1)::text) || md5((g + 3)::text) \
                         FROM generate_series(1, {}) g",
                        pages * 55
                    ),
                    "CHECKPOINT",
                ] {
                    cluster.sql(text)?;
                }
                "UPDATE wide SET filler = upper(filler) WHERE id % 55 = 0".to_owned()
            }
            Load::SmallRecords => {
                cluster.sql("CREATE TABLE narrow (id int PRIMARY KEY, number int)")?;
                format!(
                    "INSERT INTO narrow SELECT g, g FROM generate_series(1, {}) g",
                    135_000 * (count + 1)
                )
            }
        };
        cluster.sql("SELECT pg_switch_wal()")?;
        let first = cluster.sql_value("SELECT pg_walfile_name(pg_current_wal_lsn())")?;
        cluster.sql(&statement)?;
        let end = cluster.sql_value("SELECT pg_walfile_name(pg_current_wal_lsn())")?;
        let complete = listed(&cluster.data_dir().join("pg_wal"))?;
        let complete: Vec<PathBuf> = complete
            .into_iter()
            .filter(|path| name(path).is_ok_and(|name| *name > *first && *name < *end))
            .take(count)
            .collect();
        ensure!(
            complete.len() == count,
            "only {} segments became full",
            complete.len()
        );
        place(&complete, &fresh)?;
        cluster.stop(Stop::Fast)?;
        publish(&fresh, &done)?;
    }
    listed(&done)
}

fn listed(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.len() == 24) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The name of a file.
pub fn name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("an unexpected name: {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    crate::run::quiet(Command::new("cp").arg("-a").arg(from).arg(to)).map(drop)
}

fn publish(fresh: &Path, done: &Path) -> Result<()> {
    super::world::settle(fresh)?;
    fs::rename(fresh, done).with_context(|| format!("rename {} to {}", fresh.display(), done.display()))
}

/// Copies files into a directory, and gets them on disk.
///
/// # Errors
/// A file cannot be copied.
pub fn place(files: &[PathBuf], dir: &Path) -> Result<()> {
    for file in files {
        fs::copy(file, dir.join(name(file)?))
            .with_context(|| format!("copy {} to {}", file.display(), dir.display()))?;
    }
    super::world::settle(dir)
}

/// Sparse WAL segments of 1 MiB with their page header and nothing else: for queues
/// whose length matters, not their content.
///
/// # Errors
/// A file cannot be written.
pub fn sparse_segments(dir: &Path, count: u64) -> Result<()> {
    for number in 1..=count {
        let segment = Segment {
            major: u32::from(MAJOR),
            ..Segment::small(number)
        };
        let path = dir.join(segment.name());
        let file = fs::File::create(&path).with_context(|| format!("create {}", path.display()))?;
        std::os::unix::fs::FileExt::write_all_at(&file, &segment.header(), 0)?;
        file.set_len(segment.size)?;
    }
    super::world::settle(dir)
}

/// Bytes of the regular files below a directory.
///
/// # Errors
/// It cannot be read.
pub fn size(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            total += size(&entry.path())?;
        } else if kind.is_file() {
            total += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(total)
}
