//! What a scenario begins with: a configuration, a catalogue, a live cluster. Made anew for each program, at the same path, so that nothing that either
//! program says or writes differs because of where it works.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use testkit::catalogue::{Recipe, WriteOptions};
use testkit::{Cluster, trees, user};

use super::catalogue::Home;
use super::world::World;
use crate::run;

/// The live cluster of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// None: the configuration leads to a port where nobody listens.
    None,
    /// A cluster of this major, shared by scenarios that change nothing in it and do not look at its clients. It has archived WAL, into nothing.
    Shared(u16),
    /// A cluster of this major of the program's own, a copy of one data directory. It archives into `incoming`.
    Own(u16),
}

/// The catalogue of a state.
#[derive(Debug, Clone, Copy)]
pub enum Catalogue {
    /// `barman_home` is empty.
    Empty,
    /// Made by this recipe.
    Made(fn(&Home) -> Result<()>),
    /// One that the generator of the test kit makes of this recipe (`varied:42`), with the configuration that belongs to it.
    Seeded(&'static str),
    /// A copy of what the oracle made of a live cluster of this major: two backups, the second one named, their WAL, and some more WAL.
    Archive(u16),
}

/// What both programs begin with.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// The cluster.
    pub live: Live,
    /// The catalogue.
    pub catalogue: Catalogue,
    /// Lines of `[barman]` that replace those of the same name; `name =` removes one. `{root}` stands for the directory of the run.
    pub global: &'static str,
    /// The same for the section `[main]`.
    pub main: &'static str,
    /// Further sections.
    pub servers: &'static str,
}

/// One server `main` with the file archiver, no catalogue, nobody to connect to.
pub const PLAIN: State = State {
    live: Live::None,
    catalogue: Catalogue::Empty,
    global: "",
    main: "",
    servers: "",
};

impl State {
    /// With this cluster.
    pub const fn live(self, live: Live) -> Self {
        Self { live, ..self }
    }

    /// With this catalogue.
    pub const fn catalogue(self, catalogue: Catalogue) -> Self {
        Self { catalogue, ..self }
    }

    /// With these lines in `[barman]`.
    pub const fn global(self, global: &'static str) -> Self {
        Self { global, ..self }
    }

    /// With these lines in `[main]`.
    pub const fn main(self, main: &'static str) -> Self {
        Self { main, ..self }
    }

    /// With these sections.
    pub const fn servers(self, servers: &'static str) -> Self {
        Self { servers, ..self }
    }

    /// Makes the state in the new directory `root`; returns the cluster, which is running.
    ///
    /// # Errors
    /// A file cannot be written, or a server not be started.
    pub fn make(&self, root: &Path, world: &World) -> Result<Option<Arc<Cluster>>> {
        for dir in ["conf.d", "user-home", "out"] {
            fs::create_dir_all(root.join(dir)).with_context(|| format!("create {dir}"))?;
        }
        let home = root.join("home");
        match self.catalogue {
            Catalogue::Archive(major) => copy(&world.archive(major)?.home, &home)?,
            Catalogue::Seeded(recipe) => {
                let settings = [self.global, self.main, self.servers];
                ensure!(
                    self.live == Live::None && settings.iter().all(|text| text.is_empty()),
                    "a seeded catalogue has a configuration of its own: no cluster and no settings can be added"
                );
                let recipe: Recipe = recipe.parse()?;
                testkit::catalogue::write(&recipe.blueprint(), root, &WriteOptions::default())?;
                return Ok(None);
            }
            Catalogue::Empty => fs::create_dir(&home)?,
            Catalogue::Made(recipe) => {
                fs::create_dir(&home)?;
                recipe(&Home::new(&home))?;
            }
        }
        let cluster = match self.live {
            Live::None => None,
            Live::Shared(major) => Some(world.shared(major)?),
            Live::Own(major) => Some(Arc::new(own(root, &world.template(major)?, major)?)),
        };
        fs::write(
            root.join("barman.conf"),
            self.configuration(root, cluster.as_deref())?,
        )?;
        Ok(cluster)
    }

