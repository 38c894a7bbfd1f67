//! `delete`: removes a backup, the incremental backups based on it, and the WAL that nothing needs afterwards. The same
//! for `cron`: what retention calls obsolete, and deletions that were interrupted.
//!
//! [`plan`] decides and explains, [`run`] and [`enforce_retention`] act. Locks: the server's backup lock for the whole
//! time, that of the named backup too, and the lock of each other backup of its tree while it is deleted. Whoever uses a
//! backup has a shared lock on everything that it is based on, so the lock of the named one excludes them all.

pub(super) mod hook;
mod preview;
mod retention;
mod tree;

pub use preview::{DeletePreview, archive_listing, preview};
pub use retention::{EnforceReport, enforce_retention};

use barman_catalog::backup_info::BackupInfo;
use barman_catalog::deletion::{self, DeletionError, Refusal, Trigger, WalDecision};
use barman_catalog::ids::{self, ResolveError};
use barman_catalog::{BackupId, Catalog, CatalogError};
use barman_wal::lock::{Lock, LockError};
use serde::Serialize;

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::host::hooks::HookError;
use crate::ops::selection;
use crate::server::Server;

const TARGET: &str = "barman.backup";

/// What a deletion will remove.
#[derive(Debug, Clone)]
pub struct DeletePlan {
    /// The backup that was named.
    pub backup: BackupInfo,
    /// What goes, in this order: incrementals before what they are based on, the named backup last.
    pub order: Vec<BackupId>,
    /// What of the WAL goes with the named backup, once the others are gone.
    pub wal: WalDecision,
}

/// What a deletion has removed.
#[derive(Debug, Clone, Serialize)]
pub struct DeleteReport {
    /// The server.
    pub server: String,
    /// The backups that are gone, in the order in which they went.
    pub deleted: Vec<BackupId>,
}

/// Why a backup was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// No such backup.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The catalogue.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// One that cannot be read may be meant.
    #[error("Cannot tell which backup '{argument}' of server {server} is: {unreadable}")]
    Doubtful {
        /// What was asked for.
        argument: String,
        /// The server.
        server: String,
        /// Which one, and why.
        unreadable: String,
    },
    /// It is kept, or needed for the minimum redundancy.
    #[error("Cannot delete backup ({server} {id})")]
    Refused {
        /// The server.
        server: String,
        /// The backup.
        id: BackupId,
        /// Why.
        refusal: Refusal,
    },
    /// A backup, another deletion or an import is running.
    #[error("Cannot delete backup ({server} {id})")]
    Busy {
        /// The server.
        server: String,
        /// The backup.
        id: BackupId,
        /// The lock.
        source: LockError,
    },
    /// A hook script said so, or the operation was interrupted in one.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// A step failed.
    #[error("Cannot delete backup ({server} {id}): {source}")]
    Deletion {
        /// The server.
        server: String,
        /// The backup.
        id: BackupId,
        /// What failed.
        source: DeletionError,
    },
    /// The user stopped it between two backups.
    #[error("the deletion was interrupted before backup {id} of server {server}")]
    Interrupted {
        /// The server.
        server: String,
        /// The next backup.
        id: BackupId,
    },
}

impl Failure for DeleteError {
    fn class(&self) -> Class {
        match self {
            Self::Hook(HookError::AbortStop { .. }) => Class::Exception,
            Self::Hook(hook) => hook.class(),
            Self::Interrupted { .. } => Class::Interrupted,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused {
                server,
                id,
                refusal: Refusal::Kept { .. },
            } => Some(format!(
                "'barman keep --release {server} {id}' makes the backup deletable"
            )),
            Self::Doubtful { server, .. } => Some(format!(
                "name the backup by its id: 'barman list-backups {server}' shows them"
            )),
            Self::Deletion { server, id, .. } => Some(format!(
                "'barman delete {server} {id}' goes on where this one stopped"
            )),
            _ => None,
        }
    }
}

