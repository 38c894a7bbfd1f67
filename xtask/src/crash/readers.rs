//! Both programs read the catalogue that a fault has left.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use testkit::{Program, Sandbox, TestDir, cache};

use super::{disk, kept};

/// How many catalogues one run of Barman reads.
const BATCH: usize = 25;

/// Our program reads the whole catalogue: every backup in the list and alone.
pub fn ours(sandbox: &Sandbox) -> Result<()> {
    let barman = sandbox.barman()?;
    let server = sandbox.server_dir();
    let shown = barman.ok(["list-backups", "--minimal", "main"])?;
    let ids: Vec<&str> = shown.stdout.lines().rev().collect();
    let found = disk::ids(&server);
    ensure!(ids == found, "list-backups shows {ids:?} of {found:?}");
    barman.ok(["list-backups", "main"])?;
    for id in found {
        barman.ok(["show-backup", "main", &id])?;
    }
    Ok(())
}

/// A catalogue that Barman cannot read.
#[derive(Debug)]
pub struct Unread {
    /// The fault that has left it.
    pub label: String,
    /// What Barman says.
    pub why: String,
    /// Where the copy that it could not read is kept.
    pub kept: PathBuf,
}

/// Catalogues that wait for Barman to read them, several in one run, each as a server of its own.
pub struct Oracle {
    dir: TestDir,
    /// Where copies that it cannot read are kept, and of which scenario they are.
    keep: PathBuf,
    scenario: String,
    waiting: Vec<Waiting>,
    next: usize,
    /// How many it has read.
    pub read: usize,
}

struct Waiting {
    name: String,
    ids: Vec<String>,
    label: String,
}

impl Oracle {
    /// None yet.
    ///
    /// # Errors
    /// Barman is not installed, a directory cannot be made.
    pub fn new(keep: &Path, scenario: &str) -> Result<Self> {
        let program = cache::oracle_program();
        ensure!(
            program.exists(),
            "the oracle is not at {}: run `cargo xtask setup`",
            program.display()
        );
        Ok(Self {
            dir: TestDir::new()?,
            keep: keep.to_owned(),
            scenario: scenario.to_owned(),
            waiting: Vec::new(),
            next: 0,
            read: 0,
        })
    }

