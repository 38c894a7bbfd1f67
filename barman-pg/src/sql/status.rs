//! Everything about a server that `show-servers`, `check` and `diagnose` report, gathered without failing.

use std::collections::BTreeMap;

use barman_wal::{Lsn, SegmentName};
use serde::Serialize;

use super::quote::literal;
use super::{QueryRow, ReplicationSlot, SqlClient, parse_synchronous_standby_names};
use crate::error::Error;
use crate::replication::ReplicationClient;
use crate::version::PgVersion;

/// The remote status of a standard connection. What could not be read is `None`; the keys of Barman that are absent
/// rather than null in that case are not serialised either.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RemoteStatus {
    /// `data_directory`; only read with backup privileges.
    pub data_directory: Option<String>,
    /// Setting `wal_level`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_level: Option<String>,
    /// Setting `hot_standby`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot_standby: Option<String>,
    /// Setting `max_wal_senders`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wal_senders: Option<String>,
    /// Setting `data_checksums`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_checksums: Option<String>,
    /// Setting `max_replication_slots`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replication_slots: Option<String>,
    /// Setting `wal_compression`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_compression: Option<String>,
    /// Setting `wal_keep_segments`, before 13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_keep_segments: Option<String>,
    /// Setting `wal_keep_size`, from 13 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_keep_size: Option<String>,
    /// Whether the role is a superuser.
    pub is_superuser: Option<bool>,
    /// Whether the role may run the backup functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_backup_privileges: Option<bool>,
    /// Whether the role may read the monitoring views.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_monitoring_privileges: Option<bool>,
    /// Whether the server is a standby.
    pub is_in_recovery: Option<bool>,
    /// The version in the words of `version()`.
    pub server_txt_version: Option<String>,
    /// Whether the version is at least the minimum.
    pub version_supported: Option<bool>,
    /// The current position; the inner value is null on a standby that has replayed nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_lsn: Option<Option<Lsn>>,
    /// The current segment; null on a standby.
    pub current_xlog: Option<String>,
    /// Bytes of all tablespaces; the inner value is null without backup privileges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_size: Option<Option<u64>>,
    /// Setting `archive_timeout`, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_timeout: Option<u64>,
    /// Setting `checkpoint_timeout`, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_timeout: Option<u64>,
    /// The size of WAL segments, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xlog_segment_size: Option<u64>,
    /// `postgresql.conf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_file: Option<String>,
    /// `pg_hba.conf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hba_file: Option<String>,
    /// `pg_ident.conf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ident_file: Option<String>,
    /// Other files that set something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub included_files: Vec<String>,
    /// Always true for a server that answers.
    pub replication_slot_support: Option<bool>,
    /// The configured slot, if there is one.
    pub replication_slot: Option<ReplicationSlot>,
    /// The names in `synchronous_standby_names`.
    pub synchronous_standby_names: Option<Vec<String>>,
    /// The system identifier.
    pub postgres_systemid: Option<String>,
    /// The version number of the session, not one of Barman's keys.
    #[serde(skip)]
    pub version: Option<PgVersion>,
    /// Why the status is incomplete, not one of Barman's keys.
    #[serde(skip)]
    pub failure: Option<String>,
}

impl SqlClient {
    /// Reads the whole status; a failure ends the reading and is told in [`RemoteStatus::failure`].
    pub fn fetch_remote_status(&mut self, slot_name: Option<&str>) -> RemoteStatus {
        let mut status = RemoteStatus {
            version: Some(self.version()),
            ..RemoteStatus::default()
        };
        if let Err(error) = self.read_status(&mut status, slot_name) {
            log::warn!(target: "barman.postgres", "Error retrieving PostgreSQL status: {error}");
            status.failure = Some(error.to_string());
        }
        status
    }

    /// The settings of these names that this server has and shows to the role, in one statement: each as stored (in base
    /// units) and as `SHOW` shows it.
    fn shown_settings(&mut self, names: &[&str]) -> Result<ShownSettings, Error> {
        let list: Vec<String> = names.iter().map(|name| literal(name)).collect();
        let rows = self.rows(
            &format!(
                "SELECT name, setting, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings WHERE name IN ({})",
                list.join(", ")
            ),
            "reading the settings",
        )?;
        let text = |row: &QueryRow, at| row.text(at).unwrap_or_default().to_owned();
        let pairs = rows
            .iter()
            .map(|row| (text(row, 0), (text(row, 1), text(row, 2))));
        Ok(ShownSettings(pairs.collect()))
    }

