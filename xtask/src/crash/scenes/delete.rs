//! `barman delete` of the oldest of three backups.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Cluster, Finished, Mode, Program, Sandbox, wait_until};

use crate::crash::disk;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

/// Of a data directory only so much is left, so that the deletion of each file can be disturbed.
const FILES: usize = 12;

const WHOLE: &str = "a backup that looks whole is whole";
const OTHERS: &str = "the other backups are untouched";
const NEEDED: &str = "WAL that the others need stays";
const LISTS: &str = "xlog.db lists each file once, and it is there";
const FORGOTTEN: &str = "no data without backup.info";

/// The oldest backup goes, and the WAL that only it needs.
pub fn oldest(program: &Path) -> Result<Box<dyn Scene>> {
    Ok(Box::new(Deletion::new(program)?))
}

struct Deletion {
    sandbox: Sandbox,
    /// The backup that is deleted.
    id: String,
    /// The others, with the files of each.
    others: BTreeMap<String, BTreeMap<String, String>>,
    /// What the deleted one was.
    whole: BTreeMap<String, String>,
    /// The WAL that the others need, and its content.
    needed: BTreeMap<String, String>,
}

impl Deletion {
    fn new(program: &Path) -> Result<Self> {
        let cluster = Cluster::builder(15).wal_segment_mb(1).start()?;
        cluster.create_tablespace("space")?;
        cluster.sql("CREATE TABLE there (n int) TABLESPACE space")?;
        let sandbox = Sandbox::builder("main")
            .cluster(&cluster)
            .mode(Mode::Archiver)
            .program(program)
            .build()?;
        let barman = sandbox.barman()?;
        for _ in 0..3 {
            for _ in 0..2 {
                cluster.sql("INSERT INTO there SELECT generate_series(1, 100)")?;
                cluster.switch_wal()?;
            }
            barman.ok(["backup", "--immediate-checkpoint", "--wait", "main"])?;
        }
        let last = cluster.switch_wal()?;
        let server = sandbox.server_dir();
        wait_until("all WAL is archived", Duration::from_secs(120), || {
            barman.ok(["archive-wal", "main"])?;
            Ok(disk::archived(&server, &last).exists())
        })?;
        let ids = disk::ids(&server);
        let [id, rest @ ..] = ids.as_slice() else {
            anyhow::bail!("no backups")
        };
        for id in &ids {
            thin(&server.join("base").join(id))?;
        }
        let first_needed = disk::field(&server, rest.first().context("one backup")?, "begin_wal")?;
        let wals = disk::digest(&server.join("wals"))?;
        let needed = wals
            .into_iter()
            .filter(|(path, _)| {
                path.rsplit('/')
                    .next()
                    .is_some_and(|name| name >= first_needed.as_str())
            })
            .filter(|(path, _)| !path.ends_with("xlog.db"))
            .collect();
        Ok(Self {
            id: id.clone(),
            whole: disk::digest(&server.join("base").join(id))?,
            others: rest
                .iter()
                .map(|id| Ok((id.clone(), disk::digest(&server.join("base").join(id))?)))
                .collect::<Result<_>>()?,
            needed,
            sandbox,
        })
    }

    fn server(&self) -> PathBuf {
        self.sandbox.server_dir()
    }

    fn data(&self, id: &str) -> PathBuf {
        self.server().join("base").join(id)
    }

    fn not_falsely_whole(&self) -> Result<()> {
        let info = self.server().join(format!("meta/{}-backup.info", self.id));
        if info.exists() && disk::looks_whole(&self.server(), &self.id)? {
            super::equal(&self.whole, &disk::digest(&self.data(&self.id))?)?;
        }
        Ok(())
    }

    fn others_untouched(&self) -> Result<()> {
        for (id, files) in &self.others {
            ensure!(
                disk::looks_whole(&self.server(), id)?,
                "{id} is not whole any more"
            );
            super::equal(files, &disk::digest(&self.data(id))?).with_context(|| format!("backup {id}"))?;
        }
        Ok(())
    }

    fn needed_wal_stays(&self) -> Result<()> {
        let wals = disk::digest(&self.server().join("wals"))?;
        let listed: Vec<String> = disk::listed(&self.server())?
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for (path, content) in &self.needed {
            ensure!(wals.get(path) == Some(content), "{path}: {:?}", wals.get(path));
            let name = path.rsplit('/').next().unwrap_or_default();
            ensure!(
                listed.iter().any(|listed| listed == name),
                "{name} is not listed any more"
            );
        }
        Ok(())
    }

