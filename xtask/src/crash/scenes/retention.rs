//! `barman cron` with a policy that calls two of four backups obsolete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::{Finished, Mode, Program, Sandbox};

use super::small;
use crate::crash::disk;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const WHOLE: &str = "a backup that looks whole is whole";
const KEPT: &str = "the backups that the policy keeps are untouched";
const NEEDED: &str = "WAL that they need stays";
const LISTS: &str = "xlog.db lists each file once, and it is there";
const FORGOTTEN: &str = "no data without backup.info";

/// The backups that stay.
const STAY: [u32; 2] = [3, 4];

/// `REDUNDANCY 2`.
pub fn by_cron(program: &Path) -> Result<Box<dyn Scene>> {
    let mut sandbox = Sandbox::builder("main")
        .mode(Mode::Archiver)
        .option("retention_policy", "REDUNDANCY 2")
        .program(program)
        .build()?;
    let locks = sandbox.dir().join("locks");
    fs::create_dir(&locks)?;
    sandbox.set_global("barman_lock_directory", &locks.display().to_string())?;
    small::fill(&sandbox, 4)?;
    // Whoever has this lock keeps `cron` from starting processes that would outlive it.
    let archiver = File::create(locks.join(".main-archive-wal.lock"))?;
    archiver.lock().context("hold the lock of archive-wal")?;
    let server = sandbox.server_dir();
    let mut whole = BTreeMap::new();
    for id in disk::ids(&server) {
        let data = disk::digest(&small::data(&server, &id))?;
        whole.insert(id, data);
    }
    let first = small::segment(2 * STAY[0]);
    let mut needed = disk::digest(&server.join("wals"))?;
    needed.retain(|path, _| {
        path.rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with('0') && *name >= *first)
    });
    Ok(Box::new(Retention {
        sandbox,
        locks,
        _archiver: archiver,
        whole,
        needed,
    }))
}

struct Retention {
    sandbox: Sandbox,
    locks: PathBuf,
    _archiver: File,
    /// The data of each backup.
    whole: BTreeMap<String, BTreeMap<String, String>>,
    /// The WAL that the backups that stay need.
    needed: BTreeMap<String, String>,
}

impl Retention {
    fn server(&self) -> PathBuf {
        self.sandbox.server_dir()
    }

    fn not_falsely_whole(&self) -> Result<()> {
        for id in disk::ids(&self.server()) {
            if disk::looks_whole(&self.server(), &id)? {
                let data = disk::digest(&small::data(&self.server(), &id))?;
                super::equal(self.whole.get(&id).context("a new backup")?, &data)?;
            }
        }
        Ok(())
    }

    fn kept(&self) -> Result<()> {
        for id in STAY.map(small::id) {
            ensure!(
                disk::looks_whole(&self.server(), &id)?,
                "{id} is not whole any more"
            );
        }
        Ok(())
    }

    fn needed_wal_stays(&self) -> Result<()> {
        let wals = disk::digest(&self.server().join("wals"))?;
        let listed = disk::listed(&self.server())?;
        for (path, content) in &self.needed {
            ensure!(wals.get(path) == Some(content), "{path}: {:?}", wals.get(path));
            let name = path.rsplit('/').next().unwrap_or_default();
            ensure!(
                listed.iter().any(|(listed, _)| listed == name),
                "{name} is not listed any more"
            );
        }
        Ok(())
    }
}

impl Scene for Retention {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn reset(&mut self) -> Result<()> {
        for entry in fs::read_dir(&self.locks)? {
            let path = entry?.path();
            if !path.ends_with(".main-archive-wal.lock") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program.run(["cron"])
    }

    fn invariants(&self) -> Vec<Held> {
        vec![
            (WHOLE, self.not_falsely_whole()),
            (KEPT, self.kept()),
            (NEEDED, self.needed_wal_stays()),
            (LISTS, disk::check_listed(&self.server())),
            (FORGOTTEN, small::nothing_forgotten(&self.server())),
        ]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        program.ok(["cron"])?;
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        small::everything(&self.server())
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let server = self.server();
        let stays = small::id(STAY[0]);
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        let wal = disk::archived(&server, &small::segment(2 * STAY[0]));
        Ok(vec![
            damage(
                "a file of a backup that stays is gone",
                WHOLE,
                small::data(&server, &stays).join("data/PG_VERSION"),
                Edit::Remove,
            ),
            damage(
                "a backup that stays is marked for deletion",
                KEPT,
                server.join(format!("meta/{stays}-delete_this")),
                Edit::Write(b"delete".to_vec()),
            ),
            damage("a WAL file that is needed is half", NEEDED, wal, Edit::Halve),
            damage(
                "a line of a removed WAL file has stayed",
                LISTS,
                server.join("wals/main-xlog.db"),
                Edit::Append("000000010000000000000001\t1048576\t1700000000.0\tNone\tNone\n".to_owned()),
            ),
            damage(
                "data of a deleted backup are left",
                FORGOTTEN,
                small::data(&server, &small::id(1)).join("data/PG_VERSION"),
                Edit::Write(b"15\n".to_vec()),
            ),
        ])
    }

    /// While a backup cannot be read no WAL goes, and the run says so.
    fn is_announced(&self, done: &Finished, key: &str) -> bool {
        done.stderr.contains("No WAL is deleted") && key.starts_with("wals/")
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }
}
