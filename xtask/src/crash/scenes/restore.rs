//! `barman restore` into an empty directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Cluster, Finished, Mode, Program, Sandbox, wait_until};

use crate::crash::disk;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const WHOLE: &str = "where pg_control is, everything is";
const UNTOUCHED: &str = "the catalogue is untouched";

/// With a target time and compressed WAL.
pub fn to_a_time(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Restore::new(program)?))
}

struct Restore {
    sandbox: Sandbox,
    target: String,
    space: PathBuf,
    catalogue: BTreeMap<String, String>,
    /// The files of an undisturbed restore.
    whole: Option<BTreeMap<String, String>>,
}

impl Restore {
    fn new(program: &Path) -> Result<Self> {
        let cluster = Cluster::builder(15).wal_segment_mb(1).start()?;
        cluster.create_tablespace("space")?;
        cluster.sql("CREATE TABLE there TABLESPACE space AS SELECT generate_series(1, 1000) AS n")?;
        let sandbox = Sandbox::builder("main")
            .cluster(&cluster)
            .mode(Mode::Archiver)
            .option("compression", "gzip")
            .program(program)
            .build()?;
        let barman = sandbox.barman()?;
        barman.ok(["backup", "--immediate-checkpoint", "--wait", "main"])?;
        cluster.sql("INSERT INTO there VALUES (0)")?;
        let target = cluster.sql_value("SELECT now()::text")?;
        cluster.sql("INSERT INTO there VALUES (0)")?;
        let last = cluster.switch_wal()?;
        let server = sandbox.server_dir();
        wait_until("all WAL is archived", Duration::from_secs(120), || {
            barman.ok(["archive-wal", "main"])?;
            Ok(disk::archived(&server, &last).exists())
        })?;
        Ok(Self {
            catalogue: disk::digest(&server)?,
            space: sandbox.dir().join("restored-space"),
            sandbox,
            target,
            whole: None,
        })
    }

    fn to(&self) -> PathBuf {
        self.sandbox.dir().join("restored")
    }

    fn files(&self) -> Result<BTreeMap<String, String>> {
        let mut files = disk::digest(&self.to())?;
        for (name, text) in disk::digest(&self.space)? {
            files.insert(format!("space/{name}"), text);
        }
        // They say when they were written.
        files.retain(|name, _| !name.contains(".barman-recover.info") && !name.ends_with(".lock"));
        Ok(files)
    }

    /// PostgreSQL starts only where `pg_control` is.
    fn not_falsely_whole(&self) -> Result<()> {
        if !self.to().join("global/pg_control").exists() {
            return Ok(());
        }
        match &self.whole {
            Some(whole) => super::equal(whole, &self.files()?),
            None => Ok(()),
        }
    }

    fn catalogue_untouched(&self) -> Result<()> {
        super::equal(&self.catalogue, &disk::digest(&self.sandbox.server_dir())?)
    }
}

impl Scene for Restore {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn reset(&mut self) -> Result<()> {
        for directory in [self.to(), self.space.clone()] {
            if directory.exists() {
                fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
            }
        }
        Ok(())
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        let space = format!("space:{}", self.space.display());
        let to = self.to().display().to_string();
        let done = program.run([
            "restore",
            "--tablespace",
            &space,
            "--target-time",
            &self.target,
            "main",
            "latest",
            &to,
        ])?;
        if self.whole.is_none() {
            ensure!(done.code == Some(0), "{done}");
            self.whole = Some(self.files()?);
        }
        Ok(done)
    }

    fn invariants(&self) -> Vec<Held> {
        vec![
            (WHOLE, self.not_falsely_whole()),
            (UNTOUCHED, self.catalogue_untouched()),
        ]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        // It asks for an empty directory.
        self.reset()?;
        let done = self.run(program)?;
        ensure!(done.code == Some(0), "{done}");
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        self.files()
    }

    fn destination(&self) -> Option<PathBuf> {
        Some(self.to())
    }

    fn tablespaces(&self) -> Vec<PathBuf> {
        vec![self.space.clone()]
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        let id = disk::ids(&self.sandbox.server_dir()).pop().context("no backup")?;
        let info = format!("meta/{id}-backup.info");
        Ok(vec![
            damage(
                "a restored file is gone",
                WHOLE,
                self.to().join("PG_VERSION"),
                Edit::Remove,
            ),
            damage(
                "a restored file is half",
                WHOLE,
                self.to().join("global/pg_control"),
                Edit::Halve,
            ),
            damage(
                "a file of a restored tablespace is gone",
                WHOLE,
                self.space.join(
                    disk::files(&self.space)?
                        .first()
                        .context("the tablespace is empty")?,
                ),
                Edit::Remove,
            ),
            damage(
                "nothing tells the server to recover",
                WHOLE,
                self.to().join("recovery.signal"),
                Edit::Remove,
            ),
            damage(
                "the restore has changed the catalogue",
                UNTOUCHED,
                self.sandbox.server_dir().join(info),
                Edit::Append("x".to_owned()),
            ),
        ])
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }

    fn is_bulk(&self, path: &Path) -> bool {
        let in_it = |part: &str| path.starts_with(self.to().join(part));
        path.starts_with(&self.space)
            || in_it("base")
            || in_it("pg_xact")
            || path.starts_with(self.sandbox.server_dir())
    }
}
