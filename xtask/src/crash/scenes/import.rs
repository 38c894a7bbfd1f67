//! `barman import-backup` of the older of two backups, and `barman export-backup` and `barman generate-manifest`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::{Finished, Program, Sandbox};

use super::small;
use crate::crash::disk;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const WHOLE: &str = "a backup that exists is whole, kept, and its WAL is there";
const OTHERS: &str = "the other backup and its WAL are untouched";
const LISTS: &str = "xlog.db lists each file once, and it is there";
const FINAL: &str = "a file with its final name is complete";

/// A sandbox with a small catalogue that knows of which cluster it is.
fn catalogue(program: &Path) -> Result<Sandbox> {
    let sandbox = small::catalogue(program)?;
    fs::write(
        sandbox.server_dir().join("identity.json"),
        "{\n    \"systemid\": \"7400000000000000001\",\n    \"version\": \"15\"\n}\n",
    )?;
    Ok(sandbox)
}

/// Exports the first backup into this directory.
fn export(sandbox: &Sandbox, to: &Path) -> Result<PathBuf> {
    fs::create_dir_all(to)?;
    sandbox
        .barman()?
        .ok(["export-backup", "main", &small::id(1), &to.display().to_string()])?;
    let mut found = fs::read_dir(to)?;
    Ok(found.next().context("no export")??.path())
}

/// The first backup was exported and deleted, and comes back.
pub fn back(program: &Path) -> Result<Box<dyn Scene>> {
    let sandbox = catalogue(program)?;
    let server = sandbox.server_dir();
    let file = export(&sandbox, &sandbox.dir().join("out"))?;
    let base = disk::digest(&small::data(&server, &small::id(1)))?;
    let wal = disk::digest(&server.join("wals"))?;
    sandbox.barman()?.ok(["delete", "main", &small::id(1)])?;
    let needed = small::segment(2);
    let wal = wal
        .into_iter()
        .find(|(path, _)| path.ends_with(&needed))
        .context("no WAL")?;
    let others = others(&server)?;
    Ok(Box::new(Importing {
        sandbox,
        file,
        base,
        wal,
        others,
    }))
}

/// What the second backup consists of, and the WAL that is there before.
fn others(server: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = disk::digest(server)?;
    found.retain(|path, _| {
        let newer = path
            .rsplit('/')
            .next()
            .is_some_and(|name| name.len() == 24 && name >= small::segment(3).as_str());
        path.contains(&small::id(2)) || newer || path == "identity.json"
    });
    Ok(found)
}

struct Importing {
    sandbox: Sandbox,
    file: PathBuf,
    /// The backup that is imported.
    base: BTreeMap<String, String>,
    /// Path and content of the segment that it needs.
    wal: (String, String),
    others: BTreeMap<String, String>,
}

impl Importing {
    fn server(&self) -> PathBuf {
        self.sandbox.server_dir()
    }

    fn import(&self, program: &Program) -> Result<Finished> {
        program.run(["import-backup", "main", &self.file.display().to_string()])
    }

    fn whole(&self) -> Result<()> {
        let (server, id) = (self.server(), small::id(1));
        if !disk::ids(&server).contains(&id) {
            return Ok(());
        }
        ensure!(disk::looks_whole(&server, &id)?, "it is not DONE");
        super::equal(&self.base, &disk::digest(&small::data(&server, &id))?)?;
        let keep = fs::read_to_string(server.join(format!("meta/{id}-keep")))?;
        ensure!(keep == "standalone", "kept as {keep:?}");
        let wals = disk::digest(&server.join("wals"))?;
        ensure!(wals.get(&self.wal.0) == Some(&self.wal.1), "its WAL is not there");
        let listed = disk::listed(&server)?;
        ensure!(
            listed.iter().any(|(name, _)| *name == small::segment(2)),
            "its WAL is not listed"
        );
        Ok(())
    }

    fn untouched(&self) -> Result<()> {
        super::equal(&self.others, &others(&self.server())?)?;
        let listed = disk::listed(&self.server())?;
        for path in self.others.keys() {
            let name = path.rsplit('/').next().unwrap_or_default();
            ensure!(
                name.len() != 24 || listed.iter().any(|(listed, _)| listed == name),
                "{name} is not listed any more"
            );
        }
        Ok(())
    }
}

impl Scene for Importing {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        self.import(program)
    }

    fn invariants(&self) -> Vec<Held> {
        vec![
            (WHOLE, self.whole()),
            (OTHERS, self.untouched()),
            (LISTS, disk::check_listed(&self.server())),
        ]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        if !disk::ids(&self.server()).contains(&small::id(1)) {
            let done = self.import(program)?;
            ensure!(done.code == Some(0), "{done}");
        }
        // What a killed run has left when its backup was there already.
        super::cron(&self.sandbox, program)
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let mut state = disk::digest(&self.server())?;
        state.retain(|path, _| !path.contains("/."));
        for entry in fs::read_dir(self.server().join("base"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            state.insert(format!("base/{name}"), "directory".to_owned());
        }
        Ok(state)
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let server = self.server();
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        let data = small::data(&server, &small::id(1));
        Ok(vec![
            damage(
                "the imported backup lacks a file",
                WHOLE,
                data.join("data/PG_VERSION"),
                Edit::Remove,
            ),
            damage(
                "the imported backup is not kept",
                WHOLE,
                server.join(format!("meta/{}-keep", small::id(1))),
                Edit::Remove,
            ),
            damage(
                "its WAL is gone",
                WHOLE,
                server.join("wals").join(&self.wal.0),
                Edit::Remove,
            ),
            damage(
                "the other backup lacks a file",
                OTHERS,
                small::data(&server, &small::id(2)).join("data/PG_VERSION"),
                Edit::Remove,
            ),
            damage(
                "a line without a file",
                LISTS,
                server.join("wals/main-xlog.db"),
                Edit::Append(format!(
                    "{}\t1048576\t1700000000.0\tNone\tNone\n",
                    small::segment(200)
                )),
            ),
        ])
    }

    /// A working directory that could not be removed goes with the next `cron`.
    fn is_announced(&self, done: &Finished, key: &str) -> bool {
        done.stderr.contains("could not be removed") && key.starts_with("base/.import-")
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }
}

