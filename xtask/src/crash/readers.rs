//! Both programs read the catalogue that a fault has left.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use testkit::{Program, Sandbox, TestDir, cache};

use super::disk;

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

/// Catalogues that wait for Barman to read them, several in one run, each as a server of its own.
pub struct Oracle {
    dir: TestDir,
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
    pub fn new() -> Result<Self> {
        let program = cache::oracle_program();
        ensure!(
            program.exists(),
            "the oracle is not at {}: run `cargo xtask setup`",
            program.display()
        );
        Ok(Self {
            dir: TestDir::new()?,
            waiting: Vec::new(),
            next: 0,
            read: 0,
        })
    }

    /// Takes a copy of what Barman reads when it lists and shows backups; `label` is the fault that has left it. When
    /// enough have come together Barman reads them; returns those that it could not read.
    ///
    /// # Errors
    /// Files cannot be copied; Barman cannot be run.
    pub fn collect(&mut self, server: &Path, label: &str) -> Result<Vec<(String, String)>> {
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

    /// Reads what waits; returns the labels of what could not be read, and why.
    ///
    /// # Errors
    /// Barman cannot be run.
    pub fn flush(&mut self) -> Result<Vec<(String, String)>> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        self.read += waiting.len();
        let names: Vec<&Waiting> = waiting.iter().collect();
        let mut broken = Vec::new();
        if let Err(together) = self.read(&names) {
            // Which of them it is, one by one.
            for one in &waiting {
                if let Err(error) = self.read(&[one]) {
                    broken.push((one.label.clone(), format!("Barman cannot read it: {error:#}")));
                }
            }
            if broken.is_empty() {
                return Err(together.context("Barman reads each catalogue alone, but not all together"));
            }
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
