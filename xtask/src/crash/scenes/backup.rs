//! `barman backup` of a running server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testkit::{Cluster, Finished, Mode, Program, Sandbox, wait_until};

use crate::crash::disk;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const SOON: Duration = Duration::from_secs(60);

/// The segment up to which everything was delivered; a label comes after the segment that it is named after.
const LAST_DELIVERED: &str = "SELECT left(coalesce(last_archived_wal, ''), 24) FROM pg_stat_archiver";

const WHOLE: &str = "a backup that looks whole is whole";
const FIRST: &str = "the backup of before is untouched";
const LOST: &str = "no delivered WAL is lost";
const IDS: &str = "ids increase";
const LISTS: &str = "xlog.db lists each file once, and it is there";

/// PostgreSQL 15.
pub fn of_15(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Backup::new(program, 15)?))
}

/// PostgreSQL 17.
pub fn of_17(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Backup::new(program, 17)?))
}

struct Backup {
    sandbox: Sandbox,
    cluster: Cluster,
    /// The backup that is there before.
    first: String,
    files: BTreeMap<String, String>,
    /// The segment that the server writes when everything is put back.
    since: String,
}

impl Backup {
    fn new(program: &Path, major: u16) -> Result<Self> {
        let cluster = Cluster::builder(major)
            .wal_segment_mb(1)
            .conf("wal_keep_size", "256MB")
            .start()?;
        cluster.create_tablespace("space")?;
        cluster.sql("CREATE TABLE there TABLESPACE space AS SELECT generate_series(1, 1000) AS n")?;
        let sandbox = Sandbox::builder("main")
            .cluster(&cluster)
            .mode(Mode::Archiver)
            .program(program)
            .build()?;
        sandbox
            .barman()?
            .ok(["backup", "--immediate-checkpoint", "--wait", "main"])?;
        let server = sandbox.server_dir();
        let first = disk::ids(&server).pop().context("no backup")?;
        Ok(Self {
            files: disk::digest(&server.join("base").join(&first))?,
            since: current(&cluster)?,
            sandbox,
            cluster,
            first,
        })
    }

    fn server(&self) -> PathBuf {
        self.sandbox.server_dir()
    }

    /// Whoever looks whole has the data that its manifest promises, and the WAL if it says so.
    fn not_falsely_whole(&self) -> Result<()> {
        let server = self.server();
        for id in disk::ids(&server).into_iter().filter(|id| *id != self.first) {
            if !disk::looks_whole(&server, &id)? {
                continue;
            }
            let status = disk::field(&server, &id, "status")?;
            let data = server.join("base").join(&id).join("data");
            ensure!(
                data.join("backup_label").exists(),
                "{id} is {status} without a label"
            );
            disk::check_manifest(&data).with_context(|| format!("{id} is {status}"))?;
            if status == "DONE" {
                let (begin, end) = (
                    disk::field(&server, &id, "begin_wal")?,
                    disk::field(&server, &id, "end_wal")?,
                );
                for wal in between(&begin, &end)? {
                    let size = fs::metadata(disk::archived(&server, &wal)).map(|found| found.len());
                    ensure!(
                        size.is_ok_and(|size| size == self.segment_size()),
                        "{id} is DONE without {wal}, or with a part of it"
                    );
                }
            }
        }
        Ok(())
    }

    fn first_untouched(&self) -> Result<()> {
        let server = self.server();
        ensure!(
            disk::looks_whole(&server, &self.first)?,
            "{} is not whole",
            self.first
        );
        super::equal(
            &self.files,
            &disk::digest(&server.join("base").join(&self.first))?,
        )
    }

    /// All WAL that the server has given away since everything was put back.
    fn no_wal_lost(&self) -> Result<()> {
        let last = self.cluster.sql_value(LAST_DELIVERED)?;
        if last.len() != 24 || last < self.since {
            return Ok(());
        }
        let server = self.server();
        for name in between(&self.since, &last)? {
            let here =
                disk::archived(&server, &name).exists() || server.join("incoming").join(&name).exists();
            ensure!(here, "WAL file {name} is lost");
        }
        Ok(())
    }

    /// A backup takes an id greater than all others.
    fn first_is_oldest(&self) -> Result<()> {
        let ids = disk::ids(&self.server());
        ensure!(ids.first() == Some(&self.first), "{ids:?}");
        Ok(())
    }
}

/// The segment that the server writes now.
fn current(cluster: &Cluster) -> Result<String> {
    cluster.sql_value("SELECT pg_walfile_name(pg_current_wal_lsn())")
}

