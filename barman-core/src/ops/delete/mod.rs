//! `delete`: removes a backup, the incremental backups based on it, and the WAL that nothing needs afterwards. The same
//! for `cron`: what retention calls obsolete, and deletions that were interrupted.
//!
//! [`plan`] decides and explains, [`run`] and [`enforce_retention`] act. Locks: the server's backup lock for the whole
//! time, the lock of each backup while it is deleted.

mod hook;
mod retention;

pub use retention::{EnforceReport, enforce_retention};

use std::time::Instant;

use barman_catalog::backup_info::{BackupInfo, StoreError};
use barman_catalog::deletion::{self, DeletionError, Refusal, Trigger, WalDecision};
use barman_catalog::ids::{self, ResolveError};
use barman_catalog::{BackupId, Catalog, CatalogError};
use barman_wal::lock::{Lock, LockError};
use serde::Serialize;

use crate::context::{Context, Level};
use crate::failure::{Class, Failure};
use crate::host::hooks::HookError;
use crate::ops::list_backups::custom_magic;
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
            Self::Deletion { server, id, .. } => Some(format!(
                "'barman delete {server} {id}' goes on where this one stopped"
            )),
            _ => None,
        }
    }
}

/// What deleting the backup that `argument` selects would remove.
///
/// # Errors
/// No such backup; it may not be deleted.
pub fn plan(server: &Server, catalog: &Catalog, argument: &str) -> Result<DeletePlan, DeleteError> {
    let backup = ids::resolve(catalog, argument)?.clone();
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
    let _backups = Lock::try_acquire(&layout.backup_lock()).map_err(|source| {
        let what = "Another action is in progress for the backups of server";
        ctx.say(
            Level::Error,
            TARGET,
            &lock_text(
                &format!("{what} {}. Impossible to delete the backup.", server.name()),
                &source,
            ),
        );
        busy(server, id, source)
    })?;
    // What was planned before the lock was held may have changed: deleted meanwhile, kept, grown another child.
    let catalog = Catalog::load(layout)?;
    if let Err(e) = deletion::sweep_stale_marks(layout, &catalog) {
        log::warn!(target: TARGET, "{e}");
    }
    let planned = explain_refusal(server, plan(server, &catalog, id.as_str()), ctx)?;
    let mut report = DeleteReport {
        server: server.name().to_owned(),
        deleted: Vec::new(),
    };
    for next in planned.order {
        if ctx.cancel.is_requested() {
            return Err(DeleteError::Interrupted {
                server: server.name().to_owned(),
                id: next,
            });
        }
        if delete_one(server, next, Trigger::Manual, ctx)? {
            report.deleted.push(next);
        }
    }
    Ok(report)
}

fn explain_refusal(
    server: &Server,
    planned: Result<DeletePlan, DeleteError>,
    ctx: &Context<'_>,
) -> Result<DeletePlan, DeleteError> {
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

/// Deletes one backup under its lock. `false` if it is gone already.
fn delete_one(
    server: &Server,
    id: BackupId,
    trigger: Trigger,
    ctx: &Context<'_>,
) -> Result<bool, DeleteError> {
    let (layout, config) = (server.layout(), server.config());
    let began = Instant::now();
    let start = ctx.clock.now();
    let lock = Lock::try_acquire(&layout.id_lock(id)).map_err(|source| {
        let text = format!(
            "Another process is holding the lock for backup {id} of server {}.",
            server.name()
        );
        ctx.say(Level::Error, TARGET, &lock_text(&text, &source));
        busy(server, id, source)
    })?;
    let mut catalog = Catalog::load(layout)?;
    let Some(backup) = catalog.get(id).cloned() else {
        // One that cannot be read is not gone.
        return match catalog.broken().iter().find(|broken| broken.id == Some(id)) {
            Some(broken) => Err(ResolveError::Unreadable {
                id,
                server: server.name().to_owned(),
                reason: broken.reason.clone(),
            }
            .into()),
            None => Ok(false),
        };
    };
    let mut observer = hook::Observer::new(server, &catalog, &backup, ctx);
    let cancel = ctx.cancel.flag();
    let custom = custom_magic(config);
    let result = deletion::delete_backup(
        layout,
        &mut catalog,
        id,
        trigger,
        &custom,
        &mut observer,
        Some(&cancel),
    );
    if let Some(error) = observer.take_hook_error() {
        return Err(error.into());
    }
    if let Err(source) = result {
        return match source {
            DeletionError::Store(StoreError::Missing { .. }) => Ok(false),
            source => {
                observer.after(Some(&source.to_string()));
                Err(DeleteError::Deletion {
                    server: server.name().to_owned(),
                    id,
                    source,
                })
            }
        };
    }
    let elapsed = crate::format::interval(began.elapsed());
    let text = format!(
        "Deleted backup {id} (start time: {}, elapsed time: {elapsed})",
        barman_catalog::timestamp::ctime(start.datetime())
    );
    ctx.say(Level::Info, TARGET, &text);
    observer.after(None);
    if let Err(e) = lock.remove() {
        log::debug!(target: TARGET, "{e}");
    }
    Ok(true)
}
