//! The same blueprint in two homes: one for our program, one for Barman.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testkit::catalogue::blueprint::{Backup, Server};
use testkit::catalogue::{self, Blueprint, WriteOptions, WrittenHome};
use testkit::{Finished, TestDir, wait_until};

pub struct Pair {
    _dir: TestDir,
    pub ours: WrittenHome,
    pub theirs: WrittenHome,
}

/// What is left of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Ids with metadata.
    pub backups: BTreeSet<String>,
    /// Names of files in the archive, without directories.
    pub wals: BTreeSet<String>,
    /// Lines of `xlog.db`; none when there is none.
    pub lines: Option<Vec<String>>,
}

/// What is left in both homes.
#[derive(Debug, Clone)]
pub struct State {
    pub ours: Left,
    pub theirs: Left,
}

pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

impl Pair {
    pub fn write(blueprint: &Blueprint) -> Self {
        let dir = TestDir::new().unwrap();
        let home = |name: &str| {
            let below = dir.join(name);
            fs::create_dir(&below).unwrap();
            catalogue::write(blueprint, &below, &WriteOptions::default()).unwrap()
        };
        Self {
            ours: home("ours"),
            theirs: home("theirs"),
            _dir: dir,
        }
    }

    pub fn configure(&self, blueprint: &Blueprint) {
        self.ours.configure(blueprint, &[]).unwrap();
        self.theirs.configure(blueprint, &[]).unwrap();
    }

    pub fn run_ours(&self, arguments: &[&str]) -> Finished {
        let program = self.ours.program(Path::new(env!("CARGO_BIN_EXE_barman")));
        program.run(arguments).unwrap()
    }

    pub fn run_theirs(&self, arguments: &[&str]) -> Finished {
        self.theirs.oracle().unwrap().run(arguments).unwrap()
    }

    /// The standard output of both, which must have succeeded without a word on standard error.
    pub fn both(&self, arguments: &[&str]) -> (String, String) {
        let check = |finished: Finished| {
            assert_eq!(
                (finished.code, finished.stderr.as_str()),
                (Some(0), ""),
                "{finished}"
            );
            finished.stdout
        };
        (check(self.run_ours(arguments)), check(self.run_theirs(arguments)))
    }

    pub fn state(&self, server: &Server) -> State {
        State {
            ours: left(&self.ours, server),
            theirs: left(&self.theirs, server),
        }
    }

    /// Waits until nothing runs any more that `cron` started.
    pub fn wait_for_children(&self) {
        let marks = [&self.ours, &self.theirs].map(|home| home.config_path().display().to_string());
        wait_until(
            "the children of cron have ended",
            Duration::from_secs(120),
            || {
                Ok(!fs::read_dir("/proc")?.flatten().any(|process| {
                    let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                    let line = String::from_utf8_lossy(&line).into_owned();
                    marks.iter().any(|mark| line.contains(mark.as_str()))
                }))
            },
        )
        .unwrap();
    }
}

pub fn left(home: &WrittenHome, server: &Server) -> Left {
    let root = home.server_dir(&server.name);
    let mut backups = BTreeSet::new();
    for name in names(&root.join("meta")) {
        backups.extend(name.strip_suffix("-backup.info").map(str::to_owned));
    }
    for id in names(&root.join("base")) {
        if root.join("base").join(&id).join("backup.info").exists() {
            backups.insert(id);
        }
    }
    let mut wals = BTreeSet::new();
    for name in names(&root.join("wals")) {
        let path = root.join("wals").join(&name);
        if path.is_dir() {
            wals.extend(names(&path));
        } else if !name.ends_with("xlog.db") {
            wals.insert(name);
        }
    }
    let lines = fs::read_to_string(root.join(format!("wals/{}-xlog.db", server.name)));
    Left {
        backups,
        wals,
        lines: lines.ok().map(|text| text.lines().map(str::to_owned).collect()),
    }
}

/// Names of the segments from a backup's begin to its end that were in the archive at first.
pub fn own_wals(server: &Server, backup: &Backup) -> Vec<String> {
    let (Some(begin), Some(end)) = (&backup.begin, &backup.end) else {
        return Vec::new();
    };
    let there = server.wals.iter().filter(|wal| wal.on_disk);
    let names = there.map(|wal| server.geometry.text(wal.name));
    names
        .filter(|name| name.len() == 24 && begin.wal <= *name && *name <= end.wal)
        .collect()
}

/// Names in a directory; none if it is not there.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Compares line by line, so that a failure shows the first line that differs.
pub fn same_lines(blueprint: &Blueprint, ours: &str, theirs: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{}", blueprint.recipe);
    }
    assert_eq!(ours, theirs, "{}", blueprint.recipe);
}
