//! What the tests of the program share: a Barman home with a configuration, and runs of this build in it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Servers of which none can be reached: active, inactive, without description, passive.
pub const SERVERS: &str = "
[main]
description = Main database
conninfo = host=pg user=barman dbname=postgres password=s3cret
archiver = on
backup_method = postgres
[inact]
description = An inactive one
active = false
archiver = on
backup_method = postgres
[plain]
conninfo = host=pg
archiver = on
backup_method = postgres
[pas]
description = passive
primary_ssh_command = ssh barman@other
archiver = on
backup_method = postgres
";

pub struct Home {
    directory: TempDir,
}

pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Home {
    /// A home with this text behind the settings that every test needs.
    pub fn new(barman: &str, servers: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Self { directory };
        let user = nix::unistd::User::from_uid(nix::unistd::getuid())
            .unwrap()
            .unwrap()
            .name;
        let root = home.directory.path().display();
        let text = format!(
            "[barman]\nbarman_home = {root}\nbarman_user = {user}\nlog_file = {root}/barman.log\n{barman}\n{servers}"
        );
        fs::write(home.config(), text).unwrap();
        home
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("barman.conf")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("barman.log")).unwrap_or_default()
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_barman"));
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        let config = self.config();
        let mut all = vec!["-c", config.to_str().unwrap()];
        all.extend(arguments);
        finish(self.command().args(all))
    }
}

pub fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}
