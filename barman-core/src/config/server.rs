//! The resolved settings of one server: typed fields for what operations use, and every option by name for reports.
//!
//! A [`ServerConfig`] is plain data. Command-line flags are applied by changing the public fields of a clone; the
//! values by name ([`ServerConfig::value`]) stay those of the files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigWarning;
use super::types::{
    BackupCompression, BackupMethod, BackupOptions, CombineMode, CompressionFormat, CompressionLevel,
    CompressionLocation, CreateSlot, Encryption, RecoveryOptions, RetentionPolicy, ReuseBackup,
    StagingLocation, WalCompression,
};
use super::value::Value;

/// The settings of one server, after defaults, inheritance from `[barman]`, the active model and validation.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// Section name; also the default of `cluster`.
    pub name: String,
    /// `active`: an inactive server gets no connections, no backup, no WAL.
    pub active: bool,
    /// The configuration has errors ([`Self::messages`]), or the active model says `disabled = true`.
    pub disabled: bool,
    /// Configuration errors of this server, in the order of detection (`msg_list` of `diagnose`).
    pub messages: Vec<String>,
    /// What to tell when this server is used (no archiver enabled ...); not repeated for servers that are not.
    pub notices: Vec<ConfigWarning>,
    /// Name of the model in force, from `<backup_directory>/.active-model.auto`.
    pub active_model: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `cluster`; `None` only if it was set to an empty value.
    pub cluster: Option<String>,

    /// Main configuration file as the user named it: `-c` of children, `BARMAN_CONFIGURATION` of hooks.
    pub config_path: PathBuf,
    /// `barman_home`.
    pub barman_home: PathBuf,
    /// `barman_lock_directory`.
    pub lock_directory: PathBuf,

    /// `conninfo`, as written.
    pub conninfo: Option<String>,
    /// `streaming_conninfo` (default: `conninfo`), as written.
    pub streaming_conninfo: Option<String>,
    /// `primary_conninfo`: connection to the primary when `conninfo` points to a standby.
    pub primary_conninfo: Option<String>,
    /// `wal_conninfo`; see [`Self::wal_conninfos`].
    pub wal_conninfo: Option<String>,
    /// `wal_streaming_conninfo`; see [`Self::wal_conninfos`].
    pub wal_streaming_conninfo: Option<String>,
    /// `primary_checkpoint_timeout`, seconds; zero = never force a checkpoint on the primary.
    pub primary_checkpoint_timeout: Duration,
    /// `keepalive_interval`; zero = off.
    pub keepalive_interval: Duration,
    /// `check_timeout`; `None` = no limit.
    pub check_timeout: Option<Duration>,

    /// `ssh_command`.
    pub ssh_command: Option<String>,
    /// `primary_ssh_command`: set on a passive node.
    pub primary_ssh_command: Option<String>,
    /// `forward_config_path`.
    pub forward_config_path: bool,
    /// `path_prefix`: directories put before `PATH` for every child, separated by `:`.
    pub path_prefix: Option<String>,

    /// `backup_directory`.
    pub backup_directory: PathBuf,
    /// `basebackups_directory`; may be a cloud URL ([`Self::basebackups_in_cloud`]).
    pub basebackups_directory: PathBuf,
    /// `wals_directory`; may be a cloud URL ([`Self::wals_in_cloud`]).
    pub wals_directory: PathBuf,
    /// `incoming_wals_directory`.
    pub incoming_wals_directory: PathBuf,
    /// `streaming_wals_directory`.
    pub streaming_wals_directory: PathBuf,
    /// `errors_directory`.
    pub errors_directory: PathBuf,
    /// `xlogdb_directory`, where `<name>-xlog.db` lies.
    pub xlogdb_directory: PathBuf,
    /// `cloud_staging_directory`.
    pub cloud_staging_directory: PathBuf,

    /// `backup_method`.
    pub backup_method: BackupMethod,
    /// `backup_options`, with the implied `concurrent_backup`.
    pub backup_options: BackupOptions,
    /// `immediate_checkpoint`.
    pub immediate_checkpoint: bool,
    /// `reuse_backup`; `None` and `Off` mean the same.
    pub reuse_backup: Option<ReuseBackup>,
    /// `basebackup_retry_times`: further attempts after the first.
    pub basebackup_retry_times: u32,
    /// `basebackup_retry_sleep`.
    pub basebackup_retry_sleep: Duration,
    /// `autogenerate_manifest`.
    pub autogenerate_manifest: bool,
    /// `streaming_backup_name`: `application_name` of base backups.
    pub streaming_backup_name: Option<String>,
    /// `backup_compression`; `Some(BackupCompression::None)` is a tar without compression.
    pub backup_compression: Option<BackupCompression>,
    /// `backup_compression_format` (unset = tar).
    pub backup_compression_format: Option<CompressionFormat>,
    /// `backup_compression_level`.
    pub backup_compression_level: Option<i32>,
    /// `backup_compression_location`.
    pub backup_compression_location: Option<CompressionLocation>,
    /// `backup_compression_workers`.
    pub backup_compression_workers: Option<u32>,
    /// `encryption`; `None` = off.
    pub encryption: Option<Encryption>,
    /// `encryption_key_id`.
    pub encryption_key_id: Option<String>,
    /// `encryption_passphrase_command`; its output is a secret.
    pub encryption_passphrase_command: Option<String>,
    /// `worm_mode`.
    pub worm_mode: bool,
    /// `minimum_redundancy`.
    pub minimum_redundancy: u32,
    /// `parallel_jobs`, at least 1.
    pub parallel_jobs: u32,
    /// `parallel_jobs_start_batch_size`.
    pub parallel_jobs_start_batch_size: u32,
    /// `parallel_jobs_start_batch_period`.
    pub parallel_jobs_start_batch_period: Duration,
    /// `network_compression`.
    pub network_compression: bool,
    /// `bandwidth_limit` in kB/s; `None` and 0 = no limit.
    pub bandwidth_limit: Option<u64>,
    /// `tablespace_bandwidth_limit`: tablespace name -> kB/s.
    pub tablespace_bandwidth_limit: BTreeMap<String, u64>,
    /// `warehousepg_dbid`.
    pub warehousepg_dbid: Option<i64>,

    /// `archiver`: WAL files arrive in [`Self::incoming_wals_directory`]. Forced on if both archivers are off.
    pub archiver: bool,
    /// `streaming_archiver`: `receive-wal` fills [`Self::streaming_wals_directory`].
    pub streaming_archiver: bool,
    /// `archiver_batch_size`: files per run; 0 = all.
    pub archiver_batch_size: u64,
    /// `streaming_archiver_batch_size`: files per run; 0 = all.
    pub streaming_archiver_batch_size: u64,
    /// `streaming_archiver_name`: `application_name` of `receive-wal`.
    pub streaming_archiver_name: Option<String>,
    /// `slot_name`.
    pub slot_name: Option<String>,
    /// `create_slot`.
    pub create_slot: CreateSlot,
    /// `compression` of WAL files; `None` = stored as they come.
    pub compression: Option<WalCompression>,
    /// `compression_level`.
    pub compression_level: CompressionLevel,
    /// `custom_compression_filter`.
    pub custom_compression_filter: Option<String>,
    /// `custom_decompression_filter`.
    pub custom_decompression_filter: Option<String>,
    /// `custom_compression_magic`, decoded.
    pub custom_compression_magic: Option<Vec<u8>>,
    /// `max_incoming_wals_queue`.
    pub max_incoming_wals_queue: Option<u64>,

    /// `retention_policy`, parsed; `None` if unset, or if it cannot be parsed ([`Self::retention_policy_invalid`]).
    pub retention_policy: Option<RetentionPolicy>,
    /// `retention_policy` is set and cannot be parsed: retention is not enforced and `check` says so.
    pub retention_policy_invalid: bool,
    /// `last_backup_maximum_age`; `None` = not checked.
    pub last_backup_maximum_age: Option<Duration>,
    /// `last_backup_minimum_size`, bytes.
    pub last_backup_minimum_size: Option<u64>,
    /// `last_wal_maximum_age`.
    pub last_wal_maximum_age: Option<Duration>,

    /// `recovery_options`.
    pub recovery_options: RecoveryOptions,
    /// `staging_path`.
    pub staging_path: Option<PathBuf>,
    /// `staging_location`.
    pub staging_location: StagingLocation,
    /// `recovery_staging_path` (deprecated).
    pub recovery_staging_path: Option<PathBuf>,
    /// `local_staging_path` (deprecated).
    pub local_staging_path: Option<PathBuf>,
    /// `combine_mode`.
    pub combine_mode: CombineMode,

    /// The value of every option, in the order of [`super::registry::SERVER_OPTIONS`].
    pub(super) values: Vec<Value>,
}