    /// Takes a copy of what Barman reads when it lists and shows backups; `label` is the fault that has left it. When
    /// enough have come together Barman reads them; returns those that it could not read, of whichever fault.
    ///
    /// # Errors
    /// Files cannot be copied; Barman cannot be run.
    pub fn collect(&mut self, server: &Path, label: &str) -> Result<Vec<Unread>> {
        let name = format!("c{}", self.next);
        self.next += 1;
        let to = self.home().join(&name);
        for part in ["base", "wals", "incoming", "streaming", "errors"] {
            fs::create_dir_all(to.join(part))?;
        }
        if server.join("meta").exists() {
            disk::copy(&server.join("meta"), &to.join("meta"))?;
        }
        // Barman takes the server's name from there.
        for id in disk::ids(server) {
            let path = to.join(format!("meta/{id}-backup.info"));
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let text = text.replace("server_name=main\n", &format!("server_name={name}\n"));
            fs::write(&path, text)?;
        }
        let (from, db) = (
            server.join("wals/main-xlog.db"),
            to.join(format!("wals/{name}-xlog.db")),
        );
        if from.exists() {
            fs::copy(&from, &db).context("copy xlog.db")?;
        }
        if server.join("identity.json").exists() {
            fs::copy(server.join("identity.json"), to.join("identity.json"))?;
        }
        self.waiting.push(Waiting {
            name,
            ids: disk::ids(server),
            label: label.to_owned(),
        });
        if self.waiting.len() < BATCH {
            return Ok(Vec::new());
        }
        self.flush()
    }

    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// Reads what waits; returns what could not be read, each kept under the label of its own fault.
    ///
    /// # Errors
    /// Barman cannot be run.
    pub fn flush(&mut self) -> Result<Vec<Unread>> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        self.read += waiting.len();
        let mut broken = Vec::new();
        for (one, why) in unreadable(&waiting, |some| self.read(some))? {
            let kept = kept::make(&self.keep, &self.scenario, &format!("{} unread", one.label))?;
            disk::copy(&self.home().join(&one.name), &kept.join("catalogue"))?;
            fs::write(kept.join("output.txt"), &why)?;
            broken.push(Unread {
                label: one.label.clone(),
                why,
                kept,
            });
        }
        for one in waiting {
            fs::remove_dir_all(self.home().join(one.name))?;
        }
        Ok(broken)
    }

    fn read(&self, servers: &[&Waiting]) -> Result<()> {
        let dir = self.dir.path();
        fs::create_dir_all(dir.join("conf.d"))?;
        let mut text = format!(
            "[barman]\nbarman_user = {}\nbarman_home = {}\nlog_file = {}\nconfiguration_files_directory = {}\n",
            testkit::user::current_name()?,
            self.home().display(),
            dir.join("barman.log").display(),
            dir.join("conf.d").display(),
        );
        for server in servers {
            write!(
                text,
                "\n[{}]\ndescription = left by a fault\nconninfo = host=127.0.0.1 port=1 user=nobody dbname=postgres\n\
                 backup_method = postgres\narchiver = on\n",
                server.name
            )?;
        }
        let config = dir.join("barman.conf");
        fs::write(&config, text)?;
        let barman = Program::new(cache::oracle_program())
            .arg("-c")
            .arg(&config)
            .belonging_to(dir)
            .env("HOME", dir);
        // The list reads every backup.info and the whole xlog.db of each server.
        let list = barman.ok(["list-backups", "all"])?;
        let mut listed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for line in list.stdout.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some(server), Some(id)) = (words.next(), words.next()) {
                listed
                    .entry(server)
                    .or_default()
                    .push(id.trim_matches('\'').to_owned());
            }
        }
        // And this one shows every backup with all its fields.
        let shown = barman.ok(["diagnose"])?;
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).context("diagnose is no JSON")?;
        for server in servers {
            let mut found = listed.remove(server.name.as_str()).unwrap_or_default();
            found.sort();
            ensure!(
                found == server.ids,
                "list-backups shows {found:?} instead of {:?}\n{list}",
                server.ids
            );
            let backups = shown
                .pointer(&format!("/servers/{}/backups", server.name))
                .and_then(|backups| backups.as_object());
            let Some(backups) = backups else {
                bail!("diagnose does not show server {}", server.name);
            };
            let found: Vec<&String> = backups.keys().collect();
            ensure!(
                found.len() == server.ids.len() && server.ids.iter().all(|id| backups.contains_key(id)),
                "diagnose shows {found:?} instead of {:?}",
                server.ids
            );
        }
        Ok(())
    }
}

/// Reads all together, and if that fails one by one: which of them it is, and why.
fn unreadable(
    waiting: &[Waiting],
    read: impl Fn(&[&Waiting]) -> Result<()>,
) -> Result<Vec<(&Waiting, String)>> {
    let all: Vec<&Waiting> = waiting.iter().collect();
    let Err(together) = read(&all) else {
        return Ok(Vec::new());
    };
    let mut broken = Vec::new();
    for one in waiting {
        if let Err(error) = read(&[one]) {
            broken.push((one, format!("Barman cannot read it: {error:#}")));
        }
    }
    if broken.is_empty() {
        return Err(together.context("Barman reads each catalogue alone, but not all together"));
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_kept_under_its_own_fault() {
        let (server, keep) = (TestDir::new().unwrap(), TestDir::new().unwrap());
        let meta = server.join("meta");
        fs::create_dir_all(&meta).unwrap();
        let info = meta.join("20260101T000000-backup.info");
        fs::create_dir_all(server.join("base/20260101T000000")).unwrap();
        let mut oracle = Oracle::new(keep.path(), "backup/17").unwrap();
        fs::write(&info, "this is no backup.info\n").unwrap();
        let first = oracle.collect(server.path(), "--fault kill --call write --at 3");
        assert!(first.unwrap().is_empty());
        // What comes after it is another fault's, and whole.
        fs::remove_file(&info).unwrap();
        let second = oracle.collect(server.path(), "--fault eio --call fsync --at 1");
        assert!(second.unwrap().is_empty());
        let unread = oracle.flush().unwrap();
        let labels: Vec<&str> = unread.iter().map(|one| one.label.as_str()).collect();
        assert_eq!(labels, ["--fault kill --call write --at 3"]);
        let kept = unread[0].kept.join("catalogue/meta/20260101T000000-backup.info");
        assert_eq!(fs::read_to_string(kept).unwrap(), "this is no backup.info\n");
    }
}
