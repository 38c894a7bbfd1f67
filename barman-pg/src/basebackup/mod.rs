//! Base backups over the replication protocol: the `BASE_BACKUP` command of PostgreSQL 10 to 18, full and incremental,
//! its archives as streams, and their extraction into directories as `pg_basebackup` leaves them.

mod archives;
mod decompress;
pub mod extract;
mod manifest;
mod options;
mod stream;
mod tar;
mod upload;

pub use archives::{ArchiveReader, Archives};
pub use extract::{ExtractError, ExtractReport, ExtractTargets, OwnManifest, extract};
pub use options::{BaseBackupOptions, CheckpointMode, CompressionMethod, ManifestMode, ServerCompression};
pub use stream::{ArchiveKind, BackupEnd, BackupPosition, BaseBackup, BaseTablespace};
pub(crate) use stream::{Block, Piece};