/// What deleting the backup that `argument` selects would remove. Nothing is deleted by a word that may mean one that
/// cannot be read.
///
/// # Errors
/// No such backup, or one that cannot be read may be meant; it may not be deleted.
pub fn plan(server: &Server, catalog: &Catalog, argument: &str) -> Result<DeletePlan, DeleteError> {
    let selected = ids::resolve(catalog, argument);
    let found = selected.as_ref().ok().map(|backup| backup.id);
    if let Some(broken) = ids::passed_over(catalog, argument, found).next() {
        return Err(DeleteError::Doubtful {
            argument: argument.to_owned(),
            server: server.name().to_owned(),
            unreadable: selection::unreadable(catalog, broken),
        });
    }
    let backup = selected?.clone();
    deletion::check(catalog, &backup, server.config().minimum_redundancy).map_err(|refusal| {
        DeleteError::Refused {
            server: server.name().to_owned(),
            id: backup.id,
            refusal,
        }
    })?;
    let order = catalog.tree_leaves_first(backup.id);
    let mut after = catalog.clone();
    for id in order.iter().filter(|id| **id != backup.id) {
        after.forget(*id);
    }
    let wal = deletion::wal_decision(&after, backup.id, Trigger::Manual);
    Ok(DeletePlan { backup, order, wal })
}

/// Deletes the backup that `argument` selects and all incremental backups based on it.
///
/// # Errors
/// No such backup, a refusal, a busy lock, a hook script that stops the deletion, a step that failed. What has been
/// deleted until then is gone.
pub fn run(server: &Server, argument: &str, ctx: &Context<'_>) -> Result<DeleteReport, DeleteError> {
    let layout = server.layout();
    let catalog = Catalog::load(layout)?;
    let planned = explain_refusal(server, plan(server, &catalog, argument), ctx)?;
    let id = planned.backup.id;
    if planned.order.len() > 1 {
        let text = format!(
            "Backup {id} has incremental backups which depend on it. Deleting all backups in the tree"
        );
        ctx.say(Level::Warning, TARGET, &text);
    }
    let _backups = Lock::try_acquire(&layout.backup_lock()).map_err(|e| backups_busy(server, id, e, ctx))?;
    // What was planned before the lock was held may have changed: deleted meanwhile, kept, grown another child.
    let catalog = Catalog::load(layout)?;
    if let Err(e) = deletion::sweep_stale_marks(layout, &catalog) {
        log::warn!(target: TARGET, "{e}");
    }
    explain_refusal(server, plan(server, &catalog, id.as_str()), ctx)?;
    let mut report = DeleteReport {
        server: server.name().to_owned(),
        deleted: Vec::new(),
    };
    tree::delete(server, id, Trigger::Manual, &mut report.deleted, ctx)?;
    Ok(report)
}

fn explain_refusal<T>(
    server: &Server,
    planned: Result<T, DeleteError>,
    ctx: &Context<'_>,
) -> Result<T, DeleteError> {
    if let Err(DeleteError::Refused { id, refusal, .. }) = &planned {
        let why = match refusal {
            Refusal::Kept { .. } => {
                "as it has a current keep annotation and must be released first".to_owned()
            }
            Refusal::MinimumRedundancy {
                minimum, available, ..
            } => {
                format!(
                    "due to minimum redundancy requirements (minimum redundancy = {minimum}, current redundancy = {available})"
                )
            }
        };
        let text = format!(
            "Skipping delete of backup {id} for server {} {why}",
            server.name()
        );
        ctx.say(Level::Warning, TARGET, &text);
    }
    planned
}

/// Tells who is at work on the backups of the server.
fn backups_busy(server: &Server, id: BackupId, source: LockError, ctx: &Context<'_>) -> DeleteError {
    let what = "Another action is in progress for the backups of server";
    let text = format!("{what} {}. Impossible to delete the backup.", server.name());
    ctx.say(Level::Error, TARGET, &lock_text(&text, &source));
    busy(server, id, source)
}

/// Tells who has one backup.
fn backup_busy(server: &Server, id: BackupId, source: LockError, ctx: &Context<'_>) -> DeleteError {
    let text = format!(
        "Another process is holding the lock for backup {id} of server {}.",
        server.name()
    );
    ctx.say(Level::Error, TARGET, &lock_text(&text, &source));
    busy(server, id, source)
}

fn busy(server: &Server, id: BackupId, source: LockError) -> DeleteError {
    DeleteError::Busy {
        server: server.name().to_owned(),
        id,
        source,
    }
}

fn lock_text(busy: &str, error: &LockError) -> String {
    match error {
        LockError::Busy { .. } => busy.to_owned(),
        LockError::Denied { path } => format!("Permission denied, unable to access '{}'", path.display()),
        other => other.to_string(),
    }
}
