//! `keep`: protects a backup from retention and `delete`, tells whether it is protected, takes the protection back.

use barman_catalog::annotations::{self, AnnotationError, Keep};
use barman_catalog::ids::ResolveError;
use barman_catalog::keep::{self, KeepError};
use barman_catalog::protection::InUseError;
use barman_catalog::{BackupId, Catalog, CatalogError};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Class, Failure};
use crate::ops::selection;
use crate::server::Server;

/// What to do with the protection of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAction {
    /// Tell what it is.
    Status,
    /// Take it back.
    Release,
    /// Make it this one.
    Add(Keep),
}

/// How a backup is protected now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KeepReport {
    /// The backup.
    pub backup_id: BackupId,
    /// How; `None` if it is not.
    pub keep: Option<Keep>,
}

impl KeepReport {
    /// The word of the report: `full`, `standalone`, `nokeep`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.keep.map_or("nokeep", Keep::as_str)
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum KeepFailure {
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// No such backup.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// It cannot be kept, or is being deleted.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The annotation cannot be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// The annotation would have to be in the cloud, too.
    #[error("The keep annotations of server '{server}' are in cloud storage, which is not supported yet")]
    Cloud {
        /// The server.
        server: String,
    },
}

impl Failure for KeepFailure {
    fn class(&self) -> Class {
        use barman_wal::lock::LockError;
        match self {
            Self::Keep(KeepError::InUse(InUseError::Lock {
                source: LockError::Cancelled { .. },
                ..
            })) => Class::Interrupted,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Keep(KeepError::InUse(InUseError::Busy { id, .. })) => Some(format!(
                "somebody is deleting or checking backup {id}; try again when that has ended"
            )),
            _ => None,
        }
    }
}

/// Does `action` to the backup that `argument` (id, shortcut or name) selects. Works without PostgreSQL.
///
/// # Errors
/// No such backup; one that cannot be kept; one that is being deleted; the file system's errors.
pub fn run(
    server: &Server,
    argument: &str,
    action: KeepAction,
    ctx: &Context<'_>,
) -> Result<KeepReport, KeepFailure> {
    let layout = server.layout();
    let id = selection::select(&Catalog::load(layout)?, argument, ctx)?.id;
    if server.config().basebackups_in_cloud() && action != KeepAction::Status {
        return Err(KeepFailure::Cloud {
            server: server.name().to_owned(),
        });
    }
    let cancel = ctx.cancel.flag();
    match action {
        KeepAction::Status => {}
        KeepAction::Release => keep::release(layout, id, Some(&cancel))?,
        KeepAction::Add(how) => keep::add(layout, id, how, Some(&cancel))?,
    }
    Ok(KeepReport {
        backup_id: id,
        keep: annotations::read_keep(layout, id)?,
    })
}