    fn configuration(&self, root: &Path, cluster: Option<&Cluster>) -> Result<String> {
        let nobody = "host=127.0.0.1 port=1 user=barman dbname=postgres".to_owned();
        let mut global = format!(
            "barman_user = {}\nbarman_home = {{root}}/home\nlog_file = {{root}}/barman.log\nlog_level = INFO\nconfiguration_files_directory = {{root}}/conf.d\n",
            user::current_name()?
        );
        let mut main = format!(
            "description = Main database\nconninfo = {}\nstreaming_conninfo = {}\nbackup_method = postgres\narchiver = on\n",
            cluster.map_or_else(|| nobody.clone(), Cluster::conninfo),
            cluster.map_or_else(|| nobody.clone(), Cluster::streaming_conninfo),
        );
        if let Some(cluster) = cluster {
            let bin = trees::client_bin(cluster.major())?;
            main.push_str(&format!("path_prefix = {}\n", bin.display()));
        }
        override_lines(&mut global, self.global);
        override_lines(&mut main, self.main);
        let text = format!("[barman]\n{global}\n[main]\n{main}\n{}", self.servers);
        Ok(text.replace("{root}", &root.display().to_string()))
    }
}

fn name(line: &str) -> &str {
    line.split('=').next().unwrap_or(line).trim()
}

fn override_lines(text: &mut String, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        *text = text
            .lines()
            .filter(|old| name(old) != name(line))
            .map(|old| format!("{old}\n"))
            .collect();
        if !line.ends_with('=') {
            text.push_str(&format!("{line}\n"));
        }
    }
}

/// Copies a tree with times, owners and modes.
///
/// # Errors
/// `cp` fails.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    run::quiet(
        Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .arg(from)
            .arg(to),
    )
    .map(drop)
}

/// Starts a copy of the data directory `template` in `root`, archiving into `incoming` of the server `main`.
fn own(root: &Path, template: &Path, major: u16) -> Result<Cluster> {
    let data = root.join("pgdata");
    copy(template, &data)?;
    let incoming = root.join("home/main/incoming");
    let staging = root.join("staging");
    for dir in [&incoming, &staging] {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
    }
    let (incoming, staging) = (incoming.display(), staging.display());
    let command = format!("test ! -e {incoming}/%f && cp %p {staging}/%f && mv {staging}/%f {incoming}/%f");
    Cluster::builder(major)
        .conf("archive_mode", "on")
        .conf("archive_command", &command)
        .open(&data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_seeded_catalogue_are_not_lost_in_silence() {
        let seeded = PLAIN.catalogue(Catalogue::Seeded("small:1"));
        let world = World::default();
        for state in [seeded.main("archiver = off"), seeded.live(Live::Shared(15))] {
            let dir = testkit::TestDir::new().unwrap();
            let error = state.make(dir.path(), &world).unwrap_err();
            assert!(error.to_string().contains("of its own"), "{error:#}");
        }
        let dir = testkit::TestDir::new().unwrap();
        seeded.make(dir.path(), &world).unwrap();
    }

    #[test]
    fn lines_replace_those_of_the_same_name() {
        let state = PLAIN
            .global("log_level = DEBUG\nlog_file =")
            .main("archiver = off\nslot_name = {root}")
            .servers("[other]\n");
        let text = state.configuration(Path::new("/r"), None).unwrap();
        for line in [
            "log_level = DEBUG",
            "barman_home = /r/home",
            "archiver = off",
            "slot_name = /r",
            "[other]",
        ] {
            assert_eq!(text.lines().filter(|l| *l == line).count(), 1, "{line}: {text}");
        }
        assert!(!text.contains("log_file") && !text.contains("INFO"), "{text}");
    }
}
