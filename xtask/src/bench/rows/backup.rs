//! `barman backup` as a whole, beside the oracle.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Mode, Program, Sandbox, wait_until};

use super::super::data::{self, Filled};
use super::super::measure::{self, Sample};
use super::super::peers;
use super::super::row::{Contest, OURS, Row, Side, memory, wall_of};
use super::super::world::{PATIENCE, World, remove, settle};
use super::ORACLE;

const SOON: Duration = Duration::from_secs(60);

pub fn rows() -> Vec<Row> {
    vec![Row::new(
        "backup/plain",
        "`barman backup` of a server of 1 GiB over a replication connection, PostgreSQL 15: checks, copy, sync, catalogue",
        [wall_of(ORACLE, 0.6), memory(32.0)],
        |world| {
            let served = world.shared("a server with a Barman", Served::new)?;
            let ours = served.side(OURS, served.sandbox.barman()?);
            let oracle = peers::oracle(&served.sandbox).map(|oracle| served.side(ORACLE, oracle));
            Ok(Contest::of(ours)
                .against_or_missing(ORACLE, oracle)
                .note("the oracle's `pg_basebackup` counts as the oracle's; PostgreSQL's own processes count for nobody"))
        },
    )]
}

/// A filled server that archives into a sandbox.
pub struct Served {
    /// First: the server must stop before its archive goes.
    _server: Filled,
    pub sandbox: Sandbox,
}

impl Served {
    /// Starts the server, and archives a first segment, without which there is no backup.
    ///
    /// # Errors
    /// It cannot be started, or its WAL does not arrive.
    pub fn new(world: &World) -> Result<Self> {
        let server = data::filled(world, data::MAJOR)?;
        let sandbox = world
            .sandbox("main")
            .cluster(server.cluster())
            .mode(Mode::Archiver)
            .option("immediate_checkpoint", "true")
            .build()?;
        let barman = sandbox.barman()?;
        server.cluster().switch_wal()?;
        wait_until("the server can be backed up", SOON, || {
            barman.run(["archive-wal", "main"])?;
            let done = barman.run(["check", "main"])?;
            ensure!(done.code == Some(0), "{done}");
            Ok(true)
        })?;
        Ok(Self {
            _server: server,
            sandbox,
        })
    }

    fn side(self: &Rc<Self>, name: &'static str, program: Program) -> Side {
        let program = program.timeout(PATIENCE);
        let (of_run, of_reset) = (Rc::clone(self), Rc::clone(self));
        Side::new(name, move || {
            let _ = &of_run;
            let (sample, done) = measure::run(&program, ["backup", "main"])?;
            ensure!(done.stdout.contains("Backup completed"), "{done}");
            Ok::<Sample, anyhow::Error>(sample)
        })
        .reset(move || of_reset.forget_backups())
    }

    /// Removes all backups, so that each run begins with the same disk.
    fn forget_backups(&self) -> Result<()> {
        let dir = self.sandbox.server_dir();
        remove(&dir.join("base"))?;
        for entry in std::fs::read_dir(dir.join("meta")).context("read meta")? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("-backup.info") {
                std::fs::remove_file(&path)?;
            }
        }
        std::fs::create_dir_all(dir.join("base"))?;
        self.sandbox.barman()?.ok(["archive-wal", "main"])?;
        settle(&dir)
    }
}
