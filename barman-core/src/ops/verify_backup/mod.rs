//! `verify-backup`: whether a backup is what its `backup_manifest` says, as PostgreSQL's `pg_verifybackup -n` sees it,
//! without that program and for backups of every version and format.

use std::path::PathBuf;

use barman_catalog::manifest::{self, Format, Run, Verdict, VerifyError};
use barman_catalog::protection::{self, InUseError};
use barman_catalog::{BackupId, BackupInfo};

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::server::Server;

const TARGET: &str = "barman.backup";

/// Why a backup is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyBackupError {
    /// Its files are not here.
    #[error("Cannot verify backup {id} of server {server}: its data is in cloud storage")]
    Cloud {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// Its archives cannot be read.
    #[error("Backup verification is not supported for encrypted backups")]
    Encrypted {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is locked, being deleted, or gone.
    #[error(transparent)]
    InUse(#[from] InUseError),
    /// It is not what its manifest says.
    #[error("verify backup failure on directory '{}'", directory.display())]
    Failed {
        /// The data directory.
        directory: PathBuf,
        /// What is wrong, a line each.
        details: String,
    },
    /// The user stopped it.
    #[error("the verification of backup {id} of server {server} was interrupted")]
    Interrupted {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
}

impl VerifyBackupError {
    /// What is wrong with the backup, a line each: shown as an error of its own after this one.
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        match self {
            Self::Failed { details, .. } => Some(details),
            _ => None,
        }
    }
}

impl Failure for VerifyBackupError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted { .. } => Class::Interrupted,
            _ => Class::Error,
        }
    }
}

/// Verifies `backup`, which the user has called `argument`. Nothing is changed, its status neither; it cannot be
/// deleted meanwhile.
///
/// # Errors
/// It is not what its manifest says, or nothing can be said of it.
pub fn run(
    server: &Server,
    backup: &BackupInfo,
    argument: &str,
    ctx: &Context<'_>,
) -> Result<Verdict, VerifyBackupError> {
    let (id, name) = (backup.id, || server.name().to_owned());
    let text = format!("Verifying backup '{argument}' on server {}", server.name());
    ctx.say(Level::Info, TARGET, &text);
    if server.config().basebackups_in_cloud() {
        return Err(VerifyBackupError::Cloud { id, server: name() });
    }
    if backup.encryption.is_some() {
        return Err(VerifyBackupError::Encrypted { id, server: name() });
    }
    let cancel = ctx.cancel.flag();
    let (_held, _) = protection::hold_chain(server.layout(), id, Some(&cancel))?;
    let directory = server.layout().data_directory(id);
    // Barman sets it for backups in tar format only, `none` included.
    let format = match backup.compression {
        Some(_) => Format::Tar,
        None => Format::Plain,
    };
    let result = ctx.counted("Verifying the backup", backup.size, |read| {
        manifest::verify(
            &directory,
            format,
            Run {
                threads: barman_wal::processors(),
                cancel: Some(&cancel),
                read,
            },
        )
    });
    let failed = |details| VerifyBackupError::Failed { directory, details };
    match result {
        Ok(verdict) if verdict.is_good() => {
            ctx.say(Level::Info, TARGET, "backup successfully verified");
            Ok(verdict)
        }
        Ok(verdict) => Err(failed(lines(&verdict))),
        Err(VerifyError::Interrupted) => Err(VerifyBackupError::Interrupted { id, server: name() }),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The problems, a line each.
fn lines(verdict: &Verdict) -> String {
    let mut lines: Vec<String> = verdict.problems.iter().map(ToString::to_string).collect();
    if verdict.more > 0 {
        lines.push(format!("... and {} more", verdict.more));
    }
    lines.join("\n")
}
