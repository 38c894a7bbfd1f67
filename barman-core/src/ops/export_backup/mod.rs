//! `export-backup`: a full backup, with the WAL that makes it consistent, as one file for another Barman node.

use std::io;
use std::path::{Path, PathBuf};

use barman_catalog::export::{self, ExportError, ExportOptions, Exported};
use barman_catalog::identity::{self, IdentityError};
use barman_catalog::protection::{self, InUseError};
use barman_catalog::tarball::Compression;
use barman_catalog::xlogdb::{self, XlogDbError};
use barman_catalog::{BackupId, BackupInfo, BackupStatus};
use rustix::fs::Access;

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::ops::list_backups::custom_magic;
use crate::server::Server;

const TARGET: &str = "barman.backup";

/// What a user may ask.
#[derive(Debug, Clone)]
pub struct ExportBackupOptions {
    /// Where the file goes.
    pub directory: PathBuf,
    /// How it is compressed.
    pub compression: Option<Compression>,
    /// The level of the compression.
    pub level: Option<i64>,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportBackupError {
    /// Incremental backups are of no use alone.
    #[error(
        "Cannot export backup {id} from server {server}: it is an incremental backup.\nOnly full backups are eligible for exporting."
    )]
    Incremental {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is not whole.
    #[error(
        "Cannot export backup '{argument}' from server '{server}': backup status is '{status}', expected 'DONE'"
    )]
    Status {
        /// The backup, as the user calls it.
        argument: String,
        /// The server.
        server: String,
        /// Its status.
        status: BackupStatus,
    },
    /// There is no such directory.
    #[error("Output directory '{}' does not exist", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// It is a file.
    #[error("Output directory '{}' is not a directory", path.display())]
    NotADirectory {
        /// The directory.
        path: PathBuf,
    },
    /// It may not be written to.
    #[error("Output directory '{}' is not writable", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
    },
    /// It is a part of what would be exported.
    #[error("Output directory '{}' is in the directory of backup {id}", path.display())]
    InBackup {
        /// The directory.
        path: PathBuf,
        /// The backup.
        id: BackupId,
    },
    /// A level of nothing.
    #[error("--compression-level requires --compression to be set")]
    LevelAlone,
    /// A level that the compression has not.
    #[error("Invalid compression level '{level}' for algorithm '{compression}'. Valid levels are: {levels}")]
    Level {
        /// As given.
        level: i64,
        /// Of which compression.
        compression: Compression,
        /// Those it has.
        levels: String,
    },
    /// Its files are not here.
    #[error("Cannot export backup {id} from server {server}: it is in cloud storage")]
    Cloud {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is not known of which cluster it is.
    #[error(
        "No identity file found for server '{server}'. The identity file is required to validate the backup during import."
    )]
    NoIdentity {
        /// The server.
        server: String,
    },
    /// The identity file is broken.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Somebody changes or deletes it.
    #[error("Another backup operation is already running on backup '{id}' for server '{server}'")]
    Busy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It cannot be protected from deletion.
    #[error(transparent)]
    InUse(InUseError),
    /// The WAL catalogue.
    #[error(transparent)]
    XlogDb(#[from] XlogDbError),
    /// A step failed.
    #[error("Failed to export backup '{id}' from server '{server}': {source}")]
    Export {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// What failed.
        source: ExportError,
    },
}

impl Failure for ExportBackupError {
    fn class(&self) -> Class {
        match self {
            Self::Export {
                source: ExportError::Interrupted,
                ..
            } => Class::Interrupted,
            Self::Export { .. } => Class::Exception,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoIdentity { server } => Some(format!("the next 'barman backup {server}' writes one")),
            Self::Export {
                source: ExportError::NotListed { .. },
                server,
                ..
            } => Some(format!(
                "if the file is in the archive, 'barman rebuild-xlogdb {server}' lists it"
            )),
            _ => None,
        }
    }
}

