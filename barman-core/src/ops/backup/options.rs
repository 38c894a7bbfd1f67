//! What the user may ask of one backup, and how it changes the settings of the server for this run.

use std::time::Duration;

use barman_catalog::ids::check_name;

use crate::config::{BackupMethod, ReuseBackup, ServerConfig};

use super::BackupError;

/// Whether the command waits for the WAL that makes the backup consistent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wait {
    /// It does not.
    #[default]
    No,
    /// Until the last WAL file is archived.
    Forever,
    /// Until then, or until this time has passed.
    AtMost(Duration),
}

/// The options of `barman backup`. `None` keeps the setting of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// `--name`: the friendly name; one line, not empty.
    pub name: Option<String>,
    /// `--wait`, `--wait-timeout`.
    pub wait: Wait,
    /// `--immediate-checkpoint`, `--no-immediate-checkpoint`.
    pub immediate_checkpoint: Option<bool>,
    /// `--incremental`: the parent as the user named it.
    pub incremental: Option<String>,
    /// `--reuse-backup`. A streaming backup reuses nothing; `link` only changes the size line.
    pub reuse_backup: Option<ReuseBackup>,
    /// `--retry-times`, `--no-retry`.
    pub retry_times: Option<u32>,
    /// `--retry-sleep`.
    pub retry_sleep: Option<Duration>,
    /// `--jobs`.
    pub jobs: Option<u32>,
    /// `--bwlimit` in kB/s; 0 = no limit.
    pub bandwidth_limit: Option<u64>,
    /// `--keepalive-interval`; zero = off.
    pub keepalive_interval: Option<Duration>,
    /// `--manifest`, `--no-manifest`: rsync methods only, ignored by the others.
    pub manifest: Option<bool>,
    /// `--check-timeout`; zero = no limit.
    pub check_timeout: Option<Duration>,
}

impl BackupOptions {
    /// The settings of the server with the options in place.
    #[must_use]
    pub fn applied_to(&self, config: &ServerConfig) -> ServerConfig {
        let mut config = config.clone();
        if let Some(fast) = self.immediate_checkpoint {
            config.immediate_checkpoint = fast;
        }
        if self.reuse_backup.is_some() {
            config.reuse_backup = self.reuse_backup;
        }
        if let Some(times) = self.retry_times {
            config.basebackup_retry_times = times;
        }
        if let Some(sleep) = self.retry_sleep {
            config.basebackup_retry_sleep = sleep;
        }
        if let Some(jobs) = self.jobs {
            config.parallel_jobs = jobs;
        }
        if self.bandwidth_limit.is_some() {
            config.bandwidth_limit = self.bandwidth_limit;
        }
        if let Some(interval) = self.keepalive_interval {
            config.keepalive_interval = interval;
        }
        if let Some(manifest) = self.manifest {
            config.autogenerate_manifest = manifest;
        }
        if let Some(timeout) = self.check_timeout {
            config.check_timeout = (!timeout.is_zero()).then_some(timeout);
        }
        config
    }

    /// Refuses what this program does not do yet, by name, before anything is touched.
    ///
    /// # Errors
    /// [`BackupError::Unsupported`]; [`BackupError::Name`].
    pub fn check(&self, config: &ServerConfig) -> Result<(), BackupError> {
        let unsupported = |what: &str| {
            Err(BackupError::Unsupported {
                what: what.to_owned(),
            })
        };
        if let Some(name) = &self.name {
            check_name(name).map_err(|why| BackupError::Name {
                name: name.clone(),
                why,
            })?;
        }
        if self.incremental.is_some() {
            return unsupported("incremental backup ('--incremental')");
        }
        if config.backup_method != BackupMethod::Postgres {
            return unsupported(&format!("backup_method = {}", config.backup_method));
        }
        if config.basebackups_in_cloud() {
            return unsupported("a basebackups_directory in object storage");
        }
        if config.wals_in_cloud() {
            return unsupported("a wals_directory in object storage");
        }
        if let Some(compression) = config.backup_compression {
            return unsupported(&format!("backup_compression = {compression}"));
        }
        if let Some(encryption) = config.encryption {
            return unsupported(&format!("encryption = {encryption}"));
        }
        Ok(())
    }
}
