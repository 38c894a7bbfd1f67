//! The options that exist only in `[barman]`.

use std::path::PathBuf;

/// The settings of `[barman]` that are not server options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalConfig {
    /// `barman_home`; empty text if it was set to nothing.
    pub barman_home: PathBuf,
    /// `barman_user`: whom to become.
    pub barman_user: String,
    /// `barman_lock_directory`.
    pub lock_directory: PathBuf,
    /// `lock_directory_cleanup`: whether `cron` removes lock files that nobody holds.
    pub lock_directory_cleanup: bool,
    /// `config_changes_queue`.
    pub config_changes_queue: PathBuf,
    /// `configuration_files_directory`, with `~` expanded.
    pub configuration_files_directory: Option<PathBuf>,
    /// `log_file`, as written; `None` = standard error.
    pub log_file: Option<PathBuf>,
    /// `log_level`, as written.
    pub log_level: Option<String>,
    /// `log_format`, with `%%` turned into `%`; `None` = Barman's layout.
    pub log_format: Option<String>,
    /// Every pair of `[barman]` as written (quotes kept), in file order: `global.config` of `diagnose`.
    pub raw: Vec<(String, String)>,
}

impl GlobalConfig {
    /// The file that `config-update` writes to. It is loaded last, so that what it says counts.
    #[must_use]
    pub fn auto_file(&self) -> PathBuf {
        self.barman_home.join(super::load::AUTO_FILE)
    }
}