/// All names from one segment to another, with segments of 1 MiB.
pub fn between(first: &str, last: &str) -> Result<Vec<String>> {
    let number = |name: &str| -> Result<u64> {
        let high = u64::from_str_radix(name.get(8..16).context("name")?, 16)?;
        let low = u64::from_str_radix(name.get(16..24).context("name")?, 16)?;
        Ok(high * 4096 + low)
    };
    let timeline = first.get(..8).context("name")?;
    Ok((number(first)?..=number(last)?)
        .map(|n| format!("{timeline}{:08X}{:08X}", n / 4096, n % 4096))
        .collect())
}

impl Scene for Backup {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn reset(&mut self) -> Result<()> {
        // What was delivered until now went away with the old home.
        self.cluster.switch_wal()?;
        let since = current(&self.cluster)?;
        self.since = since;
        Ok(())
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program
            .clone()
            .timeout(SOON)
            .run(["backup", "--immediate-checkpoint", "main"])
    }

    fn invariants(&self) -> Vec<Held> {
        vec![
            (WHOLE, self.not_falsely_whole()),
            (FIRST, self.first_untouched()),
            (LOST, self.no_wal_lost()),
            (IDS, self.first_is_oldest()),
            (LISTS, disk::check_listed(&self.server())),
        ]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        let program = program.clone().timeout(SOON);
        program.ok(["backup", "--immediate-checkpoint", "main"])?;
        // It sweeps what is left over.
        super::cron(&self.sandbox, &program)?;
        let server = self.server();
        wait_until("the WAL of the new backup is there", SOON, || {
            program.ok(["archive-wal", "main"])?;
            for id in disk::ids(&server) {
                if disk::field(&server, &id, "status")? == "WAITING_FOR_WALS" {
                    program.ok(["check-backup", "main", &id])?;
                }
            }
            let newest = disk::ids(&server).pop().context("no backup")?;
            Ok(disk::field(&server, &newest, "status")? == "DONE")
        })
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let server = self.server();
        let mut state = BTreeMap::new();
        for id in disk::ids(&server) {
            let status = disk::field(&server, &id, "status")?;
            if status == "EMPTY" || status == "STARTED" {
                bail!("{id} is still {status}");
            }
        }
        let newest = disk::ids(&server).pop().context("no backup")?;
        state.insert(
            "the newest is DONE".to_owned(),
            (disk::field(&server, &newest, "status")? == "DONE").to_string(),
        );
        for part in ["meta", "wals", "base"] {
            for file in disk::files(&server.join(part))? {
                let name = file
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                if name.starts_with('.') && part != "base" {
                    state.insert(format!("{part}/{}", file.display()), "left over".to_owned());
                }
            }
        }
        Ok(state)
    }

    /// The WAL may arrive later.
    fn success_is_complete(&self) -> bool {
        false
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let server = self.server();
        let newest = disk::ids(&server).pop().context("no backup")?;
        let data = |id: &str| server.join("base").join(id).join("data");
        wait_until("WAL is delivered", SOON, || {
            let last = self.cluster.sql_value(LAST_DELIVERED)?;
            Ok(last.len() == 24 && last >= self.since)
        })?;
        let delivered = [
            disk::archived(&server, &self.since),
            server.join("incoming").join(&self.since),
        ];
        let delivered = delivered.into_iter().find(|path| path.exists());
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        Ok(vec![
            damage(
                "the new backup lacks a file",
                WHOLE,
                data(&newest).join("PG_VERSION"),
                Edit::Remove,
            ),
            damage(
                "a file of the new backup is half",
                WHOLE,
                data(&newest).join("global/pg_control"),
                Edit::Halve,
            ),
            damage(
                "the new backup has no label",
                WHOLE,
                data(&newest).join("backup_label"),
                Edit::Remove,
            ),
            damage(
                "a file of the earlier backup has changed",
                FIRST,
                data(&self.first).join("PG_VERSION"),
                Edit::Append("x".to_owned()),
            ),
            damage(
                "a delivered WAL file is gone",
                LOST,
                delivered.context("no WAL was delivered")?,
                Edit::Remove,
            ),
            damage(
                "a backup has an id before the others",
                IDS,
                server.join("meta/20000101T000000-backup.info"),
                Edit::Write(b"status=FAILED\n".to_vec()),
            ),
            damage(
                "a line has no file",
                LISTS,
                server.join("wals/main-xlog.db"),
                Edit::Append("0000000100000000000000FF\t16\t1700000000.0\tNone\tNone\n".to_owned()),
            ),
        ])
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }

    fn is_bulk(&self, path: &Path) -> bool {
        path.strip_prefix(self.server().join("base"))
            .is_ok_and(|rest| rest.components().count() > 2)
    }
}
