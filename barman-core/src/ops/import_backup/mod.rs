//! `import-backup`: takes in a backup that `export-backup`, ours or Barman's, has written.

use std::io;
use std::path::{Path, PathBuf};

use barman_catalog::BackupId;
use barman_catalog::identity::{self, IdentityError};
use barman_catalog::import::{self, ExportName, ImportError, ImportOptions, Imported, NameError};
use barman_wal::lock::{Lock, LockError};

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::ops::backup::make_directories;
use crate::ops::list_backups::custom_magic;
use crate::server::Server;

const TARGET: &str = "barman.backup";
/// As a copy: what syncs waits for the disk.
const SYNC_THREADS: usize = 4;

/// Why a backup was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportBackupError {
    /// There is no such file.
    #[error("Tarball file '{}' does not exist", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// It is a directory, or something else.
    #[error("Tarball path '{}' is not a file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It may not be read.
    #[error("Tarball file '{}' is not readable", path.display())]
    NotReadable {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("File '{}' is not a valid tar file", path.display())]
    NotATar {
        /// The file.
        path: PathBuf,
    },
    /// The catalogue is not here.
    #[error("Cannot import a backup into server '{server}': it uses cloud storage")]
    Cloud {
        /// The server.
        server: String,
    },
    /// It is not known of which cluster the server's backups are.
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
    /// A directory of the server cannot be made.
    #[error("{0}")]
    Directories(String),
    /// It is no export of this server.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A backup, a deletion or another import is running.
    #[error("Another backup operation is already running on server '{server}'")]
    Busy {
        /// The server.
        server: String,
    },
    /// A lock.
    #[error(transparent)]
    Lock(LockError),
    /// The file, its content, or a step.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl Failure for ImportBackupError {
    fn class(&self) -> Class {
        match self {
            Self::Import(ImportError::Interrupted) | Self::Lock(LockError::Cancelled { .. }) => {
                Class::Interrupted
            }
            Self::Import(ImportError::Checksum { .. }) => Class::Error,
            Self::Import(_) => Class::Exception,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoIdentity { server } => Some(format!(
                "the first 'barman backup {server}' writes one; for a new node copy identity.json from the old one"
            )),
            _ => None,
        }
    }
}

/// Takes in the backup in the file `tarball`.
///
/// # Errors
/// See [`ImportBackupError`]; the catalogue is as it was then.
pub fn run(server: &Server, tarball: &Path, ctx: &Context<'_>) -> Result<Imported, ImportBackupError> {
    let name = || server.name().to_owned();
    check_file(tarball)?;
    let text = format!(
        "Importing backup from '{}' to server '{}'",
        tarball.display(),
        server.name()
    );
    ctx.say(Level::Info, TARGET, &text);
    if server.config().basebackups_in_cloud() || server.config().wals_in_cloud() {
        return Err(ImportBackupError::Cloud { server: name() });
    }
    let layout = server.layout();
    let own = identity::read(layout)?
        .filter(|identity| identity.systemid.is_some() || identity.version.is_some())
        .ok_or_else(|| ImportBackupError::NoIdentity { server: name() })?;
    make_directories(server).map_err(|e| ImportBackupError::Directories(e.to_string()))?;
    let file_name = tarball
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let export = ExportName::parse(&file_name, server.name())?;
    let busy = |error| match error {
        LockError::Busy { .. } => ImportBackupError::Busy { server: name() },
        other => ImportBackupError::Lock(other),
    };
    let _backups = Lock::try_acquire(&layout.backup_lock()).map_err(busy)?;
    let _backup = Lock::try_acquire(&layout.id_lock(export.id)).map_err(busy)?;
    let cancel = ctx.cancel.flag();
    let total = std::fs::metadata(tarball).map(|found| found.len()).ok();
    let result = ctx.counted("Importing the backup", total, |read| {
        import::import(
            layout,
            ImportOptions {
                tarball,
                name: &export,
                identity: &own,
                custom: &custom_magic(server.config()),
                threads: SYNC_THREADS,
                cancel: Some(&cancel),
                done: read,
            },
        )
    });
    let imported = result?;
    tell(server, export.id, &imported, own.version.as_deref(), ctx);
    Ok(imported)
}

fn tell(server: &Server, id: BackupId, imported: &Imported, own: Option<&str>, ctx: &Context<'_>) {
    if let Some(version) = &imported.other_version {
        let text = format!(
            "PostgreSQL version mismatch: exported backup has version '{version}' but target server has version '{}'",
            own.unwrap_or("None")
        );
        ctx.say(Level::Warning, TARGET, &text);
    }
    if let Some(path) = &imported.left {
        let text = format!(
            "'{}' could not be removed: the next cron or import does that",
            path.display()
        );
        ctx.say(Level::Warning, TARGET, &text);
    }
    let text = format!(
        "Successfully imported backup '{id}' into server '{}'",
        server.name()
    );
    ctx.say(Level::Info, TARGET, &text);
}

/// Whether it is a tar archive that can be read.
fn check_file(path: &Path) -> Result<(), ImportBackupError> {
    let path_buf = || path.to_path_buf();
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => ImportBackupError::NotReadable { path: path_buf() },
        _ => ImportBackupError::NoFile { path: path_buf() },
    })?;
    if !metadata.is_file() {
        return Err(ImportBackupError::NotAFile { path: path_buf() });
    }
    match import::is_tar(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ImportBackupError::NotATar { path: path_buf() }),
        Err(_) => Err(ImportBackupError::NotReadable { path: path_buf() }),
    }
}
