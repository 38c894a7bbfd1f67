//! `generate-manifest`: a `backup_manifest` for a backup that has none, which is one over rsync or of a snapshot.
//!
//! [`run`] is the command. A backup that makes its manifest by itself (`autogenerate_manifest`) calls [`generate`] with
//! the lock that it holds.

use barman_catalog::manifest::{self, GenerateError, Generated, Run};
use barman_catalog::protection::{self, InUseError};
use barman_catalog::{BackupInfo, Layout};

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::server::Server;

const TARGET: &str = "barman.backup_manifest";

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum GenerateManifestError {
    /// Its files are not here.
    #[error("Cannot generate a manifest for backup {id} of server {server}: its data is in cloud storage")]
    Cloud {
        /// The backup.
        id: barman_catalog::BackupId,
        /// The server.
        server: String,
    },
    /// It is locked, being deleted, or gone.
    #[error(transparent)]
    InUse(#[from] InUseError),
    /// The manifest was there, or could not be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl Failure for GenerateManifestError {
    fn class(&self) -> Class {
        match self {
            Self::Generate(GenerateError::Interrupted) => Class::Interrupted,
            Self::Generate(GenerateError::Exists { .. }) => Class::Exception,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Generate(GenerateError::Exists { .. }) => {
                Some("'barman verify-backup' compares the backup with it".to_owned())
            }
            _ => None,
        }
    }
}

/// Writes the manifest of `backup`, which the user has called `argument`. The backup cannot be deleted meanwhile.
///
/// # Errors
/// The backup has one, is locked or being deleted; a file cannot be read; the manifest cannot be written.
pub fn run(
    server: &Server,
    backup: &BackupInfo,
    argument: &str,
    ctx: &Context<'_>,
) -> Result<Generated, GenerateManifestError> {
    if server.config().basebackups_in_cloud() {
        return Err(GenerateManifestError::Cloud {
            id: backup.id,
            server: server.name().to_owned(),
        });
    }
    let cancel = ctx.cancel.flag();
    let (_held, _) = protection::hold_chain(server.layout(), backup.id, Some(&cancel))?;
    let generated = generate(server.layout(), backup, ctx)?;
    let text = format!(
        "Backup manifest for backup '{argument}' successfully generated for server {}",
        server.name()
    );
    ctx.say(Level::Info, TARGET, &text);
    Ok(generated)
}

/// Writes the manifest of a backup that the caller protects, and tells of what could not be part of it.
///
/// # Errors
/// See [`GenerateError`].
pub fn generate(layout: &Layout, backup: &BackupInfo, ctx: &Context<'_>) -> Result<Generated, GenerateError> {
    let cancel = ctx.cancel.flag();
    let result = ctx.counted("Generating the manifest", backup.size, |read| {
        manifest::generate(
            &layout.data_directory(backup.id),
            Run {
                threads: barman_wal::processors(),
                cancel: Some(&cancel),
                read,
            },
        )
    });
    let generated = result?;
    for path in &generated.special {
        let text = format!(
            "'{}' of backup {} is neither a file nor a directory: it is not in the manifest",
            path.display(),
            backup.id
        );
        ctx.say(Level::Warning, TARGET, &text);
    }
    Ok(generated)
}