/// Exports `backup`, which the user has called `argument`. It cannot be deleted meanwhile.
///
/// # Errors
/// See [`ExportBackupError`]; no file is left then.
pub fn run(
    server: &Server,
    backup: &BackupInfo,
    argument: &str,
    options: &ExportBackupOptions,
    ctx: &Context<'_>,
) -> Result<Exported, ExportBackupError> {
    let (id, name) = (backup.id, || server.name().to_owned());
    let level = check(server, backup, argument, options)?;
    let text = format!(
        "Exporting backup '{argument}' from server '{}' to '{}'",
        server.name(),
        options.directory.display()
    );
    ctx.say(Level::Info, TARGET, &text);
    if server.config().basebackups_in_cloud() || server.config().wals_in_cloud() {
        return Err(ExportBackupError::Cloud { id, server: name() });
    }
    let layout = server.layout();
    let identity = identity::read(layout)?
        .filter(|identity| identity.systemid.is_some() || identity.version.is_some())
        .ok_or_else(|| ExportBackupError::NoIdentity { server: name() })?;
    let cancel = ctx.cancel.flag();
    let (_held, catalog) =
        protection::hold_chain(layout, id, Some(&cancel)).map_err(|error| match error {
            InUseError::Busy { .. } => ExportBackupError::Busy { id, server: name() },
            other => ExportBackupError::InUse(other),
        })?;
    // As it is now that nobody changes it any more.
    let backup = catalog.get(id).unwrap_or(backup);
    check(server, backup, argument, options)?;
    let failed = |source| ExportBackupError::Export {
        id,
        server: name(),
        source,
    };
    let db = xlogdb::read(layout, &custom_magic(server.config()), Some(&cancel))?.sorted();
    let wal = export::needed_wal(backup, &db).map_err(failed)?;
    drop(db);
    let now = ctx.clock.now();
    let stamp = now
        .timestamp()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%Y%m%dT%H%M%S")
        .to_string();
    let total = wal.iter().fold(backup.size.unwrap_or(0), |sum, record| {
        sum.saturating_add(record.size)
    });
    let result = ctx.counted("Exporting the backup", Some(total), |read| {
        export::export(
            layout,
            backup,
            &wal,
            ExportOptions {
                directory: &options.directory,
                stamp: &stamp,
                compression: options.compression,
                level,
                identity: &identity,
                about: &about(&now),
            },
            Some(&cancel),
            read,
        )
    });
    let exported = result.map_err(failed)?;
    for path in &exported.left_out {
        let text = format!(
            "'{}' is neither a file, a directory nor a link: it is not exported",
            path.display()
        );
        ctx.say(Level::Warning, TARGET, &text);
    }
    for path in &exported.links {
        let text = format!(
            "'{}' is a symbolic link: import-backup will refuse the export",
            path.display()
        );
        ctx.say(Level::Warning, TARGET, &text);
    }
    let text = format!("Export completed successfully: {}", exported.path.display());
    ctx.say(Level::Info, TARGET, &text);
    Ok(exported)
}

/// Everything that can be refused before anything is done, in Barman's order. Returns the level.
fn check(
    server: &Server,
    backup: &BackupInfo,
    argument: &str,
    options: &ExportBackupOptions,
) -> Result<Option<u32>, ExportBackupError> {
    let name = || server.name().to_owned();
    if backup.is_incremental() {
        return Err(ExportBackupError::Incremental {
            id: backup.id,
            server: name(),
        });
    }
    if backup.status != BackupStatus::Done {
        return Err(ExportBackupError::Status {
            argument: argument.to_owned(),
            server: name(),
            status: backup.status,
        });
    }
    directory(&options.directory)?;
    let base = server.layout().base_directory(backup.id);
    if let (Ok(path), Ok(base)) = (options.directory.canonicalize(), base.canonicalize())
        && path.starts_with(&base)
    {
        return Err(ExportBackupError::InBackup {
            path: options.directory.clone(),
            id: backup.id,
        });
    }
    let Some(level) = options.level else {
        return Ok(None);
    };
    let compression = options.compression.ok_or(ExportBackupError::LevelAlone)?;
    let valid = u32::try_from(level)
        .ok()
        .filter(|level| compression.levels().contains(level));
    valid.map(Some).ok_or_else(|| ExportBackupError::Level {
        level,
        compression,
        levels: compression
            .levels()
            .map(|level| level.to_string())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

fn directory(path: &Path) -> Result<(), ExportBackupError> {
    let path_buf = || path.to_path_buf();
    match std::fs::metadata(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(ExportBackupError::NoDirectory { path: path_buf() })
        }
        Ok(metadata) if !metadata.is_dir() => Err(ExportBackupError::NotADirectory { path: path_buf() }),
        _ if rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).is_err() => {
            Err(ExportBackupError::NotWritable { path: path_buf() })
        }
        _ => Ok(()),
    }
}

/// `barman.json`, for people: with what and where the export was made.
fn about(now: &jiff::Zoned) -> String {
    let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or_default()
        .trim_matches('"');
    let members = [
        ("barman_ver", "3.20.1"),
        ("kernel_ver", kernel.trim()),
        ("python_executable", ""),
        ("python_ver", ""),
        ("release", release),
        ("rsync_ver", ""),
        ("ssh_ver", ""),
        ("timestamp", &now.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()),
    ];
    let lines: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("    \"{name}\": {}", serde_json::Value::from(*value)))
        .collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}