    /// Data without a `backup.info` is nobody's, and nobody would ever remove it.
    fn nothing_forgotten(&self) -> Result<()> {
        for entry in fs::read_dir(self.server().join("base"))? {
            let id = entry?.file_name().to_string_lossy().into_owned();
            ensure!(
                disk::ids(&self.server()).contains(&id),
                "base/{id} has no backup.info"
            );
        }
        Ok(())
    }
}

/// Removes most files of a backup.
fn thin(base: &Path) -> Result<()> {
    let keep = |path: &str| {
        [
            "PG_VERSION",
            "pg_control",
            "backup_label",
            "backup_manifest",
            "tablespace_map",
        ]
        .iter()
        .any(|name| path.ends_with(name))
    };
    let mut left = FILES;
    for file in disk::files(base)? {
        let path = file.display().to_string();
        if keep(&path) || !path.starts_with("data/") {
            continue;
        }
        if left > 0 {
            left -= 1;
        } else {
            fs::remove_file(base.join(&file))?;
        }
    }
    prune(base)
}

/// Removes empty directories.
fn prune(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            prune(&path)?;
            let _ = fs::remove_dir(&path);
        }
    }
    Ok(())
}

impl Scene for Deletion {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program.run(["delete", "main", &self.id])
    }

    fn invariants(&self) -> Vec<Held> {
        vec![
            (WHOLE, self.not_falsely_whole()),
            (OTHERS, self.others_untouched()),
            (NEEDED, self.needed_wal_stays()),
            (LISTS, disk::check_listed(&self.server())),
            (FORGOTTEN, self.nothing_forgotten()),
        ]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        if disk::ids(&self.server()).contains(&self.id) {
            program.ok(["delete", "main", &self.id])?;
        }
        // What a deletion that was nearly done has left is swept by the next command that deletes.
        super::cron(&self.sandbox, program)
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let server = self.server();
        let mut state = BTreeMap::new();
        for file in disk::files(&server)? {
            let size = fs::metadata(server.join(&file)).map_or(0, |found| found.len());
            state.insert(file.display().to_string(), format!("{size} bytes"));
        }
        for (name, size) in disk::listed(&server)? {
            state.insert(format!("line {name}"), size.to_string());
        }
        Ok(state)
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let server = self.server();
        let (other, files) = self.others.first_key_value().context("no other backup")?;
        let (file, _) = files.first_key_value().context("no files")?;
        let (wal, _) = self.needed.first_key_value().context("no WAL is needed")?;
        let wal = server.join("wals").join(wal);
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        let info = format!("meta/{}-backup.info", self.id);
        Ok(vec![
            damage(
                "the deleted backup says DONE again, without its data",
                WHOLE,
                server.join(&info),
                Edit::Write(fs::read(self.sandbox.dir().join("saved/main").join(&info))?),
            ),
            damage(
                "a file of another backup is gone",
                OTHERS,
                self.data(other).join(file),
                Edit::Remove,
            ),
            damage(
                "another backup is marked for deletion",
                OTHERS,
                server.join(format!("meta/{other}-delete_this")),
                Edit::Write(Vec::new()),
            ),
            damage(
                "a WAL file that another backup needs is gone",
                NEEDED,
                wal.clone(),
                Edit::Remove,
            ),
            damage(
                "a WAL file that another backup needs is half",
                NEEDED,
                wal,
                Edit::Halve,
            ),
            damage(
                "a line of a removed WAL file has stayed",
                LISTS,
                server.join("wals/main-xlog.db"),
                Edit::Append("000000010000000000000001\t1048576\t1700000000.0\tNone\tNone\n".to_owned()),
            ),
            damage(
                "data of the deleted backup are left",
                FORGOTTEN,
                self.data(&self.id).join("data/PG_VERSION"),
                Edit::Write(b"15\n".to_vec()),
            ),
        ])
    }

    /// While a backup cannot be read no WAL goes, and the deletion says so.
    fn is_announced(&self, done: &Finished, key: &str) -> bool {
        done.stderr.contains("No WAL is deleted") && (key.starts_with("wals/") || key.starts_with("line "))
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }
}
