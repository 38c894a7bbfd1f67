//! Why a backup was not imported.

use super::name::NameError;
use super::place::Unsafe;
use crate::annotations::AnnotationError;
use crate::backup_info::{BackupInfoError, BackupStatus, StoreError};
use crate::catalog::CatalogError;
use crate::ids::BackupId;
use crate::tarball::TarError;
use crate::xlogdb::XlogDbError;
use std::io;
use std::path::PathBuf;

/// Why a backup was not imported. Nothing of it is in the catalogue then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The name of the file.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The file is not the one that was exported.
    #[error(
        "Tarball checksum mismatch: filename contains '{expected}' but actual checksum is '{found}'. The file may have been modified or corrupted."
    )]
    Checksum {
        /// As the name has it.
        expected: String,
        /// The first digits of its SHA-256.
        found: String,
    },
    /// The backup is there already.
    #[error("Backup '{id}' already exists in the catalog for server '{server}'")]
    Exists {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// Something else has the name of the backup's directory.
    #[error("{} is in the way: it belongs to no backup of the catalogue", path.display())]
    InTheWay {
        /// The directory.
        path: PathBuf,
    },
    /// The archive cannot be read.
    #[error("Failed to extract tarball '{}': {source}", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: TarError,
    },
    /// A member that could do harm.
    #[error("{0}")]
    Unsafe(String),
    /// A member that comes twice.
    #[error("Tarball contains '{name}' twice")]
    Twice {
        /// The member.
        name: String,
    },
    /// More than an export can have.
    #[error("Tarball contains more than an exported backup has: {what}")]
    TooMuch {
        /// What.
        what: String,
    },
    /// The disk has no room for it.
    #[error("Not enough space to import '{name}': it has {needed} bytes, and {free} are free in {}", path.display())]
    NoSpace {
        /// The member.
        name: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
        /// Where.
        path: PathBuf,
    },
    /// Something that an export has is missing.
    #[error("Exported tarball does not contain {what}")]
    Lacks {
        /// What.
        what: &'static str,
    },
    /// `identity.json` is none.
    #[error("Failed to parse identity.json from tarball: {reason}")]
    Identity {
        /// Why.
        reason: String,
    },
    /// The backup is of another cluster.
    #[error(
        "Server identity mismatch: exported backup has systemid '{exported}' but target server has systemid '{own}'"
    )]
    OtherCluster {
        /// The backup's.
        exported: String,
        /// The server's.
        own: String,
    },
    /// `backup.info` is none.
    #[error("Failed to load backup.info: {source}")]
    Info {
        /// Why.
        source: BackupInfoError,
    },
    /// Incremental backups are of no use alone.
    #[error(
        "Cannot import backup {id} into server {server}: it is an incremental backup.\nOnly full backups are eligible for importing."
    )]
    Incremental {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is not whole.
    #[error("Cannot import backup {id} into server {server}: its status is '{status}', expected 'DONE'")]
    Status {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Its status.
        status: BackupStatus,
    },
    /// A line of the archive's `xlog.db` is none.
    #[error("Malformed tarball's xlog.db entry at line {number}: cannot parse line: '{text}'")]
    Line {
        /// Counted from 1.
        number: u64,
        /// Its beginning.
        text: String,
    },
    /// It is not known which WAL the backup needs.
    #[error("backup.info of backup {id} does not tell which WAL files it needs")]
    NoRange {
        /// The backup.
        id: BackupId,
    },
    /// A segment has no line.
    #[error("WAL file required for backup consistency not found in tarball's xlog.db: {name}")]
    NotListed {
        /// The segment.
        name: String,
    },
    /// A segment is not there.
    #[error("WAL file listed in tarball's xlog.db but not found under its wals/ directory: {name}")]
    NoFile {
        /// The segment.
        name: String,
    },
    /// A segment is not what its line says.
    #[error("WAL file {name} has {found} bytes in the tarball, but {listed} in its xlog.db")]
    WalSize {
        /// The segment.
        name: String,
        /// Bytes.
        found: u64,
        /// Bytes.
        listed: u64,
    },
    /// The archive has other WAL of this name.
    #[error("WAL file(s) already exist in target server with conflicting content: {names}")]
    Conflict {
        /// Up to five names.
        names: String,
    },
    /// A system call failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The WAL catalogue.
    #[error(transparent)]
    XlogDb(#[from] XlogDbError),
    /// The keep annotation.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// The metadata.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller's flag was raised.
    #[error("the import was interrupted")]
    Interrupted,
}

impl From<Unsafe> for ImportError {
    fn from(error: Unsafe) -> Self {
        Self::Unsafe(error.to_string())
    }
}

impl ImportError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

impl From<barman_wal::durable::DurableError> for ImportError {
    fn from(error: barman_wal::durable::DurableError) -> Self {
        Self::Io {
            what: error.action,
            path: error.path,
            source: error.source,
        }
    }
}
