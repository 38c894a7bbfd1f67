//! `backup.info`: what is known about one backup.
//!
//! One `name=value` line per field, in Barman's order and encoding, byte for byte. Every field is typed; a field
//! this program does not know (written by a newer Barman) is kept and written back. A file is replaced atomically,
//! and whoever changes one re-reads it under the lock of the backup: [`update`].

mod read;
mod stats;
mod status;
mod store;
mod write;

pub use read::BackupInfoError;
pub use stats::{CopyStats, SnapshotsInfo};
pub use status::{BackupMode, BackupStatus, BackupType, ParseStatusError};
pub(crate) use store::read_bounded;
pub use store::{StoreError, load, save, update, update_locked};
pub use write::WriteError;

use crate::ids::BackupId;
use crate::python_literal::{self, Value};
use crate::timestamp::Timestamp;
use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};
use std::borrow::Cow;

/// One tablespace of a backup.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tablespace {
    /// Its name.
    pub name: String,
    /// Its OID, the name of its directory in the backup.
    pub oid: u32,
    /// Its absolute path on the PostgreSQL host.
    pub location: String,
}

/// What is known about one backup. The fields, in the words and order of the file.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BackupInfo {
    /// The backup's id: the name of the file, not a field in it.
    pub id: BackupId,
    /// The text of the label file as the field holds it. Use [`label_text`](Self::label_text) to read it: on a
    /// passive node Barman encodes it twice.
    pub backup_label: Option<String>,
    /// The friendly name.
    pub backup_name: Option<String>,
    /// The offset of `begin_xlog` in `begin_wal`, bytes.
    pub begin_offset: Option<u64>,
    /// When the backup started, in the offset of the PostgreSQL session.
    pub begin_time: Option<Timestamp>,
    /// The segment the backup begins in.
    pub begin_wal: Option<SegmentName>,
    /// Where the backup begins.
    pub begin_xlog: Option<Lsn>,
    /// The incremental backups based on this one, in order of creation; for Barman's sake: the tree is derived from
    /// `parent_backup_id`. Empty is written as `None`.
    pub children_backup_ids: Vec<BackupId>,
    /// The size of all tablespaces as PostgreSQL reports it, bytes.
    pub cluster_size: Option<u64>,
    /// The compression of a backup in tar format (`gzip`, `lz4`, `zstd`, `none`).
    pub compression: Option<String>,
    /// Path of `postgresql.conf`.
    pub config_file: Option<String>,
    /// How long the copy took.
    pub copy_stats: Option<CopyStats>,
    /// `on` or `off`.
    pub data_checksums: Option<String>,
    /// Bytes of the files with one link.
    pub deduplicated_size: Option<u64>,
    /// `gpg` if the backup is encrypted.
    pub encryption: Option<String>,
    /// The offset of `end_xlog` in `end_wal`, bytes.
    pub end_offset: Option<u64>,
    /// When the backup ended.
    pub end_time: Option<Timestamp>,
    /// The segment the backup ends in.
    pub end_wal: Option<SegmentName>,
    /// Where the backup ends.
    pub end_xlog: Option<Lsn>,
    /// Why the backup failed, one line.
    pub error: Option<String>,
    /// Path of `pg_hba.conf`.
    pub hba_file: Option<String>,
    /// Path of `pg_ident.conf`.
    pub ident_file: Option<String>,
    /// Further configuration files. Empty is written as `None`.
    pub included_files: Vec<String>,
    /// How the backup was taken. `None` when the file does not say.
    pub mode: Option<BackupMode>,
    /// The backup this incremental one is based on.
    pub parent_backup_id: Option<BackupId>,
    /// The data directory on the PostgreSQL host.
    pub pgdata: Option<String>,
    /// The server's name.
    pub server_name: String,
    /// Bytes of all files of the backup.
    pub size: Option<u64>,
    /// Cloud snapshots.
    pub snapshots_info: Option<SnapshotsInfo>,
    /// How far the backup is.
    pub status: BackupStatus,
    /// `on` or `off` for PostgreSQL 17 and later.
    pub summarize_wal: Option<String>,
    /// The system identifier, decimal.
    pub systemid: Option<String>,
    /// The tablespaces. Empty is written as `None`.
    pub tablespaces: Vec<Tablespace>,
    /// The timeline the backup begins on.
    pub timeline: Option<TimelineId>,
    /// PostgreSQL's `server_version_num`.
    pub version: Option<u32>,
    /// The WAL segment size. 16 MiB when the file does not say.
    pub xlog_segment_size: SegmentSize,
    /// Fields of a newer Barman, as written, in the order of their names.
    pub unknown: Vec<(String, String)>,
}

