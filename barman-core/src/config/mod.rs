//! Configuration files: Barman's INI dialect, the table of options, resolved servers and models.

pub mod globals;
pub mod registry;
pub mod server;
pub mod types;
pub mod value;

use std::path::PathBuf;

pub use globals::GlobalConfig;
pub use server::ServerConfig;
pub use types::{
    BackupCompression, BackupMethod, BackupOptions, CombineMode, CompressionFormat, CompressionLevel,
    CompressionLocation, CreateSlot, Encryption, RecoveryOptions, RetentionPolicy, ReuseBackup, StagingLocation,
    WalCompression, WindowUnit,
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
    /// Conflicts between directories of different servers; any one refuses every command that looks up servers.
    pub path_conflicts: Vec<String>,
}

impl Config {
    /// The server of that name.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<&ServerConfig> {
        self.servers.iter().find(|server| server.name == name)
    }
}
