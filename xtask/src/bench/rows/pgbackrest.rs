//! pgBackRest as a peer: a repository of its own with the same WAL.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use testkit::{Cluster, PgTree, Program, TestDir};

use super::super::row::Side;
use super::super::{data, measure, peers};

pub const PGBACKREST: &str = "pgbackrest";

/// A repository on the local disk with some WAL in it.
pub struct Repository {
    /// First: it stops before its directory goes.
    cluster: Cluster,
    dir: TestDir,
    program: Program,
}

impl Repository {
    /// Makes a repository and archives `segments` into it.
    ///
    /// # Errors
    /// pgBackRest is not installed, does not know the compression, or fails.
    pub fn new(compression: &str, segments: &[PathBuf]) -> Result<Self> {
        let path = peers::pgbackrest()?;
        let cluster = Cluster::builder(data::MAJOR)
            .tree(PgTree::debian(data::MAJOR)?)
            .start()?;
        let dir = TestDir::new()?;
        let program = Program::new(path)
            .timeout(super::super::world::PATIENCE)
            .arg(format!("--config={}", dir.join("pgbackrest.conf").display()))
            .arg("--stanza=main");
        let mut repository = Self {
            cluster,
            dir,
            program,
        };
        repository.configure(compression)?;
        let control = repository.program.clone().arg("--no-online");
        control.ok(["stanza-create"]).context("make the stanza")?;
        repository.push(segments)?;
        Ok(repository)
    }

    fn configure(&mut self, compression: &str) -> Result<()> {
        let kind = if compression == "gzip" {
            "gz"
        } else if compression == "zstd" {
            "zst"
        } else {
            compression
        };
        for name in ["repo", "spool", "log", "lock"] {
            fs::create_dir(self.dir.join(name))?;
        }
        let text = format!(
            "[global]\nrepo1-path={0}/repo\nspool-path={0}/spool\nlog-path={0}/log\nlock-path={0}/lock\ncompress-type={kind}\n\
             archive-header-check=n\n{4}log-level-console=error\nlog-level-file=off\n[main]\npg1-path={1}\npg1-port={2}\npg1-socket-path={3}\n",
            self.dir.path().display(),
            self.cluster.data_dir().display(),
            self.cluster.port(),
            self.cluster.socket_dir().display(),
            if rustix::process::geteuid().is_root() {
                "allow-root=y\n"
            } else {
                ""
            },
        );
        fs::write(self.dir.join("pgbackrest.conf"), text).context("write pgbackrest.conf")
    }

    fn push(&self, segments: &[PathBuf]) -> Result<()> {
        for segment in segments {
            let path: &Path = segment;
            self.program
                .ok([std::ffi::OsStr::new("archive-push"), path.as_os_str()])
                .with_context(|| format!("archive {}", path.display()))?;
        }
        Ok(())
    }

    /// A side that fetches one segment.
    pub fn side(self, segment: &str) -> Side {
        let to = self.dir.join("fetched");
        let (repository, segment) = (Rc::new(self), segment.to_owned());
        let to_remove = to.clone();
        Side::new(PGBACKREST, move || {
            let program = &repository.program;
            let args = [
                "archive-get".into(),
                segment.clone().into(),
                to.clone().into_os_string(),
            ];
            let (sample, done) = measure::run(program, args)?;
            anyhow::ensure!(
                fs::metadata(&to).is_ok_and(|file| file.len() == data::SEGMENT),
                "it fetched nothing: {done}"
            );
            Ok(sample)
        })
        .reset(move || {
            let _ = fs::remove_file(&to_remove);
            Ok(())
        })
    }
}
