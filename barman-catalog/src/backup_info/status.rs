//! The words for how far a backup is and how it was taken.

use std::fmt;
use std::str::FromStr;

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BackupStatus {
    /// `backup.info` exists, nothing started.
    Empty,
    /// PostgreSQL's side is known, the copy is running (or its process died).
    Started,
    /// The copy is complete, some WAL it needs is not archived yet.
    WaitingForWals,
    /// Complete: it can be restored.
    Done,
    /// It cannot be restored.
    Failed,
    /// A passive node is copying it.
    Syncing,
}

/// A status word that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown backup status {0:?}")]
pub struct ParseStatusError(String);

impl BackupStatus {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "EMPTY",
            Self::Started => "STARTED",
            Self::WaitingForWals => "WAITING_FOR_WALS",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
            Self::Syncing => "SYNCING",
        }
    }

    /// Whether all data has been copied: `DONE` and `WAITING_FOR_WALS`.
    #[must_use]
    pub fn is_copy_done(self) -> bool {
        matches!(self, Self::Done | Self::WaitingForWals)
    }

    /// Whether the backup needs the archive to keep its WAL: all but `EMPTY` and `FAILED`.
    #[must_use]
    pub fn is_archiving(self) -> bool {
        !matches!(self, Self::Empty | Self::Failed)
    }
}

impl fmt::Display for BackupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for BackupStatus {
    type Err = ParseStatusError;

    fn from_str(text: &str) -> Result<Self, ParseStatusError> {
        [
            Self::Empty,
            Self::Started,
            Self::WaitingForWals,
            Self::Done,
            Self::Failed,
            Self::Syncing,
        ]
        .into_iter()
        .find(|s| s.as_str() == text)
        .ok_or_else(|| ParseStatusError(text.chars().take(40).collect()))
    }
}

/// How a backup was taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackupMode {
    /// Streamed by PostgreSQL.
    Postgres,
    /// Copied by rsync during a concurrent backup.
    RsyncConcurrent,
    /// Copied by rsync during an exclusive backup (PostgreSQL 14 and earlier).
    RsyncExclusive,
    /// Cloud snapshots during a concurrent backup.
    SnapshotConcurrent,
    /// Cloud snapshots during an exclusive backup.
    SnapshotExclusive,
    /// Uploaded from the PostgreSQL host.
    LocalToCloudConcurrent,
    /// Copied from a primary Barman node by Barman's `sync-backup`.
    Passive,
    /// A word we do not know, kept as it is.
    Other(String),
}

impl BackupMode {
    /// The word in the file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Postgres => "postgres",
            Self::RsyncConcurrent => "rsync-concurrent",
            Self::RsyncExclusive => "rsync-exclusive",
            Self::SnapshotConcurrent => "snapshot-concurrent",
            Self::SnapshotExclusive => "snapshot-exclusive",
            Self::LocalToCloudConcurrent => "local-to-cloud-concurrent",
            Self::Passive => "passive",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for BackupMode {
    fn from(text: &str) -> Self {
        [
            Self::Postgres,
            Self::RsyncConcurrent,
            Self::RsyncExclusive,
            Self::SnapshotConcurrent,
            Self::SnapshotExclusive,
            Self::LocalToCloudConcurrent,
            Self::Passive,
        ]
        .into_iter()
        .find(|m| m.as_str() == text)
        .unwrap_or_else(|| Self::Other(text.to_owned()))
    }
}

impl fmt::Display for BackupMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for BackupMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What kind of backup it is, as listings name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupType {
    /// A whole copy streamed by PostgreSQL.
    Full,
    /// Only the blocks changed since the parent.
    Incremental,
    /// A copy by rsync.
    Rsync,
    /// Cloud snapshots.
    Snapshot,
}

impl BackupType {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Rsync => "rsync",
            Self::Snapshot => "snapshot",
        }
    }

    /// The letter in listings.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Full => 'F',
            Self::Incremental => 'I',
            Self::Rsync => 'R',
            Self::Snapshot => 'S',
        }
    }
}

impl fmt::Display for BackupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