impl ServerConfig {
    /// Whether another Barman is the source of this server's backups and WAL.
    #[must_use]
    pub fn is_passive(&self) -> bool {
        self.primary_ssh_command.is_some()
    }

    /// Whether base backups go to object storage.
    #[must_use]
    pub fn basebackups_in_cloud(&self) -> bool {
        is_url(&self.basebackups_directory)
    }

    /// Whether WAL files go to object storage.
    #[must_use]
    pub fn wals_in_cloud(&self) -> bool {
        is_url(&self.wals_directory)
    }

    /// The pair (streaming, normal) of connection strings for WAL: `wal_streaming_conninfo` replaces both unless
    /// `wal_conninfo` is set for the normal one.
    #[must_use]
    pub fn wal_conninfos(&self) -> (Option<&str>, Option<&str>) {
        let streaming = self.wal_streaming_conninfo.as_deref();
        let normal = self.wal_conninfo.as_deref();
        (
            streaming.or(self.streaming_conninfo.as_deref()),
            normal.or(streaming).or(self.conninfo.as_deref()),
        )
    }

    /// The line that tells which connection strings are replaced for WAL work; `None` if none is.
    #[must_use]
    pub fn wal_overrides(&self) -> Option<String> {
        let (streaming, normal) = self.wal_conninfos();
        let overridden = [
            (
                "streaming_conninfo",
                streaming,
                self.wal_streaming_conninfo.is_some(),
            ),
            (
                "conninfo",
                normal,
                self.wal_streaming_conninfo.is_some() || self.wal_conninfo.is_some(),
            ),
        ];
        let words: Vec<String> = overridden
            .into_iter()
            .filter(|(_, _, replaced)| *replaced)
            .map(|(option, text, _)| {
                format!(
                    "'{option}' overridden with '{}'",
                    super::shown::conninfo(text.unwrap_or_default())
                )
            })
            .collect();
        (!words.is_empty()).then(|| format!("Configuration overrides applied: {}", words.join(" and ")))
    }

    /// The shell command of a hook option (`pre_backup_script` ...).
    #[must_use]
    pub fn hook(&self, option: &str) -> Option<&str> {
        match self.value(option) {
            Some(Value::Text(command)) => Some(command),
            _ => None,
        }
    }

    /// The resolved value of any server option by its name; `None` if there is no such option.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&Value> {
        super::registry::position(option).and_then(|index| self.values.get(index))
    }

    /// Every option with its resolved value, sorted by name, as `show-servers` lists them.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        super::registry::SERVER_OPTIONS
            .iter()
            .map(|option| option.name)
            .zip(&self.values)
    }

    /// What follows the name in headers of `check` and `show-servers`.
    #[must_use]
    pub fn state_suffix(&self) -> &'static str {
        match (self.active, self.disabled) {
            (false, _) => " (inactive)",
            (true, true) => " (WARNING: disabled)",
            (true, false) => "",
        }
    }
}

fn is_url(path: &std::path::Path) -> bool {
    path.as_os_str().to_string_lossy().contains("://")
}
