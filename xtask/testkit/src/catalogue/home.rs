//! A home that a blueprint was written to: its configuration, and the programs that run on it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::blueprint::Blueprint;
use crate::process::Program;
use crate::{sandbox, user};

/// A Barman home on disk and the configuration that leads to it.
#[derive(Debug, Clone)]
pub struct WrittenHome {
    dir: PathBuf,
}

impl WrittenHome {
    /// Makes the directories and the configuration, without anything of the servers.
    pub(super) fn create(blueprint: &Blueprint, dir: &Path, global: &[(String, String)]) -> Result<Self> {
        let home = Self { dir: dir.to_owned() };
        for name in ["home", "conf.d", "user-home"] {
            fs::create_dir_all(dir.join(name)).with_context(|| format!("create {name}"))?;
        }
        home.configure(blueprint, global)?;
        Ok(home)
    }

    /// Writes the configuration again, for a blueprint whose options changed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&self, blueprint: &Blueprint, global: &[(String, String)]) -> Result<()> {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let mut text = format!(
            "; {}\n[barman]\nbarman_user = {}\nconfiguration_files_directory = {}\nbarman_home = {}\nlog_file = {}\nlog_level = INFO\n",
            blueprint.recipe,
            user::current_name()?,
            path("conf.d"),
            path("home"),
            path("barman.log"),
        );
        for (name, value) in global {
            let _ = writeln!(text, "{name} = {value}");
        }
        for server in &blueprint.servers {
            let _ = writeln!(text, "\n[{}]", server.name);
            for (name, value) in &server.options {
                let _ = writeln!(text, "{name} = {value}");
            }
        }
        fs::write(self.config_path(), text).context("write the configuration")
    }

    /// The directory that has the configuration, the home and the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `barman_home`.
    pub fn path(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// The directory of a server.
    pub fn server_dir(&self, server: &str) -> PathBuf {
        self.path().join(server)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("barman.conf")
    }

    /// Our `barman` (see [`sandbox::barman_program`]) on this home.
    ///
    /// # Errors
    /// It is not built.
    pub fn barman(&self) -> Result<Program> {
        Ok(self.program(&sandbox::barman_program()?))
    }

    /// Barman 3.20.1 on this home.
    ///
    /// # Errors
    /// It is not installed.
    pub fn oracle(&self) -> Result<Program> {
        Ok(self.program(&sandbox::installed_oracle()?))
    }

    /// Some program that takes `-c CONFIGURATION`, on this home.
    pub fn program(&self, path: &Path) -> Program {
        sandbox::program(path, &self.config_path(), &self.dir)
    }
}
