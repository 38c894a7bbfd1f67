//! Base backups over the replication protocol: the `BASE_BACKUP` command of PostgreSQL 10 to 18, its archives as
//! streams, and their extraction into directories as `pg_basebackup` leaves them.

pub mod extract;
mod manifest;
mod options;
mod stream;
mod tar;

pub use extract::{ExtractError, ExtractReport, ExtractTargets, extract};
pub use options::{BaseBackupOptions, CheckpointMode, ManifestMode};
pub use stream::{
    ArchiveKind, ArchiveReader, Archives, BackupEnd, BackupPosition, BaseBackup, BaseTablespace,
};
pub(crate) use stream::{Block, Piece};
