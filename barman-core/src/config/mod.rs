//! Configuration files: Barman's INI dialect, the table of options, resolved servers and models.
//!
//! ```
//! use barman_core::config::{Config, MainFile};
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("barman.conf");
//! std::fs::write(&path, "[barman]\nbarman_home = /var/lib/barman\n[main]\nconninfo = host=pg\narchiver = on\n")?;
//! let config: Config = MainFile::read(&path)?.complete(None)?;
//! let main = config.server("main").expect("configured above");
//! assert_eq!(main.wals_directory.to_str(), Some("/var/lib/barman/main/wals"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Loading never connects to anything, and a bad section never hides the others: its server is disabled and says why
//! in [`ServerConfig::messages`].

mod advice;
mod build;
mod cloud;
mod digits;
pub mod edit;
pub mod error;
mod files;
pub mod globals;
pub mod ini;
pub mod interpolation;
pub mod load;
pub mod manual;
pub mod model;
pub mod parse;
mod paths;
pub mod python;
pub mod registry;
mod resolve;
pub mod select;
pub mod server;
pub mod shown;
pub mod types;
mod validate;
pub mod value;

use std::path::{Path, PathBuf};

pub use error::{ConfigError, ConfigWarning};
pub use globals::GlobalConfig;
pub use load::{ACTIVE_MODEL_FILE, AUTO_FILE, MainFile, Overlay, Search, locate};
pub use model::ModelConfig;
pub use select::{Selected, Selection};
pub use server::ServerConfig;
pub use types::{
    BackupCompression, BackupMethod, BackupOptions, CombineMode, CompressionFormat, CompressionLevel,
    CompressionLocation, CreateSlot, Encryption, RecoveryOptions, RetentionPolicy, ReuseBackup,
    StagingLocation, WalCompression, WindowUnit, parse_retention_policy,
};
pub use value::Value;

/// Everything that the configuration files say.
#[derive(Debug, Clone)]
pub struct Config {
    /// The main file as the user named it.
    pub path: PathBuf,
    /// The settings of `[barman]`.
    pub globals: GlobalConfig,
    /// The servers, sorted by name.
    pub servers: Vec<ServerConfig>,
    /// The models, sorted by name.
    pub models: Vec<ModelConfig>,
    /// Conflicts between directories of different servers; any one refuses every command that looks up servers.
    pub path_conflicts: Vec<String>,
    /// What every command tells: unknown options of `[barman]`, files that were left out.
    pub global_warnings: Vec<ConfigWarning>,
    /// What every command that looks at servers tells, in the order of the files. What concerns one server only when it
    /// is used is in [`ServerConfig::notices`].
    pub warnings: Vec<ConfigWarning>,
    /// Every section as the files have it.
    merged: files::Merged,
    /// What `~` stands for.
    user_home: Option<PathBuf>,
}

impl Config {
    /// Reads main file and included files in one go, for callers that do not change the user in between.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path, home: Option<&Path>) -> Result<Self, ConfigError> {
        MainFile::read(path)?.complete(home)
    }

    /// Reads all files again, with other content in those of `overlay`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn reload(&self, overlay: Overlay) -> Result<Self, ConfigError> {
        MainFile::read_with(&self.path, overlay)?.complete(self.user_home.as_deref())
    }

    /// The bytes of a configuration file, if it is not too large for one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
        load::read_bounded(path)
    }

    /// The files that were loaded, in their order; a later one counts.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.merged.files
    }

    /// Files that are there and could not be read, for a reason that may pass: their settings are missing.
    #[must_use]
    pub fn unread_files(&self) -> &[PathBuf] {
        &self.merged.unread
    }

    /// The value of an option as its section has it; `None` if the section does not set it.
    #[must_use]
    pub fn raw(&self, section: &str, option: &str) -> Option<&str> {
        self.merged.section(section)?.raw(option)
    }

    /// The model of that name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&ModelConfig> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The file that set an option of a section last (`diagnose --show-config-source`).
    #[must_use]
    pub fn source(&self, section: &str, option: &str) -> Option<&Path> {
        let entry = self
            .merged
            .section(section)?
            .entries
            .iter()
            .find(|entry| entry.key == option)?;
        self.merged.files.get(entry.file).map(PathBuf::as_path)
    }

    /// The server of that name.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<&ServerConfig> {
        self.servers
            .binary_search_by(|server| server.name.as_str().cmp(name))
            .ok()
            .and_then(|at| self.servers.get(at))
    }
}
