//! Base backups over the replication protocol: the `BASE_BACKUP` command of PostgreSQL 10 to 18, full and incremental,
//! its archives as streams, and their extraction into directories as `pg_basebackup` leaves them.
//!
//! A base backup into a directory (`examples/basebackup.rs` is this as a program):
//!
//! ```no_run
//! use barman_pg::basebackup::{ExtractTargets, extract};
//! use barman_pg::{BaseBackupOptions, ConnInfo, ConnectOptions, ReplicationClient};
//!
//! let conninfo: ConnInfo = "host=pg user=streaming_barman".parse()?;
//! let mut client = ReplicationClient::connect(&conninfo.streaming(), &ConnectOptions::default())?;
//! let backup = client.base_backup(&BaseBackupOptions::default())?;
//! // Each directory must exist and be empty.
//! let mut targets = ExtractTargets { data: "/backup/data".into(), ..ExtractTargets::default() };
//! for tablespace in backup.tablespaces() {
//!     targets.tablespaces.insert(tablespace.oid, format!("/backup/{}", tablespace.oid).into());
//! }
//! let report = extract(backup, &targets, &|bytes| println!("{bytes} bytes"))?;
//! println!("WAL from {} to {} is needed with it", report.start.lsn, report.end.lsn);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
