//! Configuration files in a directory of their own, for tests.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "tests stop at the first surprise; each uses a part"
)]

use std::path::PathBuf;

use barman_core::config::{Config, ConfigError};

pub struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub fn new(servers: &str) -> Self {
        let files = Self::bare();
        let home = files.home();
        files.write(
            "barman.conf",
            &format!("[barman]\nbarman_home = {}\n{servers}", home.display()),
        );
        files
    }

    pub fn bare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("home")).unwrap();
        std::fs::create_dir(directory.path().join("d")).unwrap();
        Self { directory }
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join("home")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn load(&self) -> Config {
        Config::load(&self.path("barman.conf"), None).unwrap()
    }

    pub fn error(&self) -> ConfigError {
        Config::load(&self.path("barman.conf"), None).unwrap_err()
    }
}

/// What makes an active server of the `rsync` method complete.
pub const GOOD: &str =
    "conninfo = host=pg user=barman dbname=postgres\narchiver = on\nssh_command = ssh pg\n";