    fn read_status(&mut self, status: &mut RemoteStatus, slot_name: Option<&str>) -> Result<(), Error> {
        let privileges = self.privileges()?;
        let settings = self.shown_settings(&[
            "data_directory",
            "wal_level",
            "hot_standby",
            "max_wal_senders",
            "data_checksums",
            "max_replication_slots",
            "wal_compression",
            "wal_keep_segments",
            "wal_keep_size",
            "archive_timeout",
            "checkpoint_timeout",
            "synchronous_standby_names",
        ])?;
        if privileges.backup {
            status.data_directory = settings.shown("data_directory");
        }
        status.wal_level = settings.shown("wal_level");
        status.hot_standby = settings.shown("hot_standby");
        status.max_wal_senders = settings.shown("max_wal_senders");
        status.data_checksums = settings.shown("data_checksums");
        status.max_replication_slots = settings.shown("max_replication_slots");
        status.wal_compression = settings.shown("wal_compression");
        status.wal_keep_size = settings.shown("wal_keep_size");
        status.wal_keep_segments = settings.shown("wal_keep_segments");
        status.is_superuser = Some(privileges.superuser);
        status.has_backup_privileges = Some(privileges.backup);
        status.has_monitoring_privileges = Some(privileges.monitoring);
        let position = self.current_position()?;
        status.is_in_recovery = Some(position.in_recovery);
        status.server_txt_version = self.version_text()?;
        status.version_supported = Some(self.version() >= PgVersion::MINIMUM);
        status.current_lsn = Some(position.location);
        status.current_xlog = position.file_name.as_ref().map(SegmentName::to_string);
        status.current_size = Some(if privileges.backup {
            self.size_of_tablespaces()?
        } else {
            None
        });
        status.archive_timeout = Some(settings.seconds("archive_timeout"));
        status.checkpoint_timeout = Some(settings.seconds("checkpoint_timeout"));
        status.xlog_segment_size = Some(u64::from(self.segment_size()?.bytes()));
        let files = self.configuration_files()?;
        status.config_file = files.config_file;
        status.hba_file = files.hba_file;
        status.ident_file = files.ident_file;
        status.included_files = files.included_files;
        status.replication_slot_support = Some(true);
        if let Some(name) = slot_name {
            status.replication_slot = self.replication_slot(name)?;
        }
        let names = settings.shown("synchronous_standby_names").unwrap_or_default();
        status.synchronous_standby_names = Some(parse_synchronous_standby_names(&names));
        status.postgres_systemid = Some(self.systemid()?);
        Ok(())
    }
}

/// Settings by name.
struct ShownSettings(BTreeMap<String, (String, String)>);

impl ShownSettings {
    fn shown(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|(_, shown)| shown.clone())
    }

    /// A time whose base unit is the second.
    fn seconds(&self, name: &str) -> u64 {
        self.0
            .get(name)
            .and_then(|(setting, _)| setting.parse().ok())
            .unwrap_or(0)
    }
}

/// The remote status of a streaming connection; all keys always exist.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StreamingStatus {
    /// The first line of the failure to connect.
    pub connection_error: Option<String>,
    /// Whether the server speaks the replication protocol.
    pub streaming_supported: Option<bool>,
    /// Whether this connection does.
    pub streaming: Option<bool>,
    /// The system identifier.
    pub streaming_systemid: Option<String>,
    /// The current timeline.
    pub timeline: Option<u32>,
    /// The current WAL flush position.
    pub xlogpos: Option<Lsn>,
    /// Whether the version is at least the minimum.
    pub version_supported: Option<bool>,
}

/// Asks a streaming connection (or takes the reason why there is none) for its status.
#[must_use]
pub fn streaming_status(connection: Result<&mut ReplicationClient, &Error>) -> StreamingStatus {
    let mut status = StreamingStatus::default();
    let client = match connection {
        Ok(client) => client,
        Err(error) => {
            log::warn!(target: "barman.postgres", "Error retrieving PostgreSQL status: {error}");
            status.connection_error = error.to_string().lines().next().map(str::to_owned);
            return status;
        }
    };
    if client.version() < PgVersion::MINIMUM {
        status.version_supported = Some(false);
        return status;
    }
    match client.identify_system() {
        Ok(system) => {
            status.version_supported = Some(true);
            status.streaming_supported = Some(true);
            status.streaming = Some(true);
            status.streaming_systemid = Some(system.systemid);
            status.timeline = Some(system.timeline.get());
            status.xlogpos = Some(system.xlogpos);
        }
        Err(error) if error.sqlstate() == Some("42601") => {
            status.version_supported = Some(true);
            status.streaming_supported = Some(true);
            status.streaming = Some(false);
        }
        Err(error) => {
            log::warn!(target: "barman.postgres", "Error retrieving PostgreSQL status: {error}");
            status.connection_error = error.to_string().lines().next().map(str::to_owned);
        }
    }
    status
}