impl BackupInfo {
    /// A backup that has an id and nothing else: status `EMPTY`.
    #[must_use]
    pub fn new(id: BackupId, server_name: impl Into<String>, mode: Option<BackupMode>) -> Self {
        Self {
            id,
            backup_label: None,
            backup_name: None,
            begin_offset: None,
            begin_time: None,
            begin_wal: None,
            begin_xlog: None,
            children_backup_ids: Vec::new(),
            cluster_size: None,
            compression: None,
            config_file: None,
            copy_stats: None,
            data_checksums: None,
            deduplicated_size: None,
            encryption: None,
            end_offset: None,
            end_time: None,
            end_wal: None,
            end_xlog: None,
            error: None,
            hba_file: None,
            ident_file: None,
            included_files: Vec::new(),
            mode,
            parent_backup_id: None,
            pgdata: None,
            server_name: server_name.into(),
            size: None,
            snapshots_info: None,
            status: BackupStatus::Empty,
            summarize_wal: None,
            systemid: None,
            tablespaces: Vec::new(),
            timeline: None,
            version: None,
            xlog_segment_size: SegmentSize::DEFAULT,
            unknown: Vec::new(),
        }
    }

    /// The text of the backup's label file, decoded a second time if the field was encoded twice (Barman's passive
    /// nodes do that).
    #[must_use]
    pub fn label_text(&self) -> Option<Cow<'_, str>> {
        let text = self.backup_label.as_deref()?;
        if text.starts_with(['\'', '"'])
            && let Ok(Value::Str(inner)) = python_literal::parse(text)
        {
            return Some(Cow::Owned(inner));
        }
        Some(Cow::Borrowed(text))
    }

    /// Whether this is an incremental backup.
    #[must_use]
    pub fn is_incremental(&self) -> bool {
        self.parent_backup_id.is_some()
    }

    /// What kind of backup this is, by its mode and parent.
    #[must_use]
    pub fn backup_type(&self) -> BackupType {
        match self.mode.as_ref().map_or("", BackupMode::as_str) {
            mode if mode.starts_with("snapshot") => BackupType::Snapshot,
            mode if mode.starts_with("rsync") => BackupType::Rsync,
            _ if self.is_incremental() => BackupType::Incremental,
            _ => BackupType::Full,
        }
    }

    /// The part of the backup that did not need space of its own: `1 - deduplicated_size / X`, where X is the size
    /// of the backup (rsync) or of the cluster. 0 when one of them is not known.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "a ratio for people; Barman computes it in doubles too"
    )]
    pub fn deduplication_ratio(&self) -> f64 {
        let whole = if self.backup_type() == BackupType::Rsync {
            self.size
        } else {
            self.cluster_size
        };
        match (whole, self.deduplicated_size) {
            (Some(whole), Some(own)) if whole > 0 && own > 0 => 1.0 - own as f64 / whole as f64,
            _ => 0.0,
        }
    }

    /// The segments the backup needs to be consistent, if it is known where it begins and ends.
    #[must_use]
    pub fn wal_range(&self) -> Option<(SegmentName, SegmentName)> {
        Some((self.begin_wal?, self.end_wal?))
    }

    /// Marks the backup failed: `failure <action> (<first line of the message>)`.
    pub fn set_failed(&mut self, action: &str, message: &str) {
        let line = message.lines().next().unwrap_or("").trim();
        self.set_failed_because(&format!("failure {action} ({line})"));
    }

    /// Marks the backup failed with `reason` as it is, cut to its first line.
    pub fn set_failed_because(&mut self, reason: &str) {
        self.status = BackupStatus::Failed;
        self.error = Some(reason.lines().next().unwrap_or("").trim().to_owned());
    }
}