/// The first backup becomes a file.
pub fn out(program: &Path) -> Result<Box<dyn Scene>> {
    let sandbox = catalogue(program)?;
    let to = sandbox.dir().join("out");
    fs::create_dir(&to)?;
    let others = disk::digest(&sandbox.server_dir())?;
    Ok(Box::new(Exporting { sandbox, to, others }))
}

struct Exporting {
    sandbox: Sandbox,
    to: PathBuf,
    others: BTreeMap<String, String>,
}

impl Exporting {
    /// Files with final names: their SHA-256 is the one of the name.
    fn complete(&self) -> Result<()> {
        for file in disk::files(&self.to)? {
            let name = file.display().to_string();
            if name.starts_with('.') {
                continue;
            }
            let digits = name
                .strip_suffix(".tar")
                .and_then(|stem| stem.rsplit('-').next())
                .context("a strange name")?;
            let sum = std::process::Command::new("sha256sum")
                .arg(self.to.join(&file))
                .output()?;
            let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
            ensure!(sum.starts_with(digits), "{name} has {sum}");
        }
        Ok(())
    }
}

impl Scene for Exporting {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn reset(&mut self) -> Result<()> {
        fs::remove_dir_all(&self.to)?;
        Ok(fs::create_dir(&self.to)?)
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        let to = self.to.display().to_string();
        program.run(["export-backup", "main", &small::id(1), &to])
    }

    fn invariants(&self) -> Vec<Held> {
        let untouched =
            disk::digest(&self.sandbox.server_dir()).and_then(|found| super::equal(&self.others, &found));
        vec![(FINAL, self.complete()), (OTHERS, untouched)]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        // Into a directory of which only hidden files are left: they go.
        for file in disk::files(&self.to)? {
            if !file.display().to_string().starts_with('.') {
                fs::remove_file(self.to.join(file))?;
            }
        }
        let to = self.to.display().to_string();
        program.ok(["export-backup", "main", &small::id(1), &to])?;
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        // The name has a time and a checksum over times.
        let found = disk::files(&self.to)?;
        let kind = |file: &PathBuf| file.display().to_string().starts_with('.');
        let hidden = found.iter().filter(|file| kind(file)).count();
        Ok(BTreeMap::from([
            ("hidden".to_owned(), hidden.to_string()),
            ("exports".to_owned(), (found.len() - hidden).to_string()),
        ]))
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let file = disk::files(&self.to)?.into_iter().next().context("no export")?;
        Ok(vec![
            Damage {
                what: "the export is half",
                seen_by: FINAL,
                path: self.to.join(file),
                edit: Edit::Halve,
            },
            Damage {
                what: "a file of the exported backup is gone",
                seen_by: OTHERS,
                path: small::data(&self.sandbox.server_dir(), &small::id(1)).join("data/PG_VERSION"),
                edit: Edit::Remove,
            },
        ])
    }

    fn destination(&self) -> Option<PathBuf> {
        Some(self.to.clone())
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }
}

/// The first backup gets a manifest.
pub fn manifest(program: &Path) -> Result<Box<dyn Scene>> {
    let sandbox = catalogue(program)?;
    let others = disk::digest(&sandbox.server_dir())?;
    Ok(Box::new(Generating { sandbox, others }))
}

struct Generating {
    sandbox: Sandbox,
    others: BTreeMap<String, String>,
}

impl Generating {
    fn data(&self) -> PathBuf {
        small::data(&self.sandbox.server_dir(), &small::id(1)).join("data")
    }

    fn complete(&self) -> Result<()> {
        let path = self.data().join("backup_manifest");
        if !path.exists() {
            return Ok(());
        }
        let text = fs::read_to_string(path)?;
        let names = ["PG_VERSION", "global/pg_control"];
        ensure!(
            names
                .iter()
                .all(|name| text.contains(&format!("\"Path\": \"{name}\"")))
                && text.contains("\"Manifest-Checksum\"")
                && text.ends_with("}\n"),
            "{text}"
        );
        Ok(())
    }

    fn untouched(&self) -> Result<()> {
        let mut found = disk::digest(&self.sandbox.server_dir())?;
        found.retain(|path, _| !path.contains("backup_manifest"));
        super::equal(&self.others, &found)
    }
}

impl Scene for Generating {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program.run(["generate-manifest", "main", &small::id(1)])
    }

    fn invariants(&self) -> Vec<Held> {
        vec![(FINAL, self.complete()), (OTHERS, self.untouched())]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        if !self.data().join("backup_manifest").exists() {
            program.ok(["generate-manifest", "main", &small::id(1)])?;
        }
        program.ok(["verify-backup", "main", &small::id(1)])?;
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        let mut found = disk::digest(&self.sandbox.server_dir())?;
        // A complete manifest may have come with a failure to sync it: then nothing removes what another run has left.
        found.retain(|path, _| !path.contains("/."));
        Ok(found)
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        Ok(vec![
            Damage {
                what: "the manifest is half",
                seen_by: FINAL,
                path: self.data().join("backup_manifest"),
                edit: Edit::Halve,
            },
            Damage {
                what: "a file of the backup is half",
                seen_by: OTHERS,
                path: self.data().join("PG_VERSION"),
                edit: Edit::Halve,
            },
        ])
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }
}
