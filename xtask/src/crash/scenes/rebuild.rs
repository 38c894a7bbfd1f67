//! `barman rebuild-xlogdb` of a catalogue with lines that are wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::{Finished, Program, Sandbox};

use super::small;
use crate::crash::disk;
use crate::crash::planted::damage::{Damage, Edit};
use crate::crash::scenario::{Held, Scene};

const LISTS: &str = "xlog.db is the old or the new one, whole";
const ARCHIVE: &str = "the archive is untouched";

/// Lines without files, files without lines, and an encrypted file whose compression only the old catalogue knows.
pub fn wrong_lines(program: &Path) -> Result<Box<dyn Scene>> {
    let sandbox = small::catalogue(program)?;
    let server = sandbox.server_dir();
    let encrypted = "000000010000000100000001";
    small::archive(&server, encrypted, "gzip\tgpg")?;
    let path = disk::archived(&server, encrypted);
    // How a file of `gpg --encrypt` begins.
    fs::write(&path, [&b"\x85\x01\x0c\x03"[..], &[7; 60]].concat())?;
    small::time(&path)?;
    let db = server.join("wals/main-xlog.db");
    let new = fs::read_to_string(&db)?.replace(&format!("{encrypted}\t1048576"), &format!("{encrypted}\t64"));
    let missing = small::segment(3);
    let mut old: String = new
        .lines()
        .filter(|line| !line.starts_with(&missing))
        .map(|line| format!("{line}\n"))
        .collect();
    old.push_str("000000010000000200000001\t1048576\t1700000000.0\tNone\tNone\n");
    fs::write(&db, &old)?;
    let archive = archive(&server)?;
    Ok(Box::new(Rebuild {
        sandbox,
        catalogues: [old, new],
        archive,
    }))
}

struct Rebuild {
    sandbox: Sandbox,
    /// The text before and after.
    catalogues: [String; 2],
    /// All files of the archive.
    archive: BTreeMap<String, String>,
}

fn archive(server: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = disk::digest(&server.join("wals"))?;
    found.retain(|path, _| !path.contains("xlog.db"));
    Ok(found)
}

impl Rebuild {
    fn server(&self) -> PathBuf {
        self.sandbox.server_dir()
    }

    fn catalogue(&self) -> PathBuf {
        self.server().join("wals/main-xlog.db")
    }

    fn lists(&self) -> Result<()> {
        let text = fs::read_to_string(self.catalogue()).context("read xlog.db")?;
        ensure!(self.catalogues.contains(&text), "xlog.db is neither:\n{text}");
        Ok(())
    }
}

impl Scene for Rebuild {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn run(&mut self, program: &Program) -> Result<Finished> {
        program.run(["rebuild-xlogdb", "main"])
    }

    fn invariants(&self) -> Vec<Held> {
        let untouched = archive(&self.server()).and_then(|found| super::equal(&self.archive, &found));
        vec![(LISTS, self.lists()), (ARCHIVE, untouched)]
    }

    fn again(&mut self, program: &Program) -> Result<()> {
        program.ok(["rebuild-xlogdb", "main"])?;
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, String>> {
        small::everything(&self.server())
    }

    fn damages(&self) -> Result<Vec<Damage>> {
        let wal = disk::archived(&self.server(), &small::segment(2));
        let damage = |what, seen_by, path, edit| Damage {
            what,
            seen_by,
            path,
            edit,
        };
        Ok(vec![
            damage(
                "xlog.db is empty",
                LISTS,
                self.catalogue(),
                Edit::Write(Vec::new()),
            ),
            damage("xlog.db is half", LISTS, self.catalogue(), Edit::Halve),
            damage(
                "xlog.db lists a file twice",
                LISTS,
                self.catalogue(),
                Edit::Append(format!(
                    "{}\t1048576\t1700000000.0\tNone\tNone\n",
                    small::segment(2)
                )),
            ),
            damage("a WAL file is gone", ARCHIVE, wal.clone(), Edit::Remove),
            damage("a WAL file is half", ARCHIVE, wal, Edit::Halve),
        ])
    }

    fn segment_size(&self) -> u64 {
        1 << 20
    }
}
